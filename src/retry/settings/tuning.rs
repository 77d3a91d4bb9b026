use std::num::NonZeroU32;
use std::time::Duration;

use crate::retry::policy::{AttemptTimeout, Decider};

/// The settings that a call keeps from its start to its end, and that can change for later ones.
#[derive(Clone, Debug)]
pub(in crate::retry) struct Tuning {
    pub(in crate::retry) limits: Limits,
    pub(in crate::retry) attempt_timeout: Option<AttemptTimeout>,
    pub(in crate::retry) deadline: Option<Duration>,
    pub(in crate::retry) decider: Decider,
}

/// What every call reads, in one word that it copies.
#[derive(Clone, Copy, Debug)]
pub(in crate::retry) struct Limits {
    pub(in crate::retry) max_attempts: NonZeroU32,
    /// The number of the settings, to find the rest.
    pub(in crate::retry) era: u16,
    pub(in crate::retry) has_attempt_timeout: bool,
}

impl Tuning {
    pub(in crate::retry) fn new(max_attempts: NonZeroU32, decider: Decider) -> Self {
        let limits = Limits { max_attempts, era: 0, has_attempt_timeout: false };
        Self { limits, attempt_timeout: None, deadline: None, decider }
    }

    pub(in crate::retry) fn set_attempt_timeout(&mut self, timeout: AttemptTimeout) {
        self.attempt_timeout = Some(timeout);
        self.limits.has_attempt_timeout = true;
    }

    /// Returns each setting by name, with whether other ones have the same.
    pub(in crate::retry) fn compare(&self, new: &Self) -> [(&'static str, bool); 7] {
        let Self {
            limits: Limits { max_attempts, era: _, has_attempt_timeout: _ },
            attempt_timeout,
            deadline,
            decider,
        } = self;
        let Decider { backoff, max_retry_after, clamp_retry_after, retry_circuit_open } = decider;
        [
            ("max_attempts", *max_attempts == new.limits.max_attempts),
            ("backoff", *backoff == new.decider.backoff),
            ("attempt_timeout", *attempt_timeout == new.attempt_timeout),
            ("deadline", *deadline == new.deadline),
            ("max_retry_after", *max_retry_after == new.decider.max_retry_after),
            ("clamp_retry_after", *clamp_retry_after == new.decider.clamp_retry_after),
            ("retry_circuit_open", *retry_circuit_open == new.decider.retry_circuit_open),
        ]
    }

    pub(in crate::retry) fn is_same(&self, other: &Self) -> bool {
        self.compare(other).iter().all(|(_, is_same)| *is_same)
    }
}
