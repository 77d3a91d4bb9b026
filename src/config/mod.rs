//! Settings from a configuration file, in any format of serde: JSON, TOML, YAML.
//!
//! [`Config`] has a table for each of the three layers and `per_name`, which overrides it for single names. A field is
//! called as the setter of the builder, which checks it; left out, it keeps the default of that setter. [docs/CONFIG.md]
//! shows a file, and how it becomes a stack.
//!
//! [docs/CONFIG.md]: https://docs.rs/crate/tower-rampart/latest/source/docs/CONFIG.md

mod error;
mod example;
mod fields;
mod names;
mod preset;
mod presets;
mod watch;

use std::collections::BTreeMap;

use serde::Deserializer;

pub use self::error::ConfigError;
pub use self::fields::{
    AbandonedConfig, BackoffConfig, BreakerConfig, BudgetConfig, ClassifyConfig, CodeConfig, ConcurrentConfig,
    CountWindowConfig, DeadlineHeaderConfig, ExponentialConfig, FixedConfig, GrowingConfig, GrpcBudgetConfig,
    GuardConfig, HedgeConfig, HumanDuration, LinearConfig, OutageConfig, RampConfig, RatioConfig, RetryConfig,
    SlowCallsConfig, StatusConfig, TimeWindowConfig, VerdictConfig, WindowConfig,
};
use self::fields::{Section, Setting, table};
pub use self::preset::Preset;
pub use self::watch::watch;
use crate::classify::{DistrustRefusals, GrpcClassifier, HttpClassifier};
use crate::registry::partition::Keyed;
use crate::retry::{Budget, Hedge, ReplayBodies};
use crate::{CircuitBreakerLayer, ClassifyLayer, RetryLayer};

table! {
    /// The settings of all layers, as a file holds them.
    ///
    /// ```
    /// use tower_rampart::config::Config;
    ///
    /// let config: Config = toml::from_str(r#"
    ///     [retry]
    ///     attempt_timeout = "2s"
    ///
    ///     [per_name.billing.retry]
    ///     max_attempts = 5
    /// "#)?;
    /// let layers = (config.retry_layer("billing")?, config.breaker_layer("billing")?);
    /// # let _ = layers;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Default)]
    #[non_exhaustive]
    pub struct Config {
        /// What lies below all settings, for all names without a preset of their own.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub preset: Option<Preset>,
        /// What outcomes mean, for all names.
        #[serde(default)]
        pub classify: ClassifyConfig,
        /// Retries, for all names.
        #[serde(default)]
        pub retry: RetryConfig,
        /// Circuit breakers, for all names.
        #[serde(default)]
        pub breaker: BreakerConfig,
        /// What differs for single names.
        #[serde(default, deserialize_with = "names::deserialize", skip_serializing_if = "BTreeMap::is_empty")]
        pub per_name: BTreeMap<String, NameConfig>,
    }
}

table! {
    /// What differs for one name from the common part, field by field.
    #[derive(Default)]
    #[non_exhaustive]
    pub struct NameConfig {
        /// What lies below the settings of the name, and above the common part.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub preset: Option<Preset>,
        /// What outcomes mean.
        #[serde(default)]
        pub classify: ClassifyConfig,
        /// Retries.
        #[serde(default)]
        pub retry: RetryConfig,
        /// Circuit breakers.
        #[serde(default)]
        pub breaker: BreakerConfig,
    }
}

impl Config {
    /// Reads a configuration in any format of serde and [checks](Self::check) it.
    ///
    /// For JSON, call `end` on the deserializer afterwards, which rejects what follows the configuration.
    ///
    /// ```
    /// use tower_rampart::config::Config;
    ///
    /// let text = "[per_name.billing.breaker]\nfailure_rate = 1.5";
    /// let error = Config::read(toml::Deserializer::parse(text)?).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "per_name.billing.breaker.failure_rate: the rate must be over 0 and at most 1, but is 1.5; \
    ///      the nearest allowed value is 1",
    /// );
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the first field that is unknown, has a value of another type, or has one that its setter rejects.
    pub fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, ConfigError> {
        let config: Self = serde_path_to_error::deserialize(deserializer)
            .map_err(|error| ConfigError::parse(error.path(), error.inner()))?;
        config.check()?;
        Ok(config)
    }

    /// Checks the settings of all names.
    ///
    /// # Errors
    ///
    /// Returns the first field whose value its setter rejects.
    pub fn check(&self) -> Result<(), ConfigError> {
        // A name may be "default", so that the common part alone needs a configuration of its own.
        let common = Self { per_name: BTreeMap::new(), ..self.clone() };
        common.check_name("default")?;
        self.per_name.keys().try_for_each(|name| self.check_name(name))
    }

    fn check_name(&self, name: &str) -> Result<(), ConfigError> {
        self.hedged_retry(name)?;
        self.breaker_layer(name)?;
        self.classify_layer(name)?;
        self.grpc_classifier(name)?;
        Ok(())
    }

    /// Returns all settings of a name: its own, over its preset, over the common part. Without a preset of its own, the
    /// common one lies below all.
    #[must_use]
    pub fn settings(&self, name: &str) -> NameConfig {
        let common = NameConfig {
            preset: self.preset,
            classify: self.classify.clone(),
            retry: self.retry.clone(),
            breaker: self.breaker.clone(),
        };
        let own = self.per_name.get(name).cloned().unwrap_or_default();
        match (own.preset, self.preset) {
            (Some(preset), _) => own.over(&preset.settings()).over(&common),
            (None, Some(preset)) => own.over(&common).over(&preset.settings()),
            (None, None) => own.over(&common),
        }
    }

    /// Builds the retry layer of a name, for HTTP.
    ///
    /// # Errors
    ///
    /// Returns the field whose value its setter rejects. A `hedge` is an error: it makes a layer of another type, which
    /// [`hedged_retry`](Self::hedged_retry) leads to.
    pub fn retry_layer(&self, name: &str) -> Result<RetryLayer, ConfigError> {
        let (layer, hedge) = self.hedged_retry(name)?;
        match hedge {
            None => Ok(layer),
            Some(_) => Err(self.retry(name).unexpected_hedge()),
        }
    }

    /// Builds the retry layer of a name, for HTTP, and the hedge to pass to its [`hedge`](RetryLayer::hedge) after all
    /// settings that are code.
    ///
    /// # Errors
    ///
    /// Returns the field whose value its setter rejects.
    pub fn hedged_retry(&self, name: &str) -> Result<(RetryLayer, Option<Hedge>), ConfigError> {
        let layer = self.configure_retry(name, RetryLayer::new_for_http())?;
        Ok((layer, self.retry(name).hedge()?))
    }

    /// Configures a retry layer for HTTP or gRPC, for example [`RetryLayer::new_for_grpc`]. The `hedge` is left to the
    /// caller.
    ///
    /// # Errors
    ///
    /// Returns the field whose value its setter rejects.
    pub fn configure_retry<Classifier, Idempotency, OnRetry, Partition>(
        &self,
        name: &str,
        layer: RetryLayer<Classifier, ReplayBodies<Idempotency>, OnRetry, Partition>,
    ) -> Result<RetryLayer<Classifier, ReplayBodies<Idempotency>, OnRetry, Partition>, ConfigError>
    where
        Classifier: DistrustRefusals + Clone,
        Idempotency: Clone,
        OnRetry: Clone,
        Partition: Keyed + Clone,
    {
        self.retry(name).layer(layer)
    }

    /// Builds the retry budget of a name, for [`RetryLayer::budget_by`] or for several layers that share one.
    ///
    /// # Errors
    ///
    /// If its constructor rejects a value.
    pub fn budget(&self, name: &str) -> Result<Budget, ConfigError> {
        self.retry(name).budget()
    }

    /// Builds the circuit breaker's layer of a name, for HTTP.
    ///
    /// # Errors
    ///
    /// Returns the field whose value its setter rejects.
    pub fn breaker_layer(&self, name: &str) -> Result<CircuitBreakerLayer, ConfigError> {
        self.configure_breaker(name, CircuitBreakerLayer::new_for_http())
    }

    /// Configures a circuit breaker's layer, for example [`CircuitBreakerLayer::new_for_grpc`] or one for
    /// [`CircuitBreaker::builder`](crate::breaker::CircuitBreaker::builder).
    ///
    /// # Errors
    ///
    /// Returns the field whose value its setter rejects.
    pub fn configure_breaker<Classifier, Partition, SettleAt, Requests>(
        &self,
        name: &str,
        layer: CircuitBreakerLayer<Classifier, Partition, SettleAt, Requests>,
    ) -> Result<CircuitBreakerLayer<Classifier, Partition, SettleAt, Requests>, ConfigError>
    where
        Classifier: DistrustRefusals + Clone,
        Partition: Keyed + Clone,
        SettleAt: Clone,
        Requests: Clone,
    {
        self.section("breaker", name, |settings| settings.breaker).layer(layer)
    }

    /// Builds the layer that classifies HTTP responses for a name. Retry and breaker outside of it use its verdicts.
    ///
    /// # Errors
    ///
    /// If its classifier rejects a status.
    pub fn classify_layer(&self, name: &str) -> Result<ClassifyLayer, ConfigError> {
        self.http_classifier(name).map(ClassifyLayer::new)
    }

    /// Builds the HTTP classifier of a name, for stacks without a [`ClassifyLayer`].
    ///
    /// # Errors
    ///
    /// If it rejects a status.
    pub fn http_classifier(&self, name: &str) -> Result<HttpClassifier, ConfigError> {
        self.classify(name).http()
    }

    /// Builds the gRPC classifier of a name.
    ///
    /// # Errors
    ///
    /// If it rejects a code.
    pub fn grpc_classifier(&self, name: &str) -> Result<GrpcClassifier, ConfigError> {
        self.classify(name).grpc()
    }

    fn retry<'a>(&self, name: &'a str) -> Section<'a, RetryConfig> {
        self.section("retry", name, |settings| settings.retry)
    }

    fn classify<'a>(&self, name: &'a str) -> Section<'a, ClassifyConfig> {
        self.section("classify", name, |settings| settings.classify)
    }

    fn section<'a, Table>(
        &self,
        part: &'static str,
        name: &'a str,
        table: fn(NameConfig) -> Table,
    ) -> Section<'a, Table> {
        let own = self.per_name.get(name).cloned().map(table);
        Section { part, name, own, merged: table(self.settings(name)) }
    }
}
