use std::error::Error;
use std::fmt;

/// An invalid setting, returned by its `try_` form. The message names the setting, the allowed range and the value.
///
/// Every setting that panics has a `try_` form, for values from outside, such as a configuration file:
///
/// ```
/// use tower_rampart::{CircuitBreakerLayer, InvalidSetting};
///
/// fn breaker(name: &str, rate: f64) -> Result<CircuitBreakerLayer, InvalidSetting> {
///     CircuitBreakerLayer::new_for_http().try_name(name)?.try_failure_rate(rate)
/// }
///
/// let error = breaker("billing", 1.5).unwrap_err();
/// assert_eq!(error.to_string(), "failure_rate: the rate must be over 0 and at most 1, but is 1.5");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    message: Box<str>,
}

impl InvalidSetting {
    pub(crate) fn new(message: String) -> Self {
        Self { message: message.into() }
    }

    /// Returns the message without the setting in front, for an error that names it by its path.
    #[cfg(feature = "serde")]
    pub(crate) fn reason(&self) -> &str {
        self.message.split_once(": ").map_or(&*self.message, |(_, reason)| reason)
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for InvalidSetting {}

/// Returns the error from the function around it unless the condition holds.
macro_rules! ensure {
    ($valid:expr, $($message:tt)+) => {
        if !$valid {
            return Err($crate::InvalidSetting::new(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// Panics at the line of the caller, where its own caller is tracked too.
#[track_caller]
pub(crate) fn valid<T>(setting: Result<T, InvalidSetting>) -> T {
    match setting {
        Ok(valid) => valid,
        Err(invalid) => panic!("{invalid}"),
    }
}
