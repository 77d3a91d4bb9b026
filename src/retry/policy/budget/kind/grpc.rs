use crate::invalid_setting::{InvalidSetting, ensure};
use crate::sync::{AtomicU64, Ordering};

/// The throttle of gRPC proposal A6.
#[derive(Debug)]
pub(in crate::retry) struct Grpc {
    /// In thousandths of a token, as all numbers here: the proposal counts three decimal places.
    max: u64,
    ratio: u64,
    tokens: AtomicU64,
}

const TOKEN: u64 = 1_000;
/// Of the service config.
const MOST_TOKENS: u32 = 1_000;
const RATIOS: std::ops::RangeInclusive<f64> = 0.001..=1_000.0;

// Relaxed, because the tokens are one word and guard no other memory.
impl Grpc {
    pub(in crate::retry) fn try_new(max_tokens: u32, ratio: f64) -> Result<Self, InvalidSetting> {
        ensure!(
            (1..=MOST_TOKENS).contains(&max_tokens),
            "Budget: max_tokens must be from 1 to {MOST_TOKENS}, but is {max_tokens}"
        );
        ensure!(RATIOS.contains(&ratio), "Budget: token_ratio must be from 0.001 to 1000, but is {ratio}");
        // Further decimal places are cut off. Most ratios have no exact binary form, and may lie a trifle below theirs.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let ratio = (ratio * TOKEN as f64 + 1e-6) as u64;
        Ok(Self::full(u64::from(max_tokens) * TOKEN, ratio))
    }

    fn full(max: u64, ratio: u64) -> Self {
        Self { max, ratio, tokens: AtomicU64::new(max) }
    }

    pub(in crate::retry) fn renewed(&self) -> Self {
        Self::full(self.max, self.ratio)
    }

    pub(in crate::retry) fn is_full(&self) -> bool {
        self.tokens.load(Ordering::Relaxed) == self.max
    }

    /// Counts a failure. Returns whether a retry is allowed after it.
    pub(in crate::retry) fn fail(&self) -> bool {
        let take = |tokens: u64| tokens.saturating_sub(TOKEN);
        let before = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| Some(take(tokens)));
        before.is_ok_and(|before| take(before) * 2 > self.max)
    }

    /// Counts a success. With all tokens there, which is the usual case, this is one load.
    #[inline]
    pub(in crate::retry) fn succeed(&self) {
        let give = |tokens: u64| (tokens < self.max).then(|| (tokens + self.ratio).min(self.max));
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }

    pub(in crate::retry) fn balance(&self) -> f64 {
        self.tokens.load(Ordering::Relaxed) as f64 / TOKEN as f64
    }
}
