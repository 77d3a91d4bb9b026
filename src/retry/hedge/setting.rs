use std::time::Duration;

use crate::settings::invalid_setting::{InvalidSetting, ensure, valid};

/// When a second attempt joins one that is slow: see [`RetryLayer::hedge`](crate::RetryLayer::hedge).
///
/// ```
/// use std::time::Duration;
/// use tower_rampart::RetryLayer;
/// use tower_rampart::retry::Hedge;
///
/// let layer = RetryLayer::new_for_http().hedge(Hedge::after(Duration::from_millis(50)));
/// let adaptive = RetryLayer::new_for_http().hedge(Hedge::quantile(0.95));
/// # let _ = (layer, adaptive);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hedge {
    pub(super) when: When,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum When {
    After(Duration),
    Quantile(f64),
}

impl Hedge {
    /// Hedges an attempt that takes longer than this. With zero, every attempt that is not answered at once is hedged.
    /// An attempt whose body is still being sent at that moment is not.
    #[must_use]
    pub const fn after(delay: Duration) -> Self {
        Self { when: When::After(delay) }
    }

    /// Hedges an attempt that takes longer than this share of the latest attempts: with 0.95 the slowest twentieth.
    ///
    /// The attempts of the last 30 to 60 seconds count, those of all clones of the layer together. Before 50 of them
    /// nothing is hedged. The delay is computed twice a second and at most a sixteenth longer than the exact one; it is
    /// at least a millisecond. Answers that are failures do not count, because most of them are quick. Attempts that
    /// were cut or that lost against their hedge count with the time until then. Calls that the caller drops count for
    /// nothing: if a timeout around the layer ends most of them, the delay stays too short, and only the budget limits
    /// the hedges.
    ///
    /// # Panics
    ///
    /// If it is not between 0 and 1.
    #[must_use]
    #[track_caller]
    pub fn quantile(quantile: f64) -> Self {
        valid(Self::try_quantile(quantile))
    }

    /// [`quantile`](Self::quantile), with an error in place of a panic.
    pub fn try_quantile(quantile: f64) -> Result<Self, InvalidSetting> {
        ensure!(quantile > 0.0 && quantile < 1.0, "Hedge: the quantile must be between 0 and 1, but is {quantile}");
        Ok(Self { when: When::Quantile(quantile) })
    }
}
