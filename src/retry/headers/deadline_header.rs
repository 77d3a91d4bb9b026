use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::header_name::ensure_free;
use super::numbers::numbers;
use crate::call::deadline::Deadline;
use crate::settings::invalid_setting::{InvalidSetting, valid};

/// A header that carries how long the caller still waits: see
/// [`RetryLayer::deadline_header`](crate::RetryLayer::deadline_header).
///
/// ```
/// use tower_rampart::retry::DeadlineHeader;
///
/// // Envoy's name, and that of a company that counts in seconds.
/// let of_envoy = DeadlineHeader::milliseconds("x-envoy-expected-rq-timeout-ms");
/// let ours = DeadlineHeader::seconds("request-timeout");
/// # let _ = (of_envoy, ours);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadlineHeader {
    name: HeaderName,
    unit: Duration,
}

/// The largest value that is written. It fits a signed number of 32 bits, which is what many servers read.
const LARGEST: u128 = i32::MAX as u128;

/// How Envoy passes on a timeout.
const OF_ENVOY: [&str; 3] =
    ["x-envoy-expected-rq-timeout-ms", "x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms"];

impl DeadlineHeader {
    /// A header in whole milliseconds.
    ///
    /// # Panics
    ///
    /// If this is not the name of a header, or if HTTP, gRPC or this crate gives the name another meaning, such as
    /// `content-length`, `idempotency-key` or `grpc-timeout`, which a layer for gRPC writes without this setting. Of
    /// Envoy's names those of a request timeout fit.
    #[must_use]
    #[track_caller]
    pub fn milliseconds(name: &str) -> Self {
        valid(Self::try_milliseconds(name))
    }

    /// [`milliseconds`](Self::milliseconds), with an error in place of a panic.
    pub fn try_milliseconds(name: &str) -> Result<Self, InvalidSetting> {
        Self::new(name, Duration::from_millis(1))
    }

    /// A header in whole seconds.
    ///
    /// # Panics
    ///
    /// As [`milliseconds`](Self::milliseconds).
    #[must_use]
    #[track_caller]
    pub fn seconds(name: &str) -> Self {
        valid(Self::try_seconds(name))
    }

    /// [`seconds`](Self::seconds), with an error in place of a panic.
    pub fn try_seconds(name: &str) -> Result<Self, InvalidSetting> {
        Self::new(name, Duration::from_secs(1))
    }

    fn new(name: &str, unit: Duration) -> Result<Self, InvalidSetting> {
        let Ok(name) = HeaderName::try_from(name) else {
            return Err(InvalidSetting::new(format!("DeadlineHeader: {name:?} is not the name of a header")));
        };
        ensure_free("DeadlineHeader", &name, &OF_ENVOY)?;
        Ok(Self { name, unit })
    }

    /// Returns the deadline in these headers, counted from now. A server reads the deadline of its caller with it, for
    /// the calls that it makes itself.
    ///
    /// Of several values, on lines of their own or joined by commas, the smallest counts. A value that is not a whole
    /// number is ignored, and so is zero, which means "no limit" to some and "no time" to others.
    ///
    /// ```
    /// use tower_rampart::retry::DeadlineHeader;
    ///
    /// let inbound = http::Request::get("/").header("x-request-timeout-ms", "250").body(()).unwrap();
    /// let mut outbound = http::Request::get("/next").body(()).unwrap();
    /// if let Some(deadline) = DeadlineHeader::milliseconds("x-request-timeout-ms").read(inbound.headers()) {
    ///     outbound.extensions_mut().insert(deadline);
    /// }
    /// ```
    #[must_use]
    pub fn read(&self, headers: &HeaderMap) -> Option<Deadline> {
        let units = numbers(headers, &self.name).filter(|units| *units > 0).min()?;
        let unit = self.unit.as_millis() as u64;
        Some(Deadline::within(Duration::from_millis(units.saturating_mul(unit))))
    }

    /// Writes the remaining time in whole units, rounded down, and at least one: a zero would mean "no limit" to some
    /// servers.
    pub(super) fn write(&self, headers: &mut HeaderMap, remaining: Duration) {
        let units = (remaining.as_nanos() / self.unit.as_nanos()).clamp(1, LARGEST);
        headers.insert(self.name.clone(), HeaderValue::from(units as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn writes_whole_units_rounded_down_and_never_zero() {
        let (millis, seconds) = (DeadlineHeader::milliseconds("x-ms"), DeadlineHeader::seconds("x-s"));
        for (remaining, in_millis, in_seconds) in [
            (Duration::ZERO, "1", "1"),
            (Duration::from_nanos(1), "1", "1"),
            (Duration::from_micros(1_999), "1", "1"),
            (1_999 * MS, "1999", "1"),
            (2_000 * MS, "2000", "2"),
            (Duration::MAX, "2147483647", "2147483647"),
        ] {
            let mut headers = HeaderMap::from_iter([(HeaderName::from_static("x-ms"), HeaderValue::from(7))]);
            millis.write(&mut headers, remaining);
            seconds.write(&mut headers, remaining);
            assert_eq!(
                (&headers["x-ms"], &headers["x-s"]),
                (&in_millis.parse().unwrap(), &in_seconds.parse().unwrap())
            );
            assert_eq!(headers.len(), 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reads_whole_numbers_alone() {
        let read = |header: DeadlineHeader, value: &[u8]| {
            let value = (HeaderName::from_static("x-t"), HeaderValue::from_bytes(value).unwrap());
            header.read(&HeaderMap::from_iter([value])).map(Deadline::remaining)
        };
        let millis = || DeadlineHeader::milliseconds("x-t");
        assert_eq!(read(millis(), b"250"), Some(250 * MS));
        assert_eq!(read(DeadlineHeader::seconds("x-t"), b" 2 "), Some(2_000 * MS));
        for rubbish in ["", "0", "-5", "+5", "1.5", "1e3", "5ms", "0x10"] {
            assert_eq!(read(millis(), rubbish.as_bytes()), None, "{rubbish}");
        }
        assert_eq!(read(millis(), b"\xff"), None);
        // Two lines of one name, and the same as a proxy may join them (RFC 9110 section 5.3).
        for joined in ["250,300", "300 , 250", "soon, 250,0"] {
            assert_eq!(read(millis(), joined.as_bytes()), Some(250 * MS), "{joined}");
        }
        let lines = ["300", "250", "0"].map(|line| (HeaderName::from_static("x-t"), HeaderValue::from_static(line)));
        assert_eq!(millis().read(&HeaderMap::from_iter(lines)).map(Deadline::remaining), Some(250 * MS));
        for header in [millis(), DeadlineHeader::seconds("x-t")] {
            let endless = read(header, b"99999999999999999999999999").unwrap();
            assert!(endless > Duration::from_secs(60 * 60 * 24 * 365));
        }
        assert_eq!(millis().read(&HeaderMap::new()), None);
    }

    #[test]
    fn a_name_that_is_none_is_an_error() {
        for invalid in [DeadlineHeader::try_milliseconds("a b"), DeadlineHeader::try_seconds("")] {
            assert!(invalid.unwrap_err().to_string().contains("is not the name of a header"));
        }
    }

    #[test]
    fn a_name_with_another_meaning_is_an_error() {
        for name in
            ["Idempotency-Key", "grpc-timeout", "retry-after", "host", "x-retry-attempt", "x-envoy-attempt-count"]
        {
            for invalid in [DeadlineHeader::try_milliseconds(name), DeadlineHeader::try_seconds(name)] {
                let name = name.to_lowercase();
                let message = format!("DeadlineHeader: the header {name:?} has another meaning");
                assert_eq!(invalid.unwrap_err().to_string(), message);
            }
        }
        for name in OF_ENVOY.into_iter().chain(["x-request-timeout-ms", "request-timeout"]) {
            assert!(DeadlineHeader::try_milliseconds(name).is_ok(), "{name}");
        }
    }
}
