//! The answer to a request.

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};

use crate::api::request::Request as Ask;
use crate::api::request::{Answer, Requests};
use crate::metrics::prometheus::prometheus;

/// After how many seconds the next request may be made.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers a request with the metrics, in the format that it accepts.
pub(super) async fn answer(
    request: Request<Incoming>,
    requests: Requests,
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
    Ok(match requests.ask(Ask::Metrics).await {
        Ok(Answer::Text(text)) if wants_open_metrics(&request) => {
            response(StatusCode::OK, OPEN_METRICS, text)
        }
        Ok(Answer::Text(text)) => response(StatusCode::OK, PROMETHEUS, prometheus(&text)),
        Ok(_) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "no metrics\n"),
        Err(refusal) => response(
            StatusCode::SERVICE_UNAVAILABLE,
            PLAIN,
            format!("{refusal}\n"),
        ),
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
