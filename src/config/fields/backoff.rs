use super::HumanDuration;
use super::setting::{Culprit, Setting, required};
use super::table::{kinds, table};
use crate::InvalidSetting;
use crate::retry::{Backoff, Jitter};

kinds! {
    /// The waits of a [`Backoff`], for example `exponential = { first = "100ms", max = "5s" }`.
    pub enum BackoffConfig {
        /// [`Backoff::fixed`].
        Fixed(FixedConfig) = "fixed",
        /// [`Backoff::linear`].
        Linear(LinearConfig) = "linear",
        /// [`Backoff::exponential`].
        Exponential(ExponentialConfig) = "exponential",
        /// [`Backoff::fibonacci`].
        Fibonacci(GrowingConfig) = "fibonacci",
        /// [`Backoff::decorrelated`].
        Decorrelated(GrowingConfig) = "decorrelated",
    }
}

table! {
    /// A [fixed](Backoff::fixed) wait.
    pub struct FixedConfig {
        /// The wait. Required.
        wait: HumanDuration,
        /// What of it is random.
        jitter: Jitter,
    }
}

table! {
    /// [Linear](Backoff::linear) waits.
    pub struct LinearConfig {
        /// The first wait. Required.
        first: HumanDuration,
        /// What each further one is longer. Required.
        step: HumanDuration,
        /// The longest one. Required.
        max: HumanDuration,
        /// What of them is random.
        jitter: Jitter,
    }
}

table! {
    /// [Exponential](Backoff::exponential) waits.
    pub struct ExponentialConfig {
        /// The first wait. Required.
        first: HumanDuration,
        /// The longest one. Required.
        max: HumanDuration,
        /// By how much each further one is multiplied.
        factor: f64,
        /// What of them is random.
        jitter: Jitter,
    }
}

table! {
    /// Waits that grow by a formula without further parameters.
    pub struct GrowingConfig {
        /// The first wait. Required.
        first: HumanDuration,
        /// The longest one. Required.
        max: HumanDuration,
        /// What of them is random.
        jitter: Jitter,
    }
}

impl Setting for Jitter {
    fn culprit(&self, _: &Self, allowed: &dyn Fn(&Self) -> bool) -> Option<Culprit> {
        let (share, kind, name): (_, fn(f64) -> Self, _) = match self {
            Self::Proportional(share) => (share, Self::Proportional, ".proportional"),
            Self::OnTop(share) => (share, Self::OnTop, ".on_top"),
            _ => return None,
        };
        Some(share.culprit(share, &|share| allowed(&kind(*share)))?.within(name))
    }
}

impl BackoffConfig {
    pub(super) fn backoff(&self) -> Result<Backoff, InvalidSetting> {
        let (backoff, jitter) = match self {
            Self::Fixed(FixedConfig { wait, jitter }) => (Backoff::fixed(required(wait, "fixed.wait")?.0), jitter),
            Self::Linear(LinearConfig { first, step, max, jitter }) => {
                let (first, max) = first_and_max("linear", first, max)?;
                (Backoff::try_linear(first.0, required(step, "linear.step")?.0, max.0)?, jitter)
            }
            Self::Exponential(ExponentialConfig { first, max, factor, jitter }) => {
                let (first, max) = first_and_max("exponential", first, max)?;
                let backoff = Backoff::try_exponential(first.0, max.0)?;
                (factor.map_or(Ok(backoff.clone()), |factor| backoff.try_factor(factor))?, jitter)
            }
            Self::Fibonacci(GrowingConfig { first, max, jitter }) => {
                let (first, max) = first_and_max("fibonacci", first, max)?;
                (Backoff::try_fibonacci(first.0, max.0)?, jitter)
            }
            Self::Decorrelated(GrowingConfig { first, max, jitter }) => {
                let (first, max) = first_and_max("decorrelated", first, max)?;
                (Backoff::try_decorrelated(first.0, max.0)?, jitter)
            }
        };
        match jitter {
            Some(jitter) => backoff.try_jitter(*jitter),
            None => Ok(backoff),
        }
    }
}

type Limits = (HumanDuration, HumanDuration);

fn first_and_max(
    kind: &str,
    first: &Option<HumanDuration>,
    max: &Option<HumanDuration>,
) -> Result<Limits, InvalidSetting> {
    let of_kind = |field| format!("{kind}.{field}");
    Ok((required(first, of_kind("first"))?, required(max, of_kind("max"))?))
}
