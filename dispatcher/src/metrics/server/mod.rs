//! Metrics and the page by HTTP, for programs on this machine: on a Unix socket or on the loopback interface.

mod answer;
mod limits;
mod socket;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use auto_ext_policy::Listen;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{sleep, timeout};

use crate::api::request::Requests;
use answer::answer;
use limits::{Client, Limits};
use socket::SocketFile;

/// How long a request and its answer may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait when there are no more file descriptors.
const RETRY: Duration = Duration::from_secs(1);
/// How long a request may be, in bytes.
const MAX_REQUEST: usize = 8192;

/// Serves until it is dropped.
pub(crate) struct Server {
    task: JoinHandle<()>,
    listen: Listen,
    /// Held for the time in which it is served.
    _file: Option<SocketFile>,
}

impl Server {
    /// Begins to listen. Requests are answered on `runtime`.
    ///
    /// # Errors
    /// When the address or the path is in use, or cannot be used.
    pub(crate) fn start(runtime: &Handle, listen: &Listen, requests: Requests) -> io::Result<Self> {
        let _entered = runtime.enter();
        let (task, file) = match listen {
            Listen::Loopback(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let listener = Arc::new(TcpListener::from_std(listener)?);
                let accept = move || {
                    let listener = Arc::clone(&listener);
                    async move {
                        let (stream, _) = listener.accept().await?;
                        Ok((stream, Client::Anybody))
                    }
                };
                (runtime.spawn(serve(accept, requests)), None)
            }
            Listen::Socket(path) => {
                let (listener, file) = socket::listen(path)?;
                let listener = Arc::new(listener);
                let accept = move || {
                    let listener = Arc::clone(&listener);
                    async move {
                        let (stream, _) = listener.accept().await?;
                        let user = stream.peer_cred()?.uid();
                        Ok((stream, Client::User(user)))
                    }
                };
                (runtime.spawn(serve(accept, requests)), Some(file))
            }
        };
        Ok(Self {
            task,
            listen: listen.clone(),
            _file: file,
        })
    }

    /// Where it listens.
    pub(crate) fn listen(&self) -> &Listen {
        &self.listen
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers every connection that `accept` returns, for ever.
async fn serve<A, F, S>(accept: A, requests: Requests)
where
    A: Fn() -> F + Send,
    F: Future<Output = io::Result<(S, Client)>> + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = Limits::new();
    loop {
        let Ok((stream, client)) = accept().await else {
            sleep(RETRY).await;
            continue;
        };
        let Some(permit) = limits.connect(client) else {
            // Further connections are closed without an answer.
            drop(stream);
            yield_now().await;
            continue;
        };
        let (requests, limits) = (requests.clone(), limits.clone());
        tokio::spawn(async move {
            let may_ask = limits.may_ask(client);
            let service = service_fn(|request| answer(request, requests.clone(), client, may_ask));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(ANSWERED_WITHIN)
                .max_buf_size(MAX_REQUEST)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A client that hangs up or sends nonsense gets no answer.
            let _ = timeout(ANSWERED_WITHIN, connection).await;
            drop(permit);
        });
    }
}
