//! The server as clients see it, and what it does with sockets that are there already.

use std::fs;
use std::path::Path;

use super::limits::OF_ONE_USER;
use super::*;
use crate::api::request::{Answer, Request};
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
        while let Some((request, answer)) = asked.recv().await {
            let text = match request {
                Request::Page => "<!DOCTYPE html>\n",
                _ => "# TYPE a counter\na_total 1\n# EOF\n",
            };
            let text = text.to_owned();
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
async fn metrics_are_served_in_the_format_that_is_asked_for_and_nothing_else() {
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
    let other = ask(&path, "GET /metric HTTP/1.1\r\nHost: x\r\n\r\n").await;
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
async fn the_page_is_served_with_a_policy_that_lets_nothing_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let _server = start(directory.path());
    let page = ask(&path, "GET / HTTP/1.1\r\nHost: anything\r\n\r\n").await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.ends_with("\r\n\r\n<!DOCTYPE html>\n"), "{page}");
    for header in [
        "content-type: text/html; charset=utf-8\r\n",
        "content-security-policy: default-src 'none'; style-src 'sha256-",
        "x-content-type-options: nosniff\r\n",
        "cache-control: no-store\r\n",
        "refresh: 5\r\n",
    ] {
        assert!(page.contains(header), "no {header} in {page}");
    }
    let head = ask(&path, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"));
    let post = ask(&path, "POST / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
}

#[tokio::test]
async fn a_browser_that_somebody_leads_to_the_loopback_interface_gets_no_page() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let listen = Listen::Loopback(address);
    let _server = Server::start(&Handle::current(), &listen, daemon()).unwrap();
    for (host, status) in [
        ("Host: 127.0.0.1:9797\r\n", 200),
        ("Host: localhost\r\n", 200),
        ("Host: [::1]:9797\r\n", 200),
        ("", 200),
        ("Host: example.org\r\n", 421),
        ("Host: 127.0.0.1.example.org:9797\r\n", 421),
        ("Host: 192.0.2.1\r\n", 421),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let question = format!("GET / HTTP/1.1\r\n{host}\r\n");
        stream.write_all(question.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{host}: {answer}");
    }
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
fn who_asks_without_end_is_told_to_wait_and_has_no_more_than_so_many_connections() {
    let limits = Limits::new();
    let flooder = Client::User(1000);
    let asked = (0..1000).filter(|_| limits.may_ask(flooder)).count();
    assert!((20..100).contains(&asked), "{asked}");
    assert!(limits.may_ask(Client::User(1001)) && limits.may_ask(Client::Anybody));
    let taken: Vec<_> = (0..1000).filter_map(|_| limits.connect(flooder)).collect();
    assert_eq!(taken.len(), OF_ONE_USER);
    assert!(limits.connect(Client::User(1001)).is_some());
    drop(taken);
    assert!(limits.connect(flooder).is_some());
}
