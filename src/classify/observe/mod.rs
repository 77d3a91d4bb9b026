//! Observers of verdicts.
//!
//! 1. An observer sees each call of a [`ClassifyLayer`](crate::ClassifyLayer) once, when its verdict is final: at the
//!    head, or at the end of the body if the layer judges bodies.
//! 2. It runs on the caller's task, so it must not block.
//! 3. A dropped call has no verdict, unless a time limit of the retry layer dropped it.

mod counters;

pub use self::counters::Counters;
use super::Verdict;

/// Observes every verdict of a [`ClassifyLayer`](crate::ClassifyLayer).
///
/// Implemented by closures, by [`Counters`], by pairs of observers (the first one is called first) and by `()`, which
/// does nothing.
pub trait OnVerdict {
    /// Called once for every call that ends, on the caller's task.
    ///
    /// If [`RetryLayer`](crate::RetryLayer) drops the call because its attempt timeout or deadline ran out, the verdict
    /// is transient, maybe processed, health failure, reason `timeout`. A call that is dropped for any other reason has
    /// no verdict.
    fn on_verdict(&self, verdict: &Verdict);
}

impl OnVerdict for () {
    fn on_verdict(&self, _: &Verdict) {}
}

impl<F: Fn(&Verdict)> OnVerdict for F {
    fn on_verdict(&self, verdict: &Verdict) {
        self(verdict);
    }
}

impl<First: OnVerdict, Second: OnVerdict> OnVerdict for (First, Second) {
    fn on_verdict(&self, verdict: &Verdict) {
        let (first, second) = self;
        first.on_verdict(verdict);
        second.on_verdict(verdict);
    }
}
