mod origin;
mod telemetry;

use std::fmt;
use std::time::Duration;

use http::Method;

use super::policy::GiveUp;
use crate::classify::Verdict;

pub(in crate::retry) use self::origin::{Origin, PartitionLabel};
pub(in crate::retry) use self::telemetry::{GiveUpLog, trace_retry};

/// A retry that the layer is about to wait for. See [`RetryLayer::on_retry`](crate::RetryLayer::on_retry).
#[derive(Clone, Copy, Debug)]
pub struct RetryEvent<'a> {
    pub(in crate::retry) attempt: u32,
    pub(in crate::retry) wait: Duration,
    pub(in crate::retry) is_resend: bool,
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
    /// Which attempt has failed, counted from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How long it will be until the next one.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// Whether an established connection gave the request back, so that it goes out again at once: for free, and as the
    /// same attempt.
    #[must_use]
    pub const fn is_resend(&self) -> bool {
        self.is_resend
    }

    /// What the outcome of the attempt meant.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }
}

impl GiveUpEvent<'_> {
    /// Why there is no further attempt.
    #[must_use]
    pub const fn kind(&self) -> GiveUp {
        self.kind
    }

    /// How many attempts were made, the first one included.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// What the last outcome meant.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }
}

macro_rules! origin {
    ($($event:ident)*) => {$(
        impl<'a> $event<'a> {
            /// The method of an HTTP request.
            #[must_use]
            pub const fn method(&self) -> Option<&'a Method> {
                self.origin.method()
            }

            /// The host and port of an HTTP request, without a user.
            #[must_use]
            pub fn host(&self) -> Option<&'a str> {
                self.origin.host()
            }

            /// The [label](crate::RetryLayer::partition_label) of the request's partition.
            #[must_use]
            pub fn partition(&self) -> Option<&'a str> {
                self.origin.partition()
            }
        }
    )*};
}

origin!(RetryEvent GiveUpEvent);

/// Observes the retries of a layer, and those that it gave up.
///
/// A closure is one that observes retries alone, a pair of two is both, and `()` observes nothing. Called on the caller's
/// time: do no more here than count.
pub trait OnRetry {
    /// Called before the wait for a retry.
    fn on_retry(&self, event: &RetryEvent<'_>);

    /// Called before the outcome is returned for which a retry was wanted and not made. Does nothing by default.
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

/// A closure that observes give-ups alone: see [`RetryLayer::on_give_up`](crate::RetryLayer::on_give_up).
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

/// A closure has nothing to show.
impl<F> fmt::Debug for OnGiveUp<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnGiveUp(..)")
    }
}
