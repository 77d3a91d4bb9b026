//! What a retry layer reports: events to its callbacks and to `tracing`, and a report to the caller.

mod explain;
mod origin;
mod report;
mod span;
mod tally;
mod telemetry;

use std::fmt;
use std::time::Duration;

use http::Method;

use super::policy::GiveUp;
use crate::classify::{Reason, Verdict};

pub(in crate::retry) use self::origin::{Origin, PartitionLabel};
pub(in crate::retry) use self::report::History;
pub use self::report::{AttemptReport, Report, RetryReport};
pub use self::span::AttemptSpans;
pub(in crate::retry) use self::span::{AttemptSpan, AttemptStart, Spans};
pub(in crate::retry) use self::tally::Tally;
pub(in crate::retry) use self::telemetry::{GiveUpLog, trace_overflow, trace_reconfigured, trace_retry};

/// Why an attempt is hedged.
pub(in crate::retry) const SLOW: Reason = Reason::new("slow");

/// A retry, reported before its wait. See [`RetryLayer::on_retry`](crate::RetryLayer::on_retry).
#[derive(Clone, Copy, Debug)]
pub struct RetryEvent<'a> {
    pub(in crate::retry) attempt: u32,
    pub(in crate::retry) wait: Duration,
    pub(in crate::retry) is_resend: bool,
    pub(in crate::retry) is_hedge: bool,
    pub(in crate::retry) verdict: Verdict,
    pub(in crate::retry) origin: &'a Origin,
}

/// A retry that was wanted and not made. See [`RetryLayer::on_give_up`](crate::RetryLayer::on_give_up).
#[derive(Clone, Copy, Debug)]
pub struct GiveUpEvent<'a> {
    pub(in crate::retry) kind: GiveUp,
    pub(in crate::retry) attempts: u32,
    pub(in crate::retry) verdict: Verdict,
    pub(in crate::retry) origin: &'a Origin,
}

impl RetryEvent<'_> {
    /// Returns the number of the failed attempt, counted from 1; of a hedge, the number of the attempt that is slow.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the wait before the next attempt.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// Returns true for a transparent retry: the same attempt is sent again at once, for free, because an established
    /// connection gave the request back.
    #[must_use]
    pub const fn is_resend(&self) -> bool {
        self.is_resend
    }

    /// Returns true for a [hedge](crate::RetryLayer::hedge): nothing has failed, but an attempt is slow and another one
    /// joins it. Reported once the hedge was sent.
    #[must_use]
    pub const fn is_hedge(&self) -> bool {
        self.is_hedge
    }

    /// Returns the verdict on the failed attempt. That on an attempt that is hedged is transient, with the reason
    /// `slow`.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }
}

impl GiveUpEvent<'_> {
    /// Returns why there is no further attempt.
    #[must_use]
    pub const fn kind(&self) -> GiveUp {
        self.kind
    }

    /// Returns the number of attempts, the first one included.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the verdict on the last outcome.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }
}

macro_rules! origin {
    ($($event:ident)*) => {$(
        impl<'a> $event<'a> {
            /// Returns the method of an HTTP request.
            #[must_use]
            pub const fn method(&self) -> Option<&'a Method> {
                self.origin.method()
            }

            /// Returns the host and port of an HTTP request, without userinfo.
            #[must_use]
            pub fn host(&self) -> Option<&'a str> {
                self.origin.host()
            }

            /// Returns the [label](crate::RetryLayer::partition_label) of the request's partition.
            #[must_use]
            pub fn partition(&self) -> Option<&'a str> {
                self.origin.partition()
            }
        }
    )*};
}

origin!(RetryEvent GiveUpEvent);

/// Observes the retries and give-ups of a layer.
///
/// A closure observes retries alone, a pair runs both of its observers, and `()` observes nothing. Observers run inside
/// the call and delay it, so do no more than count.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use tower_rampart::RetryLayer;
///
/// static RETRIES: AtomicU32 = AtomicU32::new(0);
///
/// let layer = RetryLayer::new_for_http().on_retry(|_| {
///     RETRIES.fetch_add(1, Ordering::Relaxed);
/// });
/// # let _ = layer;
/// ```
pub trait OnRetry {
    /// A constant, so that a layer without spans pays nothing for them.
    #[doc(hidden)]
    const OPENS_SPANS: bool = false;

    /// Called before the wait for a retry.
    fn on_retry(&self, event: &RetryEvent<'_>);

    /// Called for a retry that was wanted and not made, before the outcome is returned. Does nothing by default.
    fn on_give_up(&self, event: &GiveUpEvent<'_>) {
        let _ = event;
    }
}

impl OnRetry for () {
    fn on_retry(&self, _: &RetryEvent<'_>) {}
}

impl<F> OnRetry for F
where
    F: Fn(&RetryEvent<'_>),
{
    fn on_retry(&self, event: &RetryEvent<'_>) {
        self(event);
    }
}

impl<First: OnRetry, Second: OnRetry> OnRetry for (First, Second) {
    const OPENS_SPANS: bool = First::OPENS_SPANS || Second::OPENS_SPANS;

    fn on_retry(&self, event: &RetryEvent<'_>) {
        let (first, second) = self;
        first.on_retry(event);
        second.on_retry(event);
    }

    fn on_give_up(&self, event: &GiveUpEvent<'_>) {
        let (first, second) = self;
        first.on_give_up(event);
        second.on_give_up(event);
    }
}

/// Observes give-ups alone with a closure: see [`RetryLayer::on_give_up`](crate::RetryLayer::on_give_up).
#[derive(Clone, Copy)]
pub struct OnGiveUp<F>(pub(in crate::retry) F);

impl<F> OnRetry for OnGiveUp<F>
where
    F: Fn(&GiveUpEvent<'_>),
{
    fn on_retry(&self, _: &RetryEvent<'_>) {}

    fn on_give_up(&self, event: &GiveUpEvent<'_>) {
        self.0(event);
    }
}

/// A closure has no useful `Debug` output.
impl<F> fmt::Debug for OnGiveUp<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnGiveUp(..)")
    }
}
