//! The kinds of budgets, one a file. Each grants a retry by one update of a single atomic word. [`Ratio`] has more
//! words, which only say how many tokens expire and are paid.

mod aws;
mod concurrent;
mod cost;
mod grpc;
pub(in crate::retry) mod ratio;

use std::time::Duration;

pub(in crate::retry) use self::aws::Aws;
pub(in crate::retry) use self::concurrent::Concurrent;
pub(in crate::retry) use self::cost::Cost;
pub(in crate::retry) use self::grpc::Grpc;
pub(in crate::retry) use self::ratio::Ratio;
use crate::classify::{Reason, Verdict};

/// A budget that has a limit.
#[derive(Debug)]
pub(in crate::retry) enum Kind {
    Ratio(Ratio),
    Grpc(Grpc),
    Aws(Aws),
    Concurrent(Concurrent),
}

/// The settings of a kind that can change while calls use it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::retry) enum Settings {
    Ratio(ratio::Settings),
    Grpc(grpc::Settings),
    Aws,
    Concurrent(concurrent::Settings),
}

impl Kind {
    /// A call begins. Returns true if its end is to be reported, also if it makes no retry.
    #[inline]
    pub(super) fn open(&self) -> bool {
        match self {
            Self::Ratio(ratio) => {
                ratio.deposit();
                false
            }
            other => {
                other.enter();
                true
            }
        }
    }

    // Not inlined: the usual kind pays nothing for the others.
    #[inline(never)]
    fn enter(&self) {
        if let Self::Concurrent(concurrent) = self {
            concurrent.enter();
        }
    }

    pub(in crate::retry) fn balance(&self) -> f64 {
        match self {
            Self::Ratio(ratio) => ratio.balance(),
            Self::Grpc(grpc) => grpc.balance(),
            Self::Aws(aws) => aws.balance(),
            Self::Concurrent(concurrent) => concurrent.balance(),
        }
    }

    /// Asks for a retry after an attempt with this verdict.
    pub(super) fn withdraw(&self, verdict: &Verdict) -> Option<Cost> {
        match self {
            Self::Ratio(ratio) => ratio.withdraw(),
            Self::Grpc(grpc) => grpc.fail().then_some(Cost(0)),
            Self::Aws(aws) => aws.withdraw(verdict.reason() == Reason::TIMEOUT),
            Self::Concurrent(concurrent) => concurrent.withdraw(),
        }
    }

    /// Asks for a hedge, before which nothing failed.
    pub(super) fn withdraw_for_hedge(&self) -> Option<Cost> {
        match self {
            Self::Grpc(grpc) => grpc.allows_retries().then_some(Cost(0)),
            other => other.withdraw(&Verdict::transient()),
        }
    }

    /// An attempt failed and is not retried for a reason other than the budget.
    pub(super) fn fail(&self) {
        if let Self::Grpc(grpc) = self {
            grpc.fail();
        }
    }

    /// A retry that was granted will not be sent.
    pub(super) fn give_back(&self, cost: Cost) {
        match self {
            Self::Ratio(ratio) => ratio.give_back(cost),
            Self::Aws(aws) => aws.give_back(cost),
            Self::Concurrent(concurrent) => concurrent.end_retry(),
            Self::Grpc(_) => {}
        }
    }

    /// The attempt of a retry has ended.
    pub(super) fn end_retry(&self) {
        if let Self::Concurrent(concurrent) = self {
            concurrent.end_retry();
        }
    }

    /// A call succeeded, after a retry of this cost if it made one.
    pub(super) fn succeed(&self, retry: Option<Cost>) {
        match self {
            Self::Grpc(grpc) => grpc.succeed(),
            Self::Aws(aws) => aws.succeed(retry),
            Self::Ratio(_) | Self::Concurrent(_) => {}
        }
    }

    /// A call has ended.
    pub(super) fn close(&self) {
        if let Self::Concurrent(concurrent) = self {
            concurrent.leave();
        }
    }

    pub(super) fn settings(&self) -> Settings {
        match self {
            Self::Ratio(ratio) => Settings::Ratio(ratio.settings()),
            Self::Grpc(grpc) => Settings::Grpc(grpc.settings()),
            Self::Aws(_) => Settings::Aws,
            Self::Concurrent(concurrent) => Settings::Concurrent(concurrent.settings()),
        }
    }

    /// Brings what depends on the time up to date, before the settings change.
    pub(in crate::retry) fn settle(&self) {
        if let Self::Ratio(ratio) = self {
            ratio.settle();
        }
    }

    /// Changes the settings, also of all that were [made](Self::renewed) like this one. Ignores those of another kind.
    pub(super) fn set(&self, settings: Settings) {
        match (self, settings) {
            (Self::Ratio(ratio), Settings::Ratio(settings)) => ratio.set(settings),
            (Self::Grpc(grpc), Settings::Grpc(settings)) => grpc.set(settings),
            (Self::Concurrent(concurrent), Settings::Concurrent(settings)) => concurrent.set(settings),
            _ => {}
        }
    }

    /// A new one, whose settings change with those of this one.
    pub(in crate::retry) fn renewed(&self) -> Self {
        match self {
            Self::Ratio(ratio) => Self::Ratio(ratio.renewed()),
            Self::Grpc(grpc) => Self::Grpc(grpc.renewed()),
            Self::Aws(_) => Self::Aws(Aws::new()),
            Self::Concurrent(concurrent) => Self::Concurrent(concurrent.renewed()),
        }
    }

    /// Returns the constructor of [`Budget`](super::Budget) that makes it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ratio(_) => "ratio",
            Self::Grpc(_) => "grpc",
            Self::Aws(_) => "aws_standard",
            Self::Concurrent(_) => "concurrent",
        }
    }

    /// Whether it is no different from a new one.
    pub(super) fn is_as_new(&self) -> bool {
        match self {
            Self::Ratio(ratio) => ratio.is_as_new(),
            Self::Grpc(grpc) => grpc.is_full(),
            Self::Aws(aws) => aws.is_full(),
            Self::Concurrent(concurrent) => concurrent.is_idle(),
        }
    }

    /// How long tokens last, if they expire.
    pub(super) fn ttl(&self) -> Option<Duration> {
        match self {
            Self::Ratio(ratio) => Some(ratio.time_to_live()),
            Self::Grpc(_) | Self::Aws(_) | Self::Concurrent(_) => None,
        }
    }
}
