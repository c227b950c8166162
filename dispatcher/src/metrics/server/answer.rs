//! The answer to a request.

use std::convert::Infallible;
use std::net::IpAddr;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue,
    REFERRER_POLICY, REFRESH, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};

use super::limits::Client;

use crate::api::request::Request as Ask;
use crate::api::request::{Answer, Requests};
use crate::metrics::prometheus::prometheus;
use crate::page;

/// After how many seconds the next request may be made.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers a request of `client` with the metrics, in the format that it accepts, or with the page.
pub(super) async fn answer(
    request: Request<Incoming>,
    requests: Requests,
    client: Client,
    may_ask: bool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !may_ask {
        let why = "too many questions, try again in a second\n";
        let mut response = response(StatusCode::TOO_MANY_REQUESTS, PLAIN, why);
        response
            .headers_mut()
            .insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        return Ok(response);
    }
    let ask = match request.uri().path() {
        "/metrics" => Ask::Metrics,
        "/" if client == Client::Anybody && !names_loopback(&request) => {
            let why = "this is to be asked for by the name of the loopback interface\n";
            return Ok(response(StatusCode::MISDIRECTED_REQUEST, PLAIN, why));
        }
        "/" => Ask::Page,
        _ => {
            return Ok(response(
                StatusCode::NOT_FOUND,
                PLAIN,
                "see / and /metrics\n",
            ));
        }
    };
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let why = "this can only be read\n";
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, why);
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return Ok(response);
    }
    let is_page = ask == Ask::Page;
    Ok(match requests.ask(ask).await {
        Ok(Answer::Text(text)) if is_page => page(text),
        Ok(Answer::Text(text)) if wants_open_metrics(&request) => {
            response(StatusCode::OK, OPEN_METRICS, text)
        }
        Ok(Answer::Text(text)) => response(StatusCode::OK, PROMETHEUS, prometheus(&text)),
        Ok(_) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "no answer\n"),
        Err(refusal) => response(
            StatusCode::SERVICE_UNAVAILABLE,
            PLAIN,
            format!("{refusal}\n"),
        ),
    })
}

/// The page, with what a browser has to know about it.
fn page(text: String) -> Response<Full<Bytes>> {
    let mut response = response(StatusCode::OK, HTML, text);
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (REFRESH, page::REFRESH),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// Whether the client means this machine. A browser that asks by another name was led here by somebody's page, which could
/// then read what it gets (DNS rebinding). Who says no name is no browser.
fn names_loopback(request: &Request<Incoming>) -> bool {
    let Some(host) = request.headers().get(HOST) else {
        return true;
    };
    let host = host.to_str().ok();
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    host.is_some_and(|host| {
        let host = host.host();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || address
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback())
    })
}

/// Prometheus says which formats it reads; most others read only the older one.
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
