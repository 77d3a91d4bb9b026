//! The settings of a policy.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::RetryPolicy;
use super::config::Config;
use crate::backoff::Backoff;
use crate::call::attempt::Attempt;
use crate::classify::DistrustRefusals;
use crate::retry::observe::{AttemptSpans, GiveUpEvent, GiveUpLog, OnGiveUp, RetryEvent};
use crate::retry::policy::{AttemptTimeout, Budget};
use crate::settings::invalid_setting::{InvalidSetting, ensure, valid};

impl<Classifier, OnRetry> RetryPolicy<Classifier, OnRetry> {
    /// Sets the name reported in telemetry; `"default"` if not set.
    ///
    /// # Panics
    ///
    /// If the name is empty.
    #[must_use]
    #[track_caller]
    pub fn name(self, name: &str) -> Self {
        valid(self.try_name(name))
    }

    /// [`name`](Self::name), with an error in place of a panic.
    pub fn try_name(self, name: &str) -> Result<Self, InvalidSetting> {
        ensure!(!name.is_empty(), "retry: the name must not be empty");
        let mut policy = self.changed(|config| config.name = name.into());
        // Each name has log lines and counts of its own.
        (policy.give_ups, policy.tally) = (Arc::new(GiveUpLog::new()), Arc::default());
        Ok(policy)
    }

    /// Sets the most attempts of a call, the first one included; 3 if not set. With 1 nothing is retried, copied or
    /// buffered; deadline and attempt timeout still apply.
    ///
    /// ```
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().max_attempts(5);
    /// # let _ = policy;
    /// ```
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn max_attempts(self, attempts: u32) -> Self {
        valid(self.try_max_attempts(attempts))
    }

    /// [`max_attempts`](Self::max_attempts), with an error in place of a panic.
    pub fn try_max_attempts(self, attempts: u32) -> Result<Self, InvalidSetting> {
        let Some(attempts) = NonZeroU32::new(attempts) else {
            let message = "retry: max_attempts includes the first try and must be at least 1, but is 0";
            return Err(InvalidSetting::new(message.to_owned()));
        };
        Ok(self.changed(|config| config.first.limits.max_attempts = attempts))
    }

    /// Sets the wait before a retry if the server sends no hint. A plain `Duration` is a fixed wait without jitter.
    /// Default: 100 ms, doubling up to 5 s, with full jitter.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::{Backoff, RetryPolicy};
    ///
    /// let backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(2));
    /// let policy = RetryPolicy::new().backoff(backoff);
    /// # let _ = policy;
    /// ```
    ///
    /// A hint is honored in full, plus jitter so that clients do not return together. The jitter is at most this
    /// backoff's [ceiling](Backoff::ceiling); with a fixed or custom backoff without jitter it is at most a tenth of
    /// the hint or of the ceiling, whichever is less.
    #[must_use]
    pub fn backoff(self, backoff: impl Into<Backoff>) -> Self {
        self.changed(|config| config.first.decider.backoff = backoff.into())
    }

    /// Cuts an attempt whose response takes longer than this. The cut is a transient error
    /// ([`TimedOut`](crate::retry::TimedOut)), retried by the same rules as any other; a breaker inside counts it as a
    /// failure of the upstream.
    ///
    /// The request may have been processed, except if an HTTP attempt was still waiting in a breaker for the client to
    /// become ready: then it was not sent, and even a POST is retried. This needs every layer in between to call the
    /// breaker in its own `call`, not later in its future, and with the request itself, not a copy. With
    /// [`clone_bodies`](crate::RetryLayer::clone_bodies) a cut always counts as maybe processed.
    ///
    /// The wait until the inner service itself is ready is not part of an attempt: see [`deadline`](Self::deadline).
    ///
    /// Default: none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().attempt_timeout(Duration::from_secs(2));
    /// # let _ = policy;
    /// ```
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[must_use]
    #[track_caller]
    pub fn attempt_timeout(self, timeout: Duration) -> Self {
        valid(self.try_attempt_timeout(timeout))
    }

    /// [`attempt_timeout`](Self::attempt_timeout), with an error in place of a panic.
    pub fn try_attempt_timeout(self, timeout: Duration) -> Result<Self, InvalidSetting> {
        ensure!(!timeout.is_zero(), "retry: attempt_timeout must not be zero");
        Ok(self.changed(|config| config.first.set_attempt_timeout(AttemptTimeout::Fixed(timeout))))
    }

    /// Sets an [`attempt_timeout`](Self::attempt_timeout) for each attempt. The closure gets the attempt and the time
    /// until the deadline of the call, [`Duration::MAX`] without a deadline. So the last attempt can have all that is
    /// left:
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new()
    ///     .deadline(Duration::from_secs(10))
    ///     .attempt_timeout_by(|attempt, remaining| if attempt.number() < 3 { Duration::from_secs(2) } else { remaining });
    /// # let _ = policy;
    /// ```
    ///
    /// An attempt gets at least a millisecond. A limit that is not before the deadline leaves the cut to the deadline.
    ///
    /// The closure runs once for each send, before it. If it panics, the call ends and nothing is sent.
    #[must_use]
    pub fn attempt_timeout_by<F>(self, timeout: F) -> Self
    where
        F: Fn(Attempt, Duration) -> Duration + Send + Sync + 'static,
    {
        self.changed(|config| config.first.set_attempt_timeout(AttemptTimeout::By(Arc::new(timeout))))
    }

    /// Limits the whole call, with all its attempts and waits. A wait that would leave less time than the last answer
    /// took is not started. A [`Deadline`](crate::retry::Deadline) in the extensions of an HTTP request overrides this
    /// setting. Default: none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().deadline(Duration::from_secs(15));
    /// # let _ = policy;
    /// ```
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[must_use]
    #[track_caller]
    pub fn deadline(self, time: Duration) -> Self {
        valid(self.try_deadline(time))
    }

    /// [`deadline`](Self::deadline), with an error in place of a panic.
    pub fn try_deadline(self, time: Duration) -> Result<Self, InvalidSetting> {
        ensure!(!time.is_zero(), "retry: deadline must not be zero");
        Ok(self.changed(|config| config.first.deadline = Some(time)))
    }

    /// Sets the budget, which limits the share of retries. All clones of the policy and of the budget share it.
    /// Default: [`Budget::ratio(0.2)`](Budget::ratio), one for each policy that is made anew.
    ///
    /// ```
    /// use tower_rampart::retry::{Budget, RetryPolicy};
    ///
    /// let budget = Budget::ratio(0.1);
    /// let (reads, writes) = (RetryPolicy::new().budget(budget.clone()), RetryPolicy::new().budget(budget));
    /// # let _ = (reads, writes);
    /// ```
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        self.changed(|config| config.budget = budget)
    }

    /// Allows any number of retries: [`Budget::unlimited`].
    #[must_use]
    pub fn no_budget(self) -> Self {
        self.budget(Budget::unlimited())
    }

    /// Sets the longest hint that is honored. A longer one ends the retrying, and the answer is returned at once: a
    /// retry before the time that the server asked for would be wasted. [`clamp_retry_after`](Self::clamp_retry_after)
    /// retries nevertheless. Default: 60 seconds.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().max_retry_after(Duration::from_secs(10));
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn max_retry_after(self, wait: Duration) -> Self {
        self.changed(|config| config.first.decider.max_retry_after = wait)
    }

    /// Sets whether a hint longer than [`max_retry_after`](Self::max_retry_after) is cut to it, plus the jitter of
    /// every hint, instead of ending the retrying. By default it is not. Set it for servers that ask for far more time
    /// than they need.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// // `Retry-After: 3600` waits ten seconds.
    /// let policy = RetryPolicy::new().max_retry_after(Duration::from_secs(10)).clamp_retry_after(true);
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn clamp_retry_after(self, clamp: bool) -> Self {
        self.changed(|config| config.first.decider.clamp_retry_after = clamp)
    }

    /// Sets whether a call that a circuit breaker rejected is retried. By default it is not: the upstream is known to
    /// be down, and the caller can fall back at once.
    ///
    /// ```
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().retry_circuit_open(true);
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn retry_circuit_open(self, retry: bool) -> Self {
        self.changed(|config| config.first.decider.retry_circuit_open = retry)
    }

    /// Makes the jitter of the waits repeatable, for tests and simulations. All layers and functions with this policy
    /// or its clones draw from one stream: if their calls come in the same order, they wait as long. Default: jitter is
    /// random.
    ///
    /// Processes with the same seed retry at the same moments, which is what jitter must prevent, so set none in
    /// production. The same seed may give other waits with another version of this crate or of Rust.
    ///
    /// ```
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().seed(7);
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.changed(|config| config.set_seed(seed))
    }

    /// Replaces the classifier, and with it every [`retry_if`](Self::retry_if). Default: errors are judged by
    /// [`Verdict::of_error`](crate::classify::Verdict::of_error), and every `Ok` is a success.
    ///
    /// ```
    /// use tower_rampart::classify::{Verdict, classifier_fn};
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// // A result that is empty is retried, too.
    /// let policy = RetryPolicy::new().classifier(classifier_fn(|outcome: Result<&Vec<u8>, _>| match outcome {
    ///     Ok(rows) if rows.is_empty() => Verdict::transient(),
    ///     Ok(_) => Verdict::success(),
    ///     Err(error) => Verdict::of_error(error),
    /// }));
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn classifier<NewClassifier>(self, classifier: NewClassifier) -> RetryPolicy<NewClassifier, OnRetry> {
        let mut policy = self.map_classifier(|_| classifier);
        policy.distrust_refusals = false;
        policy
    }

    /// Treats a request whose stream was refused as maybe processed, so that only idempotent ones are sent again: see
    /// [`RetryLayer::distrust_refusals`](crate::RetryLayer::distrust_refusals).
    #[must_use]
    pub fn distrust_refusals(mut self) -> Self
    where
        Classifier: DistrustRefusals,
    {
        self.classifier = self.classifier.distrust_refusals();
        self.distrust_refusals = true;
        self
    }

    /// Adds a callback that runs before the wait of every retry. Callbacks run in the order in which they were added.
    /// `tracing` receives the same as a DEBUG event with the target `tower_rampart::retry`.
    ///
    /// ```
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().on_retry(|event| {
    ///     println!("{:?}: attempt {} failed: {}", event.host(), event.attempt(), event.verdict().reason());
    /// });
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn on_retry<F>(self, on_retry: F) -> RetryPolicy<Classifier, (OnRetry, F)>
    where
        F: Fn(&RetryEvent<'_>),
    {
        self.observed_by(on_retry)
    }

    /// Adds a callback that runs for every retry that was wanted and not made, for example because the attempts are
    /// used up, the budget is empty, or the request is not idempotent. Outcomes that are not worth a retry do not run
    /// it.
    ///
    /// ```
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().on_give_up(|event| {
    ///     println!("{:?}: gave up ({}): {}", event.host(), event.kind(), event.verdict().reason());
    /// });
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn on_give_up<F>(self, on_give_up: F) -> RetryPolicy<Classifier, (OnRetry, OnGiveUp<F>)>
    where
        F: Fn(&GiveUpEvent<'_>),
    {
        self.observed_by(OnGiveUp(on_give_up))
    }

    /// Opens a span for each attempt: see [`RetryLayer::attempt_spans`](crate::RetryLayer::attempt_spans).
    #[must_use]
    pub fn attempt_spans(self) -> RetryPolicy<Classifier, (OnRetry, AttemptSpans)> {
        self.observed_by(AttemptSpans(()))
    }

    pub(super) fn map_classifier<NewClassifier>(
        self,
        map: impl FnOnce(Classifier) -> NewClassifier,
    ) -> RetryPolicy<NewClassifier, OnRetry> {
        let Self { config, classifier, distrust_refusals, on_retry, give_ups, tally, timer_check } = self;
        let classifier = map(classifier);
        RetryPolicy { config, classifier, distrust_refusals, on_retry, give_ups, tally, timer_check }
    }

    fn observed_by<Observer>(self, observer: Observer) -> RetryPolicy<Classifier, (OnRetry, Observer)> {
        let Self { config, classifier, distrust_refusals, on_retry, give_ups, tally, timer_check } = self;
        let on_retry = (on_retry, observer);
        RetryPolicy { config, classifier, distrust_refusals, on_retry, give_ups, tally, timer_check }
    }

    /// Makes another policy, which the handles of this one do not reach.
    fn changed(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.config);
        self.config.eras = Arc::default();
        self
    }
}
