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

impl Counts {
    /// Returns the counts only if they include a failed or slow call.
    pub(crate) fn if_suspicious(self) -> Option<Self> {
        (self.failures > 0 || self.slow > 0).then_some(self)
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
