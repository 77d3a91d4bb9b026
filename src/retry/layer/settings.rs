//! The settings of the layer's [policy](RetryPolicy), one by one.

use std::time::Duration;

use super::RetryLayer;
use crate::backoff::Backoff;
use crate::call::attempt::Attempt;
use crate::classify::DistrustRefusals;
use crate::registry::partition::Keyed;
use crate::retry::config::SharedConfig;
use crate::retry::observe::{AttemptSpans, GiveUpEvent, OnGiveUp, RetryEvent};
use crate::retry::policy::Budget;
use crate::retry::retry_policy::RetryPolicy;
use crate::settings::invalid_setting::InvalidSetting;

/// Defines settings that change the policy of the layer. One with a `try_` form panics where it is written.
macro_rules! settings {
    ($($(#[$docs:meta])* $name:ident $(or $try_name:ident)? ($setting:ident: $type:ty);)+) => {$(
        $(#[$docs])*
        #[must_use]
        #[track_caller]
        pub fn $name(mut self, $setting: $type) -> Self {
            self.shared.policy = self.shared.policy.$name($setting);
            self
        }

        $(
            #[doc = concat!("[`", stringify!($name), "`](Self::", stringify!($name), "), with an error in place of a panic.")]
            pub fn $try_name(mut self, $setting: $type) -> Result<Self, InvalidSetting> {
                self.shared.policy = self.shared.policy.$try_name($setting)?;
                Ok(self)
            }
        )?
    )+};
}

impl<Classifier, Replay, OnRetry, Partition: Keyed> RetryLayer<Classifier, Replay, OnRetry, Partition> {
    /// Takes the settings and callbacks of a policy, which other layers and [functions](crate::retry::call) may share,
    /// in place of all that were made before. The layer keeps its own classifier, because it judges responses: of the
    /// policy's, [`retry_if`](RetryPolicy::retry_if) included, nothing counts here. A layer with
    /// [`budget_by`](RetryLayer::budget_by) also keeps its budgets; [`budget`](Self::budget) changes them.
    ///
    /// A [`Handle`](crate::retry::Handle) of the policy or of the layer [changes](crate::retry::Handle::reconfigure) both.
    /// That of a layer that keeps its budgets changes this alone.
    ///
    /// ```
    /// use tower_rampart::RetryLayer;
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().name("billing").max_attempts(4);
    /// let layer = RetryLayer::new_for_http().policy(&policy);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn policy<OtherClassifier, NewOnRetry: Clone>(
        self,
        policy: &RetryPolicy<OtherClassifier, NewOnRetry>,
    ) -> RetryLayer<Classifier, Replay, NewOnRetry, Partition> {
        self.map_policy(|own| {
            let budget = Partition::is_partitioned().then(|| own.config.budget.clone());
            let policy = policy.with_classifier_of(own);
            match budget {
                Some(budget) => policy.budget(budget),
                None => policy,
            }
        })
    }

    settings! {
        /// Sets the name reported in telemetry; `"default"` if not set. See [`RetryPolicy::name`].
        ///
        /// # Panics
        ///
        /// If the name is empty.
        name or try_name(name: &str);

        /// Sets the most attempts of a call, the first one included. See [`RetryPolicy::max_attempts`].
        ///
        /// # Panics
        ///
        /// If it is 0.
        max_attempts or try_max_attempts(attempts: u32);

        /// Sets the wait before a retry if the server sends no hint. A plain `Duration` is a fixed wait without jitter.
        /// See [`RetryPolicy::backoff`].
        backoff(backoff: impl Into<Backoff>);

        /// Cuts an attempt whose response takes longer than this. See [`RetryPolicy::attempt_timeout`].
        ///
        /// # Panics
        ///
        /// If it is zero.
        attempt_timeout or try_attempt_timeout(timeout: Duration);

        /// Sets an [`attempt_timeout`](Self::attempt_timeout) for each attempt, from the attempt and the time until the
        /// deadline. See [`RetryPolicy::attempt_timeout_by`].
        attempt_timeout_by(timeout: impl Fn(Attempt, Duration) -> Duration + Send + Sync + 'static);

        /// Limits the whole call, with all its attempts and waits. A [`Deadline`](crate::retry::Deadline) in the
        /// extensions of an HTTP request overrides this setting. See [`RetryPolicy::deadline`].
        ///
        /// # Panics
        ///
        /// If it is zero.
        deadline or try_deadline(time: Duration);

        /// Sets the longest hint that is honored. See [`RetryPolicy::max_retry_after`].
        max_retry_after(wait: Duration);

        /// Sets whether a longer hint is cut instead of ending the retrying. See [`RetryPolicy::clamp_retry_after`].
        clamp_retry_after(clamp: bool);

        /// Sets whether a call that a circuit breaker rejected is retried. By default it is not. See
        /// [`RetryPolicy::retry_circuit_open`].
        retry_circuit_open(retry: bool);

        /// Makes the jitter of the waits repeatable, for tests and simulations. See [`RetryPolicy::seed`].
        seed(seed: u64);
    }

    /// Sets the budget, which limits the share of retries. All clones of the layer and of the budget share it. After
    /// [`budget_by`](RetryLayer::budget_by), each key gets one like it. See [`RetryPolicy::budget`].
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        self.map_policy(|policy| policy.budget(budget)).with_new_budgets()
    }

    /// Allows any number of retries: [`Budget::unlimited`].
    #[must_use]
    pub fn no_budget(self) -> Self {
        self.budget(Budget::unlimited())
    }

    /// Replaces the classifier.
    #[must_use]
    pub fn classifier<NewClassifier>(
        self,
        classifier: NewClassifier,
    ) -> RetryLayer<NewClassifier, Replay, OnRetry, Partition> {
        self.map_policy(|policy| policy.classifier(classifier))
    }

    /// Treats a request whose stream was refused as maybe processed, so that only idempotent ones are sent again. Some
    /// proxies refuse streams that their backend has processed: see [`DistrustRefusals`].
    ///
    /// ```
    /// use tower_rampart::RetryLayer;
    ///
    /// let layer = RetryLayer::new_for_http().distrust_refusals();
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn distrust_refusals(self) -> Self
    where
        Classifier: DistrustRefusals,
    {
        self.map_policy(RetryPolicy::distrust_refusals)
    }

    /// Adds a callback that runs before the wait of every retry. Callbacks run in the order in which they were added.
    /// `tracing` receives the same as a DEBUG event with the target `tower_rampart::retry`.
    ///
    /// ```
    /// use tower_rampart::RetryLayer;
    ///
    /// let layer = RetryLayer::new_for_http().on_retry(|event| {
    ///     println!("{:?}: attempt {} failed: {}", event.host(), event.attempt(), event.verdict().reason());
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn on_retry<F>(self, on_retry: F) -> RetryLayer<Classifier, Replay, (OnRetry, F), Partition>
    where
        F: Fn(&RetryEvent<'_>),
    {
        self.map_policy(|policy| policy.on_retry(on_retry))
    }

    /// Adds a callback that runs for every retry that was wanted and not made, for example because the attempts are
    /// used up, the budget is empty, or the request is not idempotent. Outcomes that are not worth a retry do not run
    /// it.
    ///
    /// ```
    /// use tower_rampart::RetryLayer;
    ///
    /// let layer = RetryLayer::new_for_http().on_give_up(|event| {
    ///     println!("{:?}: gave up ({}): {}", event.host(), event.kind(), event.verdict().reason());
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn on_give_up<F>(self, on_give_up: F) -> RetryLayer<Classifier, Replay, (OnRetry, OnGiveUp<F>), Partition>
    where
        F: Fn(&GiveUpEvent<'_>),
    {
        self.map_policy(|policy| policy.on_give_up(on_give_up))
    }

    /// Opens a `tracing` span for each attempt, at the level INFO, within the span of the caller. Spans and events of the
    /// layers inside and of the client lie in it, so that a trace shows which of them belong to which attempt.
    ///
    /// The span `rampart.retry.attempt` has the target `tower_rampart::retry` and these fields, of which those that do
    /// not apply are missing:
    ///
    /// | field | value |
    /// |---|---|
    /// | `name` | that of the layer |
    /// | `attempt` | the number of the attempt |
    /// | `hedge` | true for a [hedge](Self::hedge), whose span also follows from that of the slow attempt |
    /// | `reason` | why it is made: the reason of the failure before, or `slow` for a hedge |
    /// | `wait_ms` | the wait before it |
    /// | `method`, `host`, `partition` | as in the events; never a path, a query or another header |
    /// | `http.request.resend_count` | how often the HTTP request was sent before |
    /// | `outcome` | `success`, `failure`, `rejected` by an open circuit, or `dropped` because the caller left or the other attempt of a hedged call was faster |
    /// | `error.type`, `code` | the reason of the failure, and its status or code |
    /// | `otel.status_code` | `ERROR`, for `tracing-opentelemetry` |
    /// | `breaker.name`, `breaker.partition` | the breaker inside that rejected the attempt or counted its failure |
    ///
    /// Transparent retries have a span of their own. Without this setting a call looks for no span.
    ///
    /// ```
    /// use tower_rampart::RetryLayer;
    ///
    /// let layer = RetryLayer::new_for_http().name("billing").attempt_spans();
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn attempt_spans(self) -> RetryLayer<Classifier, Replay, (OnRetry, AttemptSpans), Partition> {
        self.map_policy(RetryPolicy::attempt_spans)
    }

    fn map_policy<NewClassifier, NewOnRetry>(
        self,
        map: impl FnOnce(RetryPolicy<Classifier, OnRetry>) -> RetryPolicy<NewClassifier, NewOnRetry>,
    ) -> RetryLayer<NewClassifier, Replay, NewOnRetry, Partition> {
        let SharedConfig { policy, replay, budgets, pace } = self.shared;
        RetryLayer { shared: SharedConfig { policy: map(policy), replay, budgets, pace } }
    }

    /// The budgets of keys that there are keep the settings of before.
    fn with_new_budgets(mut self) -> Self {
        self.shared.budgets = self.shared.budgets.renewed();
        self
    }
}
