//! Classification without sockets: tables, hints, attached verdicts, bodies and the layer.

// Helpers may panic too; clippy allows that only in functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod annotation;
mod body;
mod causes;
mod debug;
mod distrust;
mod docs;
mod errors;
mod fast_path;
mod grpc;
mod hints;
mod layer;
mod script;
mod status;

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tower_rampart::classify::{Class, Health, Processed, Verdict};

type Facts = (Class, Processed, Health);

fn facts(verdict: Verdict) -> Facts {
    (verdict.class(), verdict.processed(), verdict.health())
}

fn response(status: u16, headers: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(status).body(()).unwrap();
    *response.headers_mut() = header_map(headers);
    response
}

fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap()));
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(name, value);
    }
    map
}
