//! What every value of a configuration can do: override the common part, and find what a setter rejects in it.

use std::collections::BTreeMap;
use std::fmt;

use crate::breaker::Mode;
use crate::classify::{Class, Health, Processed};
use crate::config::preset::Preset;

/// A value that a file can set.
pub(crate) trait Setting: Clone {
    /// Returns this value over that of the common part. A table keeps the fields that only the common part sets.
    fn over(self, _common: &Self) -> Self {
        self
    }

    /// Returns the single number, duration or name that makes `allowed` reject this value, of those that `part` sets.
    /// `None` if there is no such one.
    fn culprit(&self, _part: &Self, _allowed: &dyn Fn(&Self) -> bool) -> Option<Culprit> {
        None
    }
}

/// A rejected number, duration or name. With another one in its place, the setter accepts the value.
pub(crate) struct Culprit {
    /// Where it is in the value, for example `.exponential.factor`. Empty if it is the value.
    pub(crate) path: String,
    /// The allowed one next to it, as a file holds it.
    pub(crate) nearest: Option<String>,
}

impl Culprit {
    pub(super) fn new(nearest: Option<String>) -> Self {
        Self { path: String::new(), nearest }
    }

    pub(crate) fn within(self, segment: impl fmt::Display) -> Self {
        Self { path: format!("{segment}{}", self.path), ..self }
    }
}

/// Values of which every setting with limits accepts at least one.
const CANDIDATES: [u64; 9] = [1, 2, 10, 100, 500, 1_000, 10_000, 1_000_000, 1_000_000_000];
/// Shares are searched in steps of this.
const STEPS_OF_ONE: f64 = 1_000.0;
const LARGEST: f64 = 1e9;

/// Searches the step next to `rejected`, because what a setter accepts is one interval.
pub(super) fn nearest_step(rejected: u64, allowed: impl Fn(u64) -> bool) -> Option<u64> {
    if allowed(rejected) {
        return Some(rejected);
    }
    let (mut bad, mut good) = (rejected, CANDIDATES.into_iter().find(|step| allowed(*step))?);
    while bad.abs_diff(good) > 1 {
        let middle = bad.min(good) + bad.abs_diff(good) / 2;
        if allowed(middle) { good = middle } else { bad = middle }
    }
    Some(good)
}

macro_rules! integers {
    ($($Integer:ty)+) => {$(
        impl Setting for $Integer {
            fn culprit(&self, _: &Self, allowed: &dyn Fn(&Self) -> bool) -> Option<Culprit> {
                let fits = |step| Self::try_from(step).is_ok_and(|value| allowed(&value));
                let nearest = nearest_step(u64::try_from(*self).ok()?, fits)?;
                Some(Culprit::new(Some(nearest.to_string())))
            }
        }
    )+};
}

integers!(u16 u32 usize);

impl Setting for f64 {
    // Between zero and a number that fits, because of the clamp. NaN, which has no neighbors, becomes zero.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn culprit(&self, _: &Self, allowed: &dyn Fn(&Self) -> bool) -> Option<Culprit> {
        let value = |step: u64| step as f64 / STEPS_OF_ONE;
        let rejected = (self * STEPS_OF_ONE).clamp(0.0, LARGEST) as u64;
        let nearest = value(nearest_step(rejected, |step| allowed(&value(step)))?);
        Some(Culprit::new((!self.is_nan()).then(|| nearest.to_string())))
    }
}

impl Setting for String {
    /// Names have no neighbors, so the name of a header that every setter accepts stands for the others.
    fn culprit(&self, _: &Self, allowed: &dyn Fn(&Self) -> bool) -> Option<Culprit> {
        allowed(&"x-header".to_owned()).then(|| Culprit::new(None))
    }
}

impl<T: Setting> Setting for Option<T> {
    fn over(self, common: &Self) -> Self {
        match (self, common) {
            (Some(own), Some(common)) => Some(own.over(common)),
            (own, common) => own.or_else(|| common.clone()),
        }
    }

    fn culprit(&self, part: &Self, allowed: &dyn Fn(&Self) -> bool) -> Option<Culprit> {
        self.as_ref()?.culprit(part.as_ref()?, &|value| allowed(&Some(value.clone())))
    }
}

/// A list of a name replaces that of the common part.
impl<T: Setting> Setting for Vec<T> {
    /// Looks at the last element of the shortest prefix that is rejected.
    fn culprit(&self, part: &Self, allowed: &dyn Fn(&Self) -> bool) -> Option<Culprit> {
        let lengths: Vec<usize> = (1..=self.len()).collect();
        let index = lengths.partition_point(|length| allowed(&self[..*length].to_vec()));
        let allowed = |value: &T| allowed(&[&self[..index], std::slice::from_ref(value)].concat());
        Some(self.get(index)?.culprit(part.get(index)?, &allowed)?.within(format_args!("[{index}]")))
    }
}

impl Setting for bool {}
impl Setting for Class {}
impl Setting for Health {}
impl Setting for Mode {}
impl Setting for Preset {}
impl Setting for Processed {}
impl<T: Clone> Setting for BTreeMap<String, T> {}

/// Returns a field without which its table means nothing.
pub(super) fn required<T: Clone>(field: &Option<T>, name: impl fmt::Display) -> Result<T, crate::InvalidSetting> {
    field.clone().ok_or_else(|| crate::InvalidSetting::new(format!("config: {name} is missing")))
}
