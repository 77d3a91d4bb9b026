//! The names that a header of the user's choice cannot have.

use http::HeaderName;

use crate::settings::invalid_setting::{InvalidSetting, ensure};

/// Names to which HTTP or this crate gives a meaning. A number under one of them would change what a request means: an
/// `idempotency-key` makes every POST idempotent.
const TAKEN: [&str; 48] = [
    "age",
    "allow",
    "alt-svc",
    "authorization",
    "baggage",
    "cache-control",
    "connection",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "idempotency-key",
    "keep-alive",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "retry-after",
    "retry-after-ms",
    "server",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
    "x-api-key",
    "x-ms-retry-after-ms",
    "x-real-ip",
    "x-request-id",
    "x-retry-attempt",
    "x-retry-depth",
    "x-should-retry",
];

/// What such names begin with.
const TAKEN_PREFIXES: [&str; 11] = [
    "accept",
    "access-control-",
    "content-",
    "grpc-",
    "if-",
    "proxy-",
    "sec-",
    "x-b3-",
    "x-envoy-",
    "x-forwarded-",
    "x-ratelimit-",
];

/// Rejects a name that has a meaning, other than these: they mean what the header is for.
pub(super) fn ensure_free(setting: &str, name: &HeaderName, meant: &[&str]) -> Result<(), InvalidSetting> {
    let text = name.as_str();
    let is_taken = TAKEN.contains(&text) || TAKEN_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
    ensure!(!is_taken || meant.contains(&text), "{setting}: the header {text:?} has another meaning");
    Ok(())
}
