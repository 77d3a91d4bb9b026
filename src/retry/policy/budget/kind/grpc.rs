use std::sync::Arc;

use crate::settings::invalid_setting::{InvalidSetting, ensure};
use crate::sync::{AtomicU64, Ordering};

/// The throttle of gRPC proposal A6.
#[derive(Debug)]
pub(in crate::retry) struct Grpc {
    /// Shared with the budgets of keys that are made like this one, so that one change reaches all.
    numbers: Arc<Numbers>,
    /// The tokens in the lower half, and in the upper half the maximum that they were counted with. If it has changed
    /// since, they stand for the same share of the new one, as in gRPC after another service config.
    tokens: AtomicU64,
}

/// In thousandths of a token, as all numbers here: the proposal counts three decimal places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::retry) struct Settings {
    max: u64,
    ratio: u64,
}

/// The current [`Settings`].
#[derive(Debug)]
struct Numbers {
    max: AtomicU64,
    ratio: AtomicU64,
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
        Ok(Self::with(Arc::new(Numbers {
            max: AtomicU64::new(u64::from(max_tokens) * TOKEN),
            ratio: AtomicU64::new(ratio),
        })))
    }

    fn with(numbers: Arc<Numbers>) -> Self {
        let max = numbers.max.load(Ordering::Relaxed);
        Self { numbers, tokens: AtomicU64::new(word(max, max)) }
    }

    /// A new one whose settings change with those of this one.
    pub(in crate::retry) fn renewed(&self) -> Self {
        Self::with(Arc::clone(&self.numbers))
    }

    pub(in crate::retry) fn settings(&self) -> Settings {
        Settings { max: self.max(), ratio: self.numbers.ratio.load(Ordering::Relaxed) }
    }

    /// Changes the settings, also of all that were made like this one.
    pub(in crate::retry) fn set(&self, Settings { max, ratio }: Settings) {
        self.numbers.max.store(max, Ordering::Relaxed);
        self.numbers.ratio.store(ratio, Ordering::Relaxed);
    }

    pub(in crate::retry) fn is_full(&self) -> bool {
        let max = self.max();
        self.tokens(max) == max
    }

    /// Counts a failure. Returns whether a retry is allowed after it.
    pub(in crate::retry) fn fail(&self) -> bool {
        let max = self.max();
        let take = |before: u64| tokens_of(before, max).saturating_sub(TOKEN);
        let update = |before| Some(word(max, take(before)));
        let before = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        before.is_ok_and(|before| take(before) * 2 > max)
    }

    /// Returns whether a retry is allowed now.
    pub(super) fn allows_retries(&self) -> bool {
        let max = self.max();
        self.tokens(max) * 2 > max
    }

    /// Counts a success. With all tokens there, which is the usual case, this is a few loads.
    #[inline]
    pub(in crate::retry) fn succeed(&self) {
        let Settings { max, ratio } = self.settings();
        let give = |before: u64| {
            let tokens = tokens_of(before, max);
            (tokens < max).then(|| word(max, (tokens + ratio).min(max)))
        };
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }

    pub(in crate::retry) fn balance(&self) -> f64 {
        self.tokens(self.max()) as f64 / TOKEN as f64
    }

    fn max(&self) -> u64 {
        self.numbers.max.load(Ordering::Relaxed)
    }

    fn tokens(&self, max: u64) -> u64 {
        tokens_of(self.tokens.load(Ordering::Relaxed), max)
    }
}

/// Both are at most a million.
fn word(max: u64, tokens: u64) -> u64 {
    max << u32::BITS | tokens
}

/// The tokens in a word, as the same share of this maximum. Rounded down, so that no change adds to the share.
fn tokens_of(word: u64, max: u64) -> u64 {
    let (of, tokens) = (word >> u32::BITS, word & u64::from(u32::MAX));
    if of == max { tokens } else { tokens * max / of }
}
