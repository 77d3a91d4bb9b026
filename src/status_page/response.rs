use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use rand::RngExt;

use super::body::{Content, List, Live, Recording, ResponseBody};

const PAGE: &str = include_str!("page.html");
/// Stands in the page for the nonce of a response.
const NONCE: &str = "{nonce}";
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The page. Its own script and style are the only ones that run: they have the nonce of this response, and the policy
/// admits nothing else.
pub(super) fn page() -> Response<ResponseBody> {
    let nonce = format!("{:032x}", rand::rng().random::<u128>());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    );
    let bytes = PAGE.replace(NONCE, &nonce).into();
    let mut response = response(StatusCode::OK, "text/html; charset=utf-8", Content::Whole { bytes });
    if let Ok(policy) = policy.try_into() {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

pub(super) fn list(list: List) -> Response<ResponseBody> {
    response(StatusCode::OK, "application/json", Content::List { list })
}

pub(super) fn live(live: Live) -> Response<ResponseBody> {
    let mut response = response(StatusCode::OK, "text/event-stream", Content::Live { live });
    // nginx would keep the events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

pub(super) fn recording(recording: Recording) -> Response<ResponseBody> {
    let mut response = response(StatusCode::OK, "text/plain; charset=utf-8", Content::Recording { recording });
    let file = HeaderValue::from_static("attachment; filename=\"breakers.flight\"");
    response.headers_mut().insert(CONTENT_DISPOSITION, file);
    response
}

pub(super) fn json(json: Vec<u8>) -> Response<ResponseBody> {
    response(StatusCode::OK, "application/json", Content::Whole { bytes: json.into() })
}

pub(super) fn method_not_allowed(allow: &'static str) -> Response<ResponseBody> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

pub(super) fn too_many_viewers() -> Response<ResponseBody> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "too many streams are open\n");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

pub(super) fn text(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    response(status, "text/plain; charset=utf-8", Content::Whole { bytes: Bytes::from_static(text.as_bytes()) })
}

fn response(status: StatusCode, content_type: &'static str, content: Content) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::new(content));
    *response.status_mut() = status;
    response.headers_mut().extend(
        [
            (CONTENT_TYPE, content_type),
            (CACHE_CONTROL, "no-store"),
            (CONTENT_SECURITY_POLICY, "default-src 'none'"),
            (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
            (REFERRER_POLICY, "no-referrer"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ]
        .map(|(name, value)| (name, HeaderValue::from_static(value))),
    );
    response
}
