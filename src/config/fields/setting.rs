//! What every field of a configuration can do: override the common part, and find the allowed value next to it.

use std::fmt;

use crate::breaker::Mode;

/// A value that a file can set.
pub(crate) trait Setting: Clone {
    /// Returns this value over that of the common part. A table keeps the fields that only the common part sets.
    fn over(self, _common: &Self) -> Self {
        self
    }

    /// Returns the value next to this one that `allowed` accepts, as a file holds it. `None` if there is no such order.
    fn nearest(&self, _allowed: impl Fn(&Self) -> bool) -> Option<String> {
        None
    }
}

/// Values of which every setting with limits accepts at least one.
const CANDIDATES: [u64; 7] = [1, 2, 10, 100, 500, 1_000, 10_000];
/// Shares are searched in steps of this.
const STEPS_OF_ONE: f64 = 1_000.0;
const LARGEST: f64 = 1e9;

pub(super) fn overridden<T: Setting>(own: Option<&T>, common: Option<&T>) -> Option<T> {
    match (own, common) {
        (Some(own), Some(common)) => Some(own.clone().over(common)),
        (own, common) => own.or(common).cloned(),
    }
}

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
            fn nearest(&self, allowed: impl Fn(&Self) -> bool) -> Option<String> {
                let fits = |step| Self::try_from(step).is_ok_and(|value| allowed(&value));
                nearest_step(u64::try_from(*self).ok()?, fits).map(|step| step.to_string())
            }
        }
    )+};
}

integers!(u32 usize);

impl Setting for f64 {
    // Between zero and a number that fits, because of the clamp.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn nearest(&self, allowed: impl Fn(&Self) -> bool) -> Option<String> {
        let value = |step: u64| step as f64 / STEPS_OF_ONE;
        let rejected = if self.is_nan() { return None } else { (self * STEPS_OF_ONE).clamp(0.0, LARGEST) as u64 };
        nearest_step(rejected, |step| allowed(&value(step))).map(|step| value(step).to_string())
    }
}

impl Setting for bool {}
impl Setting for String {}
impl Setting for Mode {}
impl<T: Clone> Setting for Vec<T> {}

/// Defines a table of optional fields, in which a field that is left out keeps the default of its setter.
macro_rules! table {
    ($(#[$docs:meta])* pub struct $Table:ident { $($(#[$field_docs:meta])* $field:ident: $Type:ty,)+ }) => {
        $(#[$docs])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[serde(default, deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $Table {
            $($(#[$field_docs])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$Type>,)+
        }

        impl $crate::config::fields::setting::Setting for $Table {
            fn over(self, common: &Self) -> Self {
                Self {
                    $($field: $crate::config::fields::setting::overridden(self.$field.as_ref(), common.$field.as_ref()),)+
                }
            }
        }
    };
}

/// Defines alternatives, of which a file names one. The same alternative over that of the common part is merged field
/// by field; another one replaces it.
macro_rules! kinds {
    ($(#[$docs:meta])* pub enum $Kinds:ident { $($(#[$kind_docs:meta])* $Kind:ident $(($Table:ty))?,)+ }) => {
        $(#[$docs])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum $Kinds { $($(#[$kind_docs])* $Kind $(($Table))?,)+ }

        impl $crate::config::fields::setting::Setting for $Kinds {
            fn over(self, common: &Self) -> Self {
                match (self, common) {
                    $($((Self::$Kind(own), Self::$Kind(common)) => {
                        Self::$Kind(<$Table as $crate::config::fields::setting::Setting>::over(own, common))
                    })?)+
                    (own, _) => own,
                }
            }
        }
    };
}
pub(super) use {kinds, table};

/// Returns a field without which its table means nothing.
pub(super) fn required<T: Clone>(field: &Option<T>, name: impl fmt::Display) -> Result<T, crate::InvalidSetting> {
    field.clone().ok_or_else(|| crate::InvalidSetting::new(format!("config: {name} is missing")))
}
