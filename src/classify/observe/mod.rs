mod counters;

pub use self::counters::Counters;
use super::Verdict;

/// Hears every verdict of a [`ClassifyLayer`](crate::ClassifyLayer).
///
/// A closure is one, [`Counters`](super::Counters) are one, a pair of two is both, and `()` does not listen.
pub trait OnVerdict {
    /// Called once for every call that ends, on the caller's time.
    ///
    /// A call that [`RetryLayer`](crate::RetryLayer) cuts because its attempt timeout or deadline ran out ends in a
    /// verdict of its own: transient, maybe processed, health failure, reason `timeout`. A call that is dropped for any
    /// other reason has no verdict.
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

impl<A: OnVerdict, B: OnVerdict> OnVerdict for (A, B) {
    fn on_verdict(&self, verdict: &Verdict) {
        let (first, second) = self;
        first.on_verdict(verdict);
        second.on_verdict(verdict);
    }
}
