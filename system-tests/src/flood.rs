//! Somebody on this machine who asks the service without end.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;
use zbus::fdo::{self, PropertiesProxy};
use zbus::names::InterfaceName;
use zbus::{Connection, Proxy};

const NAME: &str = "org.autoext.AutoExt1";
const PATH: &str = "/org/autoext/AutoExt1";
/// Where the policy of the test has metrics served.
pub(crate) const SOCKET: &str = "/run/auto-ext/metrics.sock";
/// How many questions wait for their answers at a time.
const AT_A_TIME: usize = 64;

/// Asks for so many seconds for all that can be read, and prints what came of it, as `answered refused` for D-Bus and
/// for HTTP.
pub(crate) fn ask_without_end(seconds: &str) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let by_http = thread::spawn(move || by_http(end));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (answered, refused) = runtime.block_on(by_bus(end))?;
    let (http_answered, http_refused) = by_http.join().ok().context("the thread panicked")?;
    eprintln!("{answered} {refused} {http_answered} {http_refused}");
    Ok(())
}

async fn by_bus(end: Instant) -> anyhow::Result<(u64, u64)> {
    let connection = Connection::system().await?;
    let properties = PropertiesProxy::builder(&connection)
        .destination(NAME)
        .path(PATH)
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await?;
    let service: Proxy<'_> = Proxy::new(&connection, NAME, PATH, NAME).await?;
    let ask = |number: usize| {
        let (properties, service) = (properties.clone(), service.clone());
        async move {
            let interface = InterfaceName::from_static_str_unchecked(NAME);
            match number % 8 {
                0 => service.call("Metrics", &()).await.map(|_: String| ()),
                1 => service.call("Why", &()).await.map(|_: String| ()),
                2 => service.call("History", &1000_u32).await.map(|_: String| ()),
                3 => Ok(properties
                    .get(interface, "CurrentScheduler")
                    .await
                    .map(drop)?),
                _ => Ok(properties.get_all(interface).await.map(drop)?),
            }
        }
    };
    let mut asked: JoinSet<_> = (0..AT_A_TIME).map(ask).collect();
    let (mut answered, mut refused) = (0, 0);
    for number in AT_A_TIME.. {
        match asked.join_next().await.context("none is left")?? {
            Ok(()) => answered += 1,
            Err(error) if is_refusal(&error) => refused += 1,
            Err(error) => return Err(error.into()),
        }
        if Instant::now() >= end {
            break;
        }
        asked.spawn(ask(number));
    }
    Ok((answered, refused))
}

fn is_refusal(error: &zbus::Error) -> bool {
    let limits = |name: &str| name == "org.freedesktop.DBus.Error.LimitsExceeded";
    match error {
        zbus::Error::FDO(error) => matches!(**error, fdo::Error::LimitsExceeded(_)),
        zbus::Error::MethodError(name, ..) => limits(name),
        _ => false,
    }
}

fn by_http(end: Instant) -> (u64, u64) {
    let (mut answered, mut refused) = (0, 0);
    while Instant::now() < end {
        let mut answer = String::new();
        // Where there is no place for one more, it hears nothing.
        let asked = UnixStream::connect(SOCKET).and_then(|mut stream| {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            stream.read_to_string(&mut answer)
        });
        if asked.is_ok() && answer.starts_with("HTTP/1.1 200") {
            answered += 1;
        } else {
            refused += 1;
        }
    }
    (answered, refused)
}
