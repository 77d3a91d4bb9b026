use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::header_name::ensure_free;
use super::numbers::numbers;
use crate::call::attempt::Attempt;
use crate::settings::invalid_setting::{InvalidSetting, valid};

const ATTEMPT: HeaderName = HeaderName::from_static("x-retry-attempt");
const DEPTH: HeaderName = HeaderName::from_static("x-retry-depth");
/// Envoy counts the first attempt, too.
const OF_ENVOY: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
/// gRPC proposal A6: the number of attempts before this one.
const OF_GRPC: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// Keeps the tiers of a system from multiplying each other's retries: see
/// [`RetryLayer::guard`](crate::RetryLayer::guard).
///
/// ```
/// use http::HeaderName;
/// use tower_rampart::RetryLayer;
/// use tower_rampart::retry::RetryGuard;
///
/// let guard = RetryGuard::new().max_depth(2).attempt_header(HeaderName::from_static("x-acme-attempt"));
/// let layer = RetryLayer::new_for_http().guard(guard);
/// # let _ = layer;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryGuard {
    attempt_header: HeaderName,
    max_depth: u32,
}

/// What the headers of a server's request say about retries above. Put into the extensions of an outbound request, a
/// [`guard`](crate::RetryLayer::guard) honors it.
///
/// ```
/// use tower_rampart::retry::InboundRetries;
///
/// fn outbound(inbound: &http::Request<String>) -> http::Request<String> {
///     let mut request = http::Request::get("/next").body(String::new()).unwrap();
///     request.extensions_mut().insert(InboundRetries::from_headers(inbound.headers()));
///     request
/// }
/// # let inbound = http::Request::get("/").header("x-envoy-attempt-count", "2").body(String::new()).unwrap();
/// # assert_eq!(outbound(&inbound).extensions().get::<InboundRetries>().unwrap().attempt(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InboundRetries {
    attempt: u32,
    depth: u32,
}

impl RetryGuard {
    /// A guard that writes `x-retry-attempt` and `x-retry-depth`, and lets two tiers retry.
    #[must_use]
    pub const fn new() -> Self {
        Self { attempt_header: ATTEMPT, max_depth: 1 }
    }

    /// Sets how many tiers above may retry the call so that this one retries, too. With the default of 1, the two
    /// uppermost tiers retry: three tiers of three attempts make at most five calls of the bottom. With 0, only the
    /// uppermost tier does.
    #[must_use]
    pub const fn max_depth(mut self, tiers: u32) -> Self {
        self.max_depth = tiers;
        self
    }

    /// Sets the header that carries the number of the attempt, counted from 1. Default: `x-retry-attempt`.
    ///
    /// # Panics
    ///
    /// If HTTP, gRPC or this crate gives the name another meaning, such as `content-length`, `idempotency-key` or
    /// `x-retry-depth`. Of Envoy's names `x-envoy-attempt-count` alone fits.
    #[must_use]
    #[track_caller]
    pub fn attempt_header(self, name: HeaderName) -> Self {
        valid(self.try_attempt_header(name))
    }

    /// [`attempt_header`](Self::attempt_header), with an error in place of a panic.
    pub fn try_attempt_header(mut self, name: HeaderName) -> Result<Self, InvalidSetting> {
        ensure_free("attempt_header", &name, &[ATTEMPT.as_str(), OF_ENVOY.as_str()])?;
        self.attempt_header = name;
        Ok(self)
    }

    /// Reads the marks of a server's request, with the attempt under the [name](Self::attempt_header) of this guard.
    /// See [`InboundRetries::from_headers`].
    #[must_use]
    pub fn inbound(&self, headers: &HeaderMap) -> InboundRetries {
        let own = [&self.attempt_header, &OF_ENVOY].map(|name| largest(headers, name));
        let attempts = own.into_iter().chain([largest(headers, &OF_GRPC).map(|previous| previous.saturating_add(1))]);
        InboundRetries {
            attempt: attempts.flatten().max().unwrap_or(1).max(1),
            depth: largest(headers, &DEPTH).unwrap_or(0),
        }
    }

    /// Returns true if tiers above retry so much that this one must not.
    pub(super) fn forbids_retries(&self, inbound: InboundRetries) -> bool {
        inbound.is_retry() || inbound.depth > self.max_depth
    }

    /// Writes the marks of an attempt. `retries` is true if this tier may retry it.
    pub(super) fn write(
        &self,
        headers: &mut HeaderMap,
        inbound: InboundRetries,
        attempt: Attempt,
        retries: bool,
        is_grpc: bool,
    ) {
        let attempt = attempt.number().max(inbound.attempt);
        let depth = inbound.depth.saturating_add(u32::from(retries && !self.forbids_retries(inbound)));
        headers.insert(self.attempt_header.clone(), HeaderValue::from(attempt));
        headers.insert(DEPTH, HeaderValue::from(depth));
        if is_grpc {
            match attempt {
                1 => headers.remove(OF_GRPC),
                _ => headers.insert(OF_GRPC, HeaderValue::from(attempt - 1)),
            };
        }
    }
}

impl Default for RetryGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl InboundRetries {
    /// What is assumed of a request without marks.
    pub(super) const NONE: Self = Self { attempt: 1, depth: 0 };

    /// Reads the marks that a [`guard`](crate::RetryLayer::guard) writes, `x-envoy-attempt-count`, and
    /// `grpc-previous-rpc-attempts`. Of several numbers the largest counts; what is no number is ignored.
    ///
    /// A caller can send any number. The worst that it gets is a call that is not retried.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        RetryGuard::new().inbound(headers)
    }

    /// Returns the number of the attempt, counted from 1.
    #[must_use]
    pub const fn attempt(self) -> u32 {
        self.attempt
    }

    /// Returns true if a tier above has tried before.
    #[must_use]
    pub const fn is_retry(self) -> bool {
        self.attempt > 1
    }

    /// Returns how many tiers above may retry the call.
    #[must_use]
    pub const fn depth(self) -> u32 {
        self.depth
    }
}

/// Returns the largest number in a header.
fn largest(headers: &HeaderMap, name: &HeaderName) -> Option<u32> {
    numbers(headers, name).max().map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(marks: &[(&'static str, &[u8])]) -> (u32, u32) {
        let mark = |(name, value): &(&'static str, &[u8])| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
        };
        let inbound = InboundRetries::from_headers(&marks.iter().map(mark).collect());
        (inbound.attempt(), inbound.depth())
    }

    #[test]
    fn reads_the_marks_of_all_and_ignores_rubbish() {
        assert_eq!(read(&[]), (1, 0));
        assert_eq!(read(&[("x-retry-attempt", b"3"), ("x-retry-depth", b"2")]), (3, 2));
        assert_eq!(read(&[("x-envoy-attempt-count", b"1")]), (1, 0));
        assert_eq!(read(&[("x-envoy-attempt-count", b"2")]), (2, 0));
        assert_eq!(read(&[("grpc-previous-rpc-attempts", b"1")]), (2, 0));
        assert_eq!(read(&[("x-retry-attempt", b"2"), ("grpc-previous-rpc-attempts", b"4")]), (5, 0));
        // Two lines of one name, and the same as a proxy may join them (RFC 9110 section 5.3).
        assert_eq!(
            read(&[("x-retry-attempt", b"1"), ("x-retry-attempt", b"3"), ("x-retry-depth", b"2,two, 1")]),
            (3, 2)
        );
        assert_eq!(read(&[("x-envoy-attempt-count", b"1 , 3")]), (3, 0));
        for rubbish in ["", "0", "-1", "+2", "two", "2.5", "2;depth=1"] {
            for name in ["x-retry-attempt", "x-envoy-attempt-count"] {
                assert_eq!(read(&[(name, rubbish.as_bytes())]), (1, 0), "{rubbish}");
            }
            assert_eq!(read(&[("grpc-previous-rpc-attempts", rubbish.as_bytes()), ("x-retry-depth", b"\xff")]), (1, 0));
        }
        let endless = &[b'9'; 60];
        assert_eq!(read(&[("grpc-previous-rpc-attempts", endless), ("x-retry-depth", endless)]), (u32::MAX, u32::MAX));
    }

    #[test]
    fn an_attempt_header_with_another_meaning_is_rejected() {
        for name in ["idempotency-key", "grpc-previous-rpc-attempts", "x-retry-depth", "content-length", "x-envoy-a"] {
            let error = RetryGuard::new().try_attempt_header(HeaderName::from_static(name)).unwrap_err();
            assert_eq!(error.to_string(), format!("attempt_header: the header {name:?} has another meaning"));
        }
        for name in ["x-retry-attempt", "x-envoy-attempt-count", "x-acme-attempt"] {
            assert!(RetryGuard::new().try_attempt_header(HeaderName::from_static(name)).is_ok(), "{name}");
        }
    }

    #[test]
    fn writes_the_higher_attempt_and_one_tier_more_if_this_one_retries() {
        let guard = RetryGuard::new();
        let second = Attempt::FIRST.next();
        let inbound = |attempt, depth| InboundRetries { attempt, depth };
        for (above, attempt, retries, is_grpc, expected) in [
            (InboundRetries::NONE, Attempt::FIRST, true, false, ["1", "1", "-"]),
            (InboundRetries::NONE, second, true, true, ["2", "1", "1"]),
            (InboundRetries::NONE, Attempt::FIRST, false, true, ["1", "0", "-"]),
            (inbound(1, 1), second, true, false, ["2", "2", "-"]),
            (inbound(3, 1), second, true, true, ["3", "1", "2"]),
            (inbound(1, 2), Attempt::FIRST, true, false, ["1", "2", "-"]),
            (inbound(u32::MAX, u32::MAX), second, true, false, ["4294967295", "4294967295", "-"]),
        ] {
            // What a caller sent under these names is replaced.
            let rubbish = [ATTEMPT, DEPTH].map(|name| (name, HeaderValue::from(9)));
            let mut headers = HeaderMap::from_iter(rubbish);
            if is_grpc {
                headers.insert(OF_GRPC, HeaderValue::from(9));
            }
            guard.write(&mut headers, above, attempt, retries, is_grpc);
            let text = |name| headers.get(name).map_or("-", |value: &HeaderValue| value.to_str().unwrap());
            assert_eq!([text(ATTEMPT), text(DEPTH), text(OF_GRPC)], expected, "{above:?}");
        }
    }
}
