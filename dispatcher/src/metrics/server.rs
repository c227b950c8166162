//! Metrics by HTTP, for those on this machine: on a Unix socket or on the loopback interface.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{sleep, timeout};

use crate::budget::{Budgets, Rate};
use crate::lock::lock;
use crate::policy::Listen;
use crate::request::{Answer, Requests};

/// How many may ask at a time, and how many of them for one user.
const CONNECTIONS: usize = 32;
const OF_ONE_USER: usize = 8;
/// How often a user may ask: a scrape every 15 s is usual.
const QUESTIONS: Rate = Rate {
    burst: 20.0,
    per_second: 5.0,
};
/// In which seconds the next question may be asked.
const NEXT_QUESTION: HeaderValue = HeaderValue::from_static("1");
/// How long a question and its answer may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How long it is waited when there are no more file descriptors.
const RETRY: Duration = Duration::from_secs(1);
/// How long a question may be, in bytes.
const MAX_QUESTION: usize = 8192;
/// Everybody may read metrics, as everything else that the daemon says.
const SOCKET_MODE: u32 = 0o666;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Serves until it is dropped.
pub(crate) struct Server {
    task: JoinHandle<()>,
    listen: Listen,
    /// The device and number of the socket's file.
    file: Option<(u64, u64)>,
}

/// Who asks, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asker {
    /// By a Unix socket: a user.
    User(u32),
    /// By the loopback interface: anybody here.
    Anybody,
}

/// The connections that there are, and what may still be asked.
#[derive(Clone)]
struct Limits {
    places: Arc<Mutex<BTreeMap<Asker, usize>>>,
    users: Arc<Budgets>,
    anybody: Arc<Budgets>,
}

/// One of the connections, until this is dropped.
struct Place {
    limits: Limits,
    asker: Asker,
}

impl Server {
    /// Begins to listen; what is asked is answered on `runtime`, by what the daemon said last.
    ///
    /// # Errors
    /// When the address or the path cannot be had.
    pub(crate) fn start(runtime: &Handle, listen: &Listen, requests: Requests) -> io::Result<Self> {
        let _entered = runtime.enter();
        let mut file = None;
        let task = match listen {
            Listen::Loopback(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                let listener = Arc::new(listener);
                let accept = move || {
                    let listener = Arc::clone(&listener);
                    async move {
                        let (stream, _) = listener.accept().await?;
                        Ok((stream, Asker::Anybody))
                    }
                };
                runtime.spawn(serve(accept, requests))
            }
            Listen::Socket(path) => {
                remove_abandoned(path)?;
                safe_directory(path)?;
                let listener = Arc::new(UnixListener::bind(path)?);
                let made = fs::symlink_metadata(path)?;
                file = Some((made.dev(), made.ino()));
                fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
                let accept = move || {
                    let listener = Arc::clone(&listener);
                    async move {
                        let (stream, _) = listener.accept().await?;
                        let user = stream.peer_cred()?.uid();
                        Ok((stream, Asker::User(user)))
                    }
                };
                runtime.spawn(serve(accept, requests))
            }
        };
        let listen = listen.clone();
        Ok(Self { task, listen, file })
    }

    /// Where it listens.
    pub(crate) fn listen(&self) -> &Listen {
        &self.listen
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        if let Listen::Socket(path) = &self.listen
            && let Ok(there) = fs::symlink_metadata(path)
            && Some((there.dev(), there.ino())) == self.file
        {
            // Somebody may remove it at the same moment.
            let _ = fs::remove_file(path);
        }
    }
}

/// Fails where somebody else could put something in the place of what was just made.
fn safe_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    let mode = fs::metadata(directory)?.permissions().mode();
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "others can write into its directory",
        ));
    }
    Ok(())
}

/// Removes a socket that nobody listens on any more, but nothing else.
fn remove_abandoned(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is something that is not a socket",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let asking = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(asking.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path),
        // It went meanwhile.
        Err(Errno::ENOENT) => Ok(()),
        // There are more who ask than it takes, or it wants other than streams.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another program listens there",
        )),
        Err(error) => Err(io::Error::other(format!(
            "it is not known whether another program listens there: {error}"
        ))),
    }
}

impl Limits {
    fn new() -> Self {
        Self {
            places: Arc::default(),
            users: Arc::new(Budgets::new(QUESTIONS)),
            anybody: Arc::new(Budgets::new(QUESTIONS)),
        }
    }

    /// A place for one more connection, if there is one for whoever asks.
    fn place(&self, asker: Asker) -> Option<Place> {
        let mut places = lock(&self.places);
        let all: usize = places.values().sum();
        let theirs = places.get(&asker).copied().unwrap_or_default();
        if all >= CONNECTIONS || theirs >= OF_ONE_USER {
            return None;
        }
        places.insert(asker, theirs + 1);
        let limits = self.clone();
        Some(Place { limits, asker })
    }

    /// Whether they may ask once more.
    fn may_ask(&self, asker: Asker) -> bool {
        match asker {
            Asker::User(0) => true,
            Asker::User(user) => self.users.spend(user),
            Asker::Anybody => self.anybody.spend(0),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = lock(&self.limits.places);
        if let Some(theirs) = places.get_mut(&self.asker) {
            *theirs -= 1;
            if *theirs == 0 {
                places.remove(&self.asker);
            }
        }
    }
}

async fn serve<A, F, S>(accept: A, requests: Requests)
where
    A: Fn() -> F + Send,
    F: Future<Output = io::Result<(S, Asker)>> + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = Limits::new();
    loop {
        let Ok((stream, asker)) = accept().await else {
            sleep(RETRY).await;
            continue;
        };
        let Some(place) = limits.place(asker) else {
            // Whoever hangs on to that many gets no answer to one more.
            drop(stream);
            yield_now().await;
            continue;
        };
        let requests = requests.clone();
        tokio::spawn(async move {
            let may_ask = place.limits.may_ask(asker);
            let service = service_fn(|request| answer(request, requests.clone(), may_ask));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(ANSWERED_WITHIN)
                .max_buf_size(MAX_QUESTION)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // Who hangs up or says nonsense gets no answer.
            let _ = timeout(ANSWERED_WITHIN, connection).await;
            drop(place);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    requests: Requests,
    may_ask: bool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !may_ask {
        let why = "too many questions, try again in a second\n";
        let mut response = response(StatusCode::TOO_MANY_REQUESTS, PLAIN, why);
        response.headers_mut().insert(RETRY_AFTER, NEXT_QUESTION);
        return Ok(response);
    }
    if request.uri().path() != "/metrics" {
        return Ok(response(StatusCode::NOT_FOUND, PLAIN, "see /metrics\n"));
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let why = "metrics can only be read\n";
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, why);
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return Ok(response);
    }
    Ok(match requests.ask(crate::request::Request::Metrics).await {
        Ok(Answer::Text(text)) if wants_open_metrics(&request) => {
            response(StatusCode::OK, OPEN_METRICS, text)
        }
        Ok(Answer::Text(text)) => response(StatusCode::OK, PROMETHEUS, super::prometheus(&text)),
        Ok(_) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "no metrics\n"),
        Err(refusal) => response(
            StatusCode::SERVICE_UNAVAILABLE,
            PLAIN,
            format!("{refusal}\n"),
        ),
    })
}

/// Prometheus says which format it reads; most others read only the older one.
fn wants_open_metrics(request: &Request<Incoming>) -> bool {
    let accepted = request.headers().get_all(ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains("application/openmetrics-text"))
}

fn response(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    async fn ask(path: &Path, question: &str) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(question.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// A daemon that always says the same.
    fn daemon() -> Requests {
        let (requests, mut asked) = Requests::channel();
        tokio::spawn(async move {
            while let Some((_, answer)) = asked.recv().await {
                let text = "# TYPE a counter\na_total 1\n# EOF\n".to_owned();
                answer.send(Ok(Answer::Text(text))).unwrap();
            }
        });
        requests
    }

    /// A server in `directory`.
    fn start(directory: &Path) -> Server {
        let listen = Listen::Socket(directory.join("socket"));
        Server::start(&Handle::current(), &listen, daemon()).unwrap()
    }

    #[tokio::test]
    async fn metrics_are_told_in_the_format_that_is_asked_for_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let server = start(directory.path());
        let get = "GET /metrics HTTP/1.1\r\nHost: x\r\n";
        let old = ask(&path, &format!("{get}\r\n")).await;
        assert!(old.starts_with("HTTP/1.1 200"), "{old}");
        assert!(
            old.ends_with("# TYPE a_total counter\na_total 1\n"),
            "{old}"
        );
        let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
        let new = ask(&path, &format!("{get}{accept}\r\n")).await;
        assert!(new.ends_with("\na_total 1\n# EOF\n"), "{new}");
        let other = ask(&path, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(other.starts_with("HTTP/1.1 404"), "{other}");
        let post = ask(&path, "POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(post.starts_with("HTTP/1.1 405"), "{post}");
        ask(&path, "nonsense\r\n\r\n").await;
        drop(server);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn on_the_loopback_interface_all_together_are_told_to_wait() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let listen = Listen::Loopback(address);
        let _server = Server::start(&Handle::current(), &listen, daemon()).unwrap();
        let mut told_to_wait = 0;
        for _ in 0..60 {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let question = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
            stream.write_all(question).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            if answer.starts_with("HTTP/1.1 429") {
                assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
                told_to_wait += 1;
            } else {
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            }
        }
        assert!(told_to_wait > 10, "{told_to_wait}");
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(start(directory.path()));
        fs::write(&path, "precious").unwrap();
        let (requests, _) = Requests::channel();
        let listen = Listen::Socket(path.clone());
        assert!(Server::start(&Handle::current(), &listen, requests).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_socket_on_which_another_program_listens_is_left_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let listen = Listen::Socket(path.clone());
        let begin = || {
            let (requests, _) = Requests::channel();
            Server::start(&Handle::current(), &listen, requests)
        };
        let error = begin().err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        // Nor is one of datagrams taken for abandoned.
        drop(other);
        fs::remove_file(&path).unwrap();
        let _datagrams = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        assert!(begin().is_err() && path.exists());
    }

    #[tokio::test]
    async fn a_server_takes_away_no_socket_but_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let server = start(directory.path());
        fs::remove_file(&path).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(server);
        assert!(path.exists());
    }

    #[test]
    fn who_asks_without_end_is_told_to_wait_and_takes_no_more_than_so_many_places() {
        let limits = Limits::new();
        let flooder = Asker::User(1000);
        let asked = (0..1000).filter(|_| limits.may_ask(flooder)).count();
        assert!((20..100).contains(&asked), "{asked}");
        assert!(limits.may_ask(Asker::User(1001)) && limits.may_ask(Asker::Anybody));
        let taken: Vec<_> = (0..1000).filter_map(|_| limits.place(flooder)).collect();
        assert_eq!(taken.len(), OF_ONE_USER);
        assert!(limits.place(Asker::User(1001)).is_some());
        drop(taken);
        assert!(limits.place(flooder).is_some());
    }
}
