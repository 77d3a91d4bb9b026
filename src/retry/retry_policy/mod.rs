mod config;
mod retry_if;
mod settings;
mod timer_check;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use self::config::Config;
pub use self::retry_if::RetryIf;
pub(in crate::retry) use self::timer_check::TimerCheck;
use super::handle::Handle;
use super::observe::{GiveUpEvent, GiveUpLog, OnRetry, RetryEvent, Tally, trace_retry};
use super::policy::{Bucket, Decider};
use super::settings::sealed::Sealed;
use super::settings::{DEFAULT_NAME, Settings, Tuning};
use crate::backoff::Backoff;
use crate::classify::ErrorClassifier;
use crate::registry::Registry;

/// When and how often to retry: a plain value for layers and functions.
///
/// Clones share the budget, the jitter's seed and the log of give-ups, so one policy can serve all calls to an
/// upstream, through a [`RetryLayer`](crate::RetryLayer) and through [`call`](crate::retry::call) or
/// [`call_blocking`](crate::retry::call_blocking).
///
/// | setting | default | |
/// |---|---|---|
/// | [`name`](Self::name) | `"default"` | the name in telemetry |
/// | [`max_attempts`](Self::max_attempts) | 3 | the first attempt included |
/// | [`backoff`](Self::backoff) | 100 ms doubling up to 5 s, full jitter | the wait if the server sends no hint |
/// | [`attempt_timeout`](Self::attempt_timeout), [`attempt_timeout_by`](Self::attempt_timeout_by) | none | limits one attempt |
/// | [`deadline`](Self::deadline) | none | limits all attempts and waits together |
/// | [`budget`](Self::budget) | [`Budget::ratio(0.2)`](super::Budget::ratio) | one retry for five calls, 10 tokens to start with |
/// | [`max_retry_after`](Self::max_retry_after) | 60 s | the longest hint that is honored |
/// | [`clamp_retry_after`](Self::clamp_retry_after) | no | whether a longer hint is cut instead of ending the retrying |
/// | [`retry_circuit_open`](Self::retry_circuit_open) | no | whether a call that a breaker rejected is retried |
/// | [`retry_if`](Self::retry_if) | none | which errors of a type are retried |
/// | [`on_retry`](Self::on_retry) | none | called for every retry |
/// | [`on_give_up`](Self::on_give_up) | none | called for every retry that was wanted and not made |
/// | [`attempt_spans`](Self::attempt_spans) | off | opens a span for each attempt |
/// | [`seed`](Self::seed) | none | makes the jitter repeatable, for tests |
///
/// ```
/// use std::time::Duration;
/// use tower_rampart::retry::RetryPolicy;
///
/// let policy = RetryPolicy::new().name("billing").max_attempts(4).deadline(Duration::from_secs(15));
/// # let _ = policy;
/// ```
#[derive(Clone, Debug)]
pub struct RetryPolicy<Classifier = ErrorClassifier, OnRetry = ()> {
    pub(in crate::retry) config: Config,
    pub(in crate::retry) classifier: Classifier,
    /// Set together with that of the classifier, to compare settings.
    distrust_refusals: bool,
    pub(in crate::retry) on_retry: OnRetry,
    /// Shared by all clones, so that together they log one line a second.
    pub(in crate::retry) give_ups: Arc<GiveUpLog>,
    /// Shared like the log.
    pub(in crate::retry) tally: Arc<Tally>,
    pub(in crate::retry) timer_check: TimerCheck,
}

impl RetryPolicy {
    /// Judges errors by [`Verdict::of_error`](crate::classify::Verdict::of_error), which holds an error that it does
    /// not know for transient. [`retry_if`](Self::retry_if) and [`classifier`](Self::classifier) judge otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self::with(ErrorClassifier)
    }
}

impl<Classifier> RetryPolicy<Classifier> {
    pub(in crate::retry) fn with(classifier: Classifier) -> Self {
        let decider = Decider {
            backoff: Backoff::default(),
            max_retry_after: Duration::from_secs(60),
            clamp_retry_after: false,
            retry_circuit_open: false,
        };
        let config = Config::new(DEFAULT_NAME, Tuning::new(NonZeroU32::MIN.saturating_add(2), decider));
        let (give_ups, tally) = (Arc::new(GiveUpLog::new()), Arc::default());
        Self {
            config,
            classifier,
            distrust_refusals: false,
            on_retry: (),
            give_ups,
            tally,
            timer_check: TimerCheck::default(),
        }
    }
}

impl<Classifier, OnRetry: Clone> RetryPolicy<Classifier, OnRetry> {
    /// A clone that judges as another policy does.
    pub(in crate::retry) fn with_classifier_of<Other, OtherOnRetry>(
        &self,
        other: RetryPolicy<Other, OtherOnRetry>,
    ) -> RetryPolicy<Other, OnRetry> {
        let Self { config, classifier: _, distrust_refusals: _, on_retry, give_ups, tally, timer_check } = self;
        RetryPolicy {
            config: config.clone(),
            classifier: other.classifier,
            distrust_refusals: other.distrust_refusals,
            on_retry: on_retry.clone(),
            give_ups: Arc::clone(give_ups),
            tally: Arc::clone(tally),
            timer_check: timer_check.clone(),
        }
    }
}

impl<Classifier, OnRetry> RetryPolicy<Classifier, OnRetry> {
    /// Returns a handle that reads what all calls with this policy have counted and the balance of its budget, and that
    /// [changes its settings](Handle::reconfigure). Take it when the policy is set up: it does not change a policy that
    /// has got another setting since, count the calls of another name, or read another budget.
    ///
    /// ```
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().name("billing");
    /// let retries = policy.handle();
    /// assert_eq!((retries.retries(), retries.balance()), (0, Some(10.0)));
    /// ```
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle_with(self.settings(), None)
    }

    pub(in crate::retry) fn handle_with<K>(
        &self,
        settings: Settings,
        by_key: Option<Arc<Registry<K, Bucket>>>,
    ) -> Handle<K> {
        Handle::new(settings, Arc::clone(&self.config.eras), Arc::clone(&self.tally), by_key)
    }
}

impl<Classifier, OnRetry> Sealed for RetryPolicy<Classifier, OnRetry> {
    fn settings(&self) -> Settings {
        let Config { name, budget, seed, first, .. } = &self.config;
        Settings {
            name: Arc::clone(name),
            seed: *seed,
            distrust_refusals: self.distrust_refusals,
            tuning: first.clone(),
            budget: budget.clone(),
            of_layer: Default::default(),
        }
    }
}

impl<Classifier, OnRetryT: OnRetry> RetryPolicy<Classifier, OnRetryT> {
    pub(in crate::retry) fn report_retry(&self, event: &RetryEvent<'_>) {
        self.tally.count_retry(event);
        trace_retry(&self.config.name, event);
        self.on_retry.on_retry(event);
    }

    pub(in crate::retry) fn report_give_up(&self, event: &GiveUpEvent<'_>) {
        self.give_ups.log(&self.config.name, event);
        self.on_retry.on_give_up(event);
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}
