/// The outcomes in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) slow: u64,
}

/// One outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

/// What a recorder has left undone because its generation has ended, or because the window has been replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// All, but perhaps that the call was slow.
    Unrecorded { slow_counted: bool },
    /// The call is counted, and its outcome belongs at this position.
    At { position: u32 },
    /// Only to look at the rates.
    Recorded,
}

impl Counts {
    /// Returns the counts only if they include a failed or slow call.
    pub(crate) fn if_suspicious(self) -> Option<Self> {
        (self.failures > 0 || self.slow > 0).then_some(self)
    }

    /// So many of the calls, with the same rates.
    pub(super) fn shrunk_to(self, calls: u64) -> Self {
        let part = |part: u64| (part * calls).checked_div(self.calls).unwrap_or(0);
        Self { calls, failures: part(self.failures), slow: part(self.slow) }
    }

    /// Outcomes with these counts, evenly mixed.
    pub(super) fn outcomes(self) -> impl Iterator<Item = Outcome> {
        let is_hit = move |part: u64, call: u64| (call + 1) * part / self.calls > call * part / self.calls;
        (0..self.calls).map(move |call| Outcome { failed: is_hit(self.failures, call), slow: is_hit(self.slow, call) })
    }

    /// Without those that came later.
    pub(super) fn minus(self, later: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(later.calls),
            failures: self.failures.saturating_sub(later.failures),
            slow: self.slow.saturating_sub(later.slow),
        }
    }

    pub(super) fn plus(self, outcome: Outcome) -> Self {
        Self {
            calls: self.calls + 1,
            failures: self.failures + u64::from(outcome.failed),
            slow: self.slow + u64::from(outcome.slow),
        }
    }

    /// Failures among the calls; 0 if there was no call.
    pub(crate) fn failure_rate(&self) -> f64 {
        rate(self.failures, self.calls)
    }

    /// Slow calls among the calls; 0 if there was no call.
    pub(crate) fn slow_rate(&self) -> f64 {
        rate(self.slow, self.calls)
    }
}

/// A correctly rounded division: three of thirty is exactly the configured 0.1.
fn rate(part: u64, whole: u64) -> f64 {
    if part == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_exact() {
        for whole in 1..=100_u64 {
            for tenths in 1..=10_u64 {
                let reached = (0..=whole).find(|part| rate(*part, whole) >= tenths as f64 / 10.0);
                let exact = (0..=whole).find(|part| part * 10 >= tenths * whole);
                assert_eq!(reached, exact, "{tenths} tenths of {whole}");
            }
        }
    }
}
