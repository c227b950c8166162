//! Metrics by HTTP, for those on this machine: on a Unix socket or on the loopback interface.

use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::policy::Listen;
use crate::request::{Answer, Requests};

/// How many may ask at a time; the next one waits.
const CONNECTIONS: usize = 8;
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
}

impl Server {
    /// Begins to listen; what is asked is answered by the daemon.
    ///
    /// # Errors
    /// When the address or the path cannot be had.
    pub(crate) fn start(listen: &Listen, requests: Requests) -> io::Result<Self> {
        let task = match listen {
            Listen::Loopback(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                let listener = Arc::new(listener);
                let accept = move || {
                    let listener = Arc::clone(&listener);
                    async move { listener.accept().await.map(|(stream, _)| stream) }
                };
                tokio::spawn(serve(accept, requests))
            }
            Listen::Socket(path) => {
                remove_socket(path)?;
                safe_directory(path)?;
                let listener = Arc::new(UnixListener::bind(path)?);
                fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
                let accept = move || {
                    let listener = Arc::clone(&listener);
                    async move { listener.accept().await.map(|(stream, _)| stream) }
                };
                tokio::spawn(serve(accept, requests))
            }
        };
        let listen = listen.clone();
        Ok(Self { task, listen })
    }

    /// Where it listens.
    pub(crate) fn listen(&self) -> &Listen {
        &self.listen
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        if let Listen::Socket(path) = &self.listen {
            // Somebody may have removed it before.
            let _ = remove_socket(path);
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
fn remove_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is something that is not a socket",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

async fn serve<A, F, S>(accept: A, requests: Requests)
where
    A: Fn() -> F + Send,
    F: Future<Output = io::Result<S>> + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok(stream) = accept().await else {
            sleep(RETRY).await;
            continue;
        };
        let requests = requests.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, requests.clone()));
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
) -> Result<Response<Full<Bytes>>, Infallible> {
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

    /// A server in `directory`, with a daemon that always says the same.
    fn start(directory: &Path) -> Server {
        let (requests, mut asked) = Requests::channel();
        tokio::spawn(async move {
            while let Some((_, answer)) = asked.recv().await {
                let text = "# TYPE a counter\na_total 1\n# EOF\n".to_owned();
                answer.send(Ok(Answer::Text(text))).unwrap();
            }
        });
        let listen = Listen::Socket(directory.join("socket"));
        Server::start(&listen, requests).unwrap()
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
    async fn a_socket_that_was_left_behind_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(start(directory.path()));
        fs::write(&path, "precious").unwrap();
        let (requests, _) = Requests::channel();
        let listen = Listen::Socket(path.clone());
        assert!(Server::start(&listen, requests).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
