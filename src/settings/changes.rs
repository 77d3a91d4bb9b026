use std::fmt;

use crate::settings::invalid_setting::{InvalidSetting, ensure};

/// How many different settings there can be, the first ones included. A bound, because calls may still read them.
const MAX_SETTINGS: usize = 1_000;

/// The settings that a reconfiguration [of breakers](crate::breaker::Handle::reconfigure) or [of
/// retries](crate::retry::Handle::reconfigure) has changed, by the names of their setters.
///
/// ```
/// use tower_rampart::CircuitBreakerLayer;
/// use tower_rampart::breaker::CircuitBreaker;
///
/// let breakers = CircuitBreakerLayer::new_for_http().name("billing").handle();
/// let changes = breakers.reconfigure(&CircuitBreaker::builder().failure_rate(0.5).minimum_calls(10))?;
/// assert_eq!(changes.to_string(), "minimum_calls, failure_rate");
/// # Ok::<(), tower_rampart::InvalidSetting>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(Vec<&'static str>);

impl Changes {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// The changes among these settings, each of which has a name, and whether it is the same as before.
    pub(crate) fn of(settings: impl IntoIterator<Item = (&'static str, bool)>) -> Self {
        Self(settings.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect())
    }

    /// Whether all settings are as before.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the settings that differ.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        self.0.iter().copied()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "" })?;
        f.write_str(&self.0.join(", "))
    }
}

/// Returns an error if there have been so many different settings that no others can be added.
pub(crate) fn ensure_room(settings: usize) -> Result<(), InvalidSetting> {
    ensure!(settings < MAX_SETTINGS, "reconfigure: there were {MAX_SETTINGS} different settings before");
    Ok(())
}
