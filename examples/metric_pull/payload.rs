//! What the billing API answers, and how an answer is read and checked before anybody bills by it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tower_rampart::classify;

/// How long a body may take once its head is there. The layers have done their part by then, so this limit is the
/// caller's.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// No honest answer is longer.
const MAX_BYTES: usize = 1 << 20;

/// The billing metrics of one tenant in one period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metrics {
    pub(crate) tenant: String,
    pub(crate) period: String,
    pub(crate) metrics: Vec<Metric>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) quantity: f64,
}

/// An answer nobody can bill by, although its head said 200.
#[derive(Debug)]
pub(crate) struct Unusable {
    pub(crate) reason: Reason,
    /// How much of the body had come.
    pub(crate) bytes: usize,
}

impl Unusable {
    /// It never came to a body.
    pub(crate) const fn unread(reason: classify::Reason) -> Self {
        Self { reason: Reason::Ambiguous(reason), bytes: 0 }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Truncated,
    TimedOut,
    TooLong,
    Malformed(String),
    WrongTenant,
    NoMetrics,
    /// So said the verdict on the head, or on the error that came instead of one.
    Ambiguous(classify::Reason),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Truncated => f.write_str("truncated"),
            Reason::TimedOut => write!(f, "not complete after {BODY_TIMEOUT:?}"),
            Reason::TooLong => write!(f, "longer than {MAX_BYTES} bytes"),
            Reason::Malformed(what) => write!(f, "malformed: {what}"),
            Reason::WrongTenant => f.write_str("the metrics of another tenant"),
            Reason::NoMetrics => f.write_str("no metrics, or one that is no quantity"),
            Reason::Ambiguous(reason) => write!(f, "ambiguous: {reason}"),
        }
    }
}

/// Reads the whole body, within a time limit, and checks that it is what was asked for.
pub(crate) async fn read<B>(body: B, tenant: &str) -> Result<Metrics, Unusable>
where
    B: Body<Data = Bytes>,
{
    let mut received = Vec::new();
    let reason = match tokio::time::timeout(BODY_TIMEOUT, collect(body, &mut received)).await {
        Ok(Ok(())) => match check(&received, tenant) {
            Ok(metrics) => return Ok(metrics),
            Err(reason) => reason,
        },
        Ok(Err(reason)) => reason,
        Err(_elapsed) => Reason::TimedOut,
    };
    Err(Unusable { reason, bytes: received.len() })
}

/// Keeps what has come even if the rest does not, so that the dead letter can tell how much it was.
async fn collect<B>(body: B, received: &mut Vec<u8>) -> Result<(), Reason>
where
    B: Body<Data = Bytes>,
{
    let mut body = std::pin::pin!(body);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Reason::Truncated) };
        if let Ok(data) = frame.into_data() {
            if received.len() + data.len() > MAX_BYTES {
                return Err(Reason::TooLong);
            }
            received.extend_from_slice(&data);
        }
    }
    Ok(())
}

fn check(received: &[u8], tenant: &str) -> Result<Metrics, Reason> {
    let metrics: Metrics =
        serde_json::from_slice(received).map_err(|error| Reason::Malformed(where_it_broke(&error)))?;
    if metrics.tenant != tenant {
        return Err(Reason::WrongTenant);
    }
    let is_quantity = |metric: &Metric| metric.quantity >= 0.0 && !metric.name.is_empty();
    if metrics.period.is_empty() || metrics.metrics.is_empty() || !metrics.metrics.iter().all(is_quantity) {
        return Err(Reason::NoMetrics);
    }
    Ok(metrics)
}

/// The kind and the place of a parse error without its text, which quotes the payload.
fn where_it_broke(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Io => "unreadable",
        serde_json::error::Category::Syntax => "not JSON",
        serde_json::error::Category::Data => "not the fields of metrics",
        serde_json::error::Category::Eof => "ends within the JSON",
    };
    format!("{kind} at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;
    use http_body_util::Full;

    use super::*;

    const GOOD: &str = r#"{"tenant":"t","period":"2026-10","metrics":[{"name":"requests","quantity":3}]}"#;

    async fn reason(body: &str) -> (Reason, usize) {
        let unusable = read(Full::new(Bytes::from(body.to_owned())), "t").await.unwrap_err();
        (unusable.reason, unusable.bytes)
    }

    #[tokio::test]
    async fn a_good_answer_is_taken() {
        let metrics = read(Full::new(Bytes::from(GOOD)), "t").await.unwrap();
        assert_eq!((metrics.period.as_str(), metrics.metrics[0].quantity), ("2026-10", 3.0));
    }

    #[tokio::test]
    async fn what_was_not_asked_for_is_refused() {
        assert_eq!(reason(&GOOD.replace(r#""t""#, r#""u""#)).await, (Reason::WrongTenant, GOOD.len()));
        assert_eq!(reason(&GOOD.replace("3", "-3")).await, (Reason::NoMetrics, GOOD.len() + 1));
        assert_eq!(reason(r#"{"tenant":"t","period":"2026-10","metrics":[]}"#).await.0, Reason::NoMetrics);
    }

    #[tokio::test]
    async fn a_malformed_answer_is_refused_and_not_quoted() {
        let secret = r#"{"tenant":"t","period":"2026-10","metrics":[],"secret":1}"#;
        for (body, kind) in [
            ("", "ends within the JSON"),
            ("<html>", "not JSON"),
            ("[]", "not the fields"),
            (secret, "not the fields"),
            (&GOOD[..40], "ends within the JSON"),
        ] {
            let (reason, bytes) = reason(body).await;
            assert!(reason.to_string().contains(kind), "{reason}");
            assert!(!reason.to_string().contains("secret"), "{reason}");
            assert_eq!(bytes, body.len());
        }
    }

    #[tokio::test]
    async fn one_byte_over_the_limit_is_too_long() {
        let spaces = |bytes| " ".repeat(bytes);
        assert_eq!(reason(&spaces(MAX_BYTES + 1)).await.0, Reason::TooLong);
        assert!(matches!(reason(&spaces(MAX_BYTES)).await, (Reason::Malformed(_), MAX_BYTES)));
    }

    /// One byte, and then neither more nor an end.
    struct Stalling(Option<Bytes>);

    impl Body for Stalling {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            self.0.take().map_or(Poll::Pending, |data| Poll::Ready(Some(Ok(Frame::data(data)))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        let before = tokio::time::Instant::now();
        let unusable = read(Stalling(Some(Bytes::from("{"))), "t").await.unwrap_err();
        assert_eq!((unusable.reason, unusable.bytes), (Reason::TimedOut, 1));
        // The timer counts in whole milliseconds.
        assert_eq!(before.elapsed().as_millis(), BODY_TIMEOUT.as_millis());
    }
}
