use serde::{Deserialize, Serialize};

/// Settings for a common kind of upstream, to begin with: a file sets `preset = "batch"`, and its other fields override
/// what that sets. [docs/DEFAULTS.md] has the storms that decide the values.
///
/// ```
/// use tower_rampart::config::{Config, Preset};
///
/// let retry = Config::from(Preset::Batch).retry_layer("nightly-report")?;
/// # let _ = retry;
/// # Ok::<(), tower_rampart::config::ConfigError>(())
/// ```
///
/// [docs/DEFAULTS.md]: https://docs.rs/crate/tower-rampart/latest/source/docs/DEFAULTS.md#presets
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Preset {
    /// A service nearby that answers within milliseconds: one retry, and all is over within a second.
    FastInternal,
    /// An API of another company: patient with slow answers, and quiet while it is down or asks to wait.
    ThirdPartyApi,
    /// Work whose end no one waits for: a call is retried for up to an hour, and an open circuit is waited for.
    Batch,
}
