use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tower_layer::Layer;

use super::config::{Config, SharedConfig, TimerCheck};
use super::observe::{GiveUpEvent, GiveUpLog, OnGiveUp, PartitionLabel, RetryEvent};
use super::policy::{AlwaysIdempotent, Budget, GrpcIdempotency, HttpIdempotency, Policy};
use super::replay::{CloneBodies, CloneRequests, Http, ReplayBodies};
use super::service::Retry;
use crate::backoff::Backoff;
use crate::classify::{DistrustRefusals, GrpcClassifier, HttpClassifier};
use crate::invalid_setting::{InvalidSetting, ensure, valid};

/// Retries failed calls where another attempt can help and cannot do harm.
///
/// Put it outermost, around the breaker and the client, so that every attempt passes through them. [The module](super)
/// lists its rules.
///
/// | setting | default | |
/// |---|---|---|
/// | [`name`](Self::name) | `"default"` | the name in telemetry |
/// | [`max_attempts`](Self::max_attempts) | 3 | the first attempt included |
/// | [`backoff`](Self::backoff) | 100 ms doubling up to 5 s, full jitter | the wait if the server sends no hint |
/// | [`attempt_timeout`](Self::attempt_timeout) | none | limits one attempt, from its first poll to its response |
/// | [`deadline`](Self::deadline) | none | limits all attempts and waits together |
/// | [`budget`](Self::budget) | [`Budget::ratio(0.2)`](Budget::ratio) | one retry for five calls, 10 tokens to start with |
/// | [`max_retry_after`](Self::max_retry_after) | 60 s | the longest hint that is honored |
/// | [`max_replay_bytes`](Self::max_replay_bytes) | 65,536 | HTTP: the bytes of a body that are kept for a replay |
/// | [`idempotent`](Self::idempotent) | see below | which requests may be sent again although they may have been processed |
/// | [`distrust_refusals`](Self::distrust_refusals) | no | whether a refused stream may have been processed |
/// | [`retry_circuit_open`](Self::retry_circuit_open) | no | whether a call that a breaker rejected is retried |
/// | [`on_retry`](Self::on_retry) | none | called for every retry |
/// | [`on_give_up`](Self::on_give_up) | none | called for every retry that was wanted and not made |
/// | [`partition_label`](RetryLayer::partition_label) | none | HTTP: the partition of a request in telemetry |
///
/// Over HTTP a request is idempotent if RFC 9110 defines its method so or if it has an `Idempotency-Key`; over gRPC only
/// the key counts; **with [`new`](Self::new) every request is idempotent**.
///
/// ```
/// use std::time::Duration;
/// use tower::{ServiceBuilder, service_fn};
/// use tower_rampart::RetryLayer;
/// use tower_rampart::retry::{Backoff, Budget, ReplayBody};
///
/// let service = ServiceBuilder::new()
///     .layer(
///         RetryLayer::new_for_http()
///             .max_attempts(4)
///             .backoff(Backoff::exponential(Duration::from_millis(100), Duration::from_secs(5)))
///             .attempt_timeout(Duration::from_secs(2))
///             .deadline(Duration::from_secs(15))
///             .budget(Budget::ratio(0.2)),
///     )
///     .service(service_fn(|_: http::Request<ReplayBody<String>>| async {
///         Ok::<_, std::io::Error>(http::Response::new(String::new()))
///     }));
/// # let _ = service;
/// ```
#[derive(Clone, Debug)]
pub struct RetryLayer<Classifier = HttpClassifier, Replay = ReplayBodies, OnRetry = ()> {
    shared: SharedConfig<Classifier, Replay, OnRetry>,
}

impl RetryLayer {
    /// Retries HTTP requests, with outcomes classified by [`HttpClassifier`].
    ///
    /// The inner service is called with `http::Request<ReplayBody<B>>`; no type has to be `Clone`.
    #[must_use]
    pub fn new_for_http() -> Self {
        Self::with(HttpClassifier::new(), ReplayBodies::new(Http::new(HttpIdempotency, false)))
    }
}

impl RetryLayer<GrpcClassifier, ReplayBodies<GrpcIdempotency>> {
    /// Retries gRPC requests, with outcomes classified by [`GrpcClassifier`] from the head of the response.
    ///
    /// Every gRPC method is a POST, so by default a request is sent again only if it provably was not processed or has an
    /// `Idempotency-Key`. Declare the methods that may be repeated with [`idempotent`](Self::idempotent):
    ///
    /// ```
    /// use tower_rampart::RetryLayer;
    /// use tower_rampart::retry::{GrpcIdempotency, Idempotency};
    ///
    /// const READS: [&str; 2] = ["/billing.Metrics/Pull", "/billing.Metrics/List"];
    ///
    /// let layer = RetryLayer::new_for_grpc()
    ///     .idempotent(|request| GrpcIdempotency.is_idempotent(request) || READS.contains(&request.uri.path()));
    /// # let _ = layer;
    /// ```
    ///
    /// - `UNAVAILABLE` and `DEADLINE_EXCEEDED` are retried; `RESOURCE_EXHAUSTED` only if the server sends a hint.
    /// - `grpc-retry-pushback-ms` (gRPC proposal A6) is the server's hint; a negative, unreadable or repeated one ends the
    ///   retrying.
    /// - A head without a code starts a stream and is returned at once; an error in its trailers is not retried.
    /// - `grpc-timeout` is the deadline of the whole call unless another one is earlier, and every attempt sends what remains
    ///   of it.
    #[must_use]
    pub fn new_for_grpc() -> Self {
        Self::with(GrpcClassifier::new(), ReplayBodies::new(Http::new(GrpcIdempotency, true)))
    }
}

impl<Classifier> RetryLayer<Classifier, CloneRequests> {
    /// Retries requests of any type that is `Clone`, with outcomes classified by `classifier`.
    ///
    /// **Every request counts as idempotent**: every transient outcome is retried. Where that would do harm, have the
    /// classifier return [`Terminal`](crate::classify::Class::Terminal) or
    /// [`Ambiguous`](crate::classify::Class::Ambiguous), or declare which requests may be repeated with
    /// [`idempotent`](Self::idempotent).
    ///
    /// ```
    /// use tower_rampart::RetryLayer;
    /// use tower_rampart::classify::{Verdict, classifier_fn};
    ///
    /// let layer = RetryLayer::new(classifier_fn(|outcome: Result<&Vec<u8>, _>| match outcome {
    ///     Ok(_) => Verdict::success(),
    ///     Err(error) => Verdict::of_error(error),
    /// }));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn new(classifier: Classifier) -> Self {
        Self::with(classifier, CloneRequests { idempotency: AlwaysIdempotent })
    }
}

impl<Classifier, Replay> RetryLayer<Classifier, Replay> {
    fn with(classifier: Classifier, replay: Replay) -> Self {
        let config = Config {
            name: "default".into(),
            max_attempts: NonZeroU32::MIN.saturating_add(2),
            attempt_timeout: None,
            deadline: None,
            budget: Budget::default(),
            policy: Policy {
                backoff: Backoff::default(),
                max_retry_after: Duration::from_secs(60),
                retry_circuit_open: false,
            },
        };
        let shared = SharedConfig {
            config,
            classifier,
            replay,
            on_retry: (),
            give_ups: Arc::new(GiveUpLog::new()),
            timer_check: TimerCheck::default(),
        };
        Self { shared }
    }
}

impl<Classifier, Replay, OnRetry> RetryLayer<Classifier, Replay, OnRetry> {
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
    pub fn try_name(mut self, name: &str) -> Result<Self, InvalidSetting> {
        ensure!(!name.is_empty(), "RetryLayer: the name must not be empty");
        self.shared.config.name = name.into();
        // Each name has log lines and counts of its own.
        self.shared.give_ups = Arc::new(GiveUpLog::new());
        Ok(self)
    }

    /// Sets the most attempts of a call, the first one included. With 1 nothing is retried, copied or buffered; deadline
    /// and attempt timeout still apply.
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
    pub fn try_max_attempts(mut self, attempts: u32) -> Result<Self, InvalidSetting> {
        let Some(attempts) = NonZeroU32::new(attempts) else {
            let message = "RetryLayer: max_attempts includes the first try and must be at least 1, but is 0";
            return Err(InvalidSetting::new(message.to_owned()));
        };
        self.shared.config.max_attempts = attempts;
        Ok(self)
    }

    /// Sets the wait before a retry if the server sends no hint. A plain `Duration` is a fixed wait without jitter.
    ///
    /// A hint is honored in full, plus jitter so that clients do not return together. The jitter is at most this backoff's
    /// [ceiling](Backoff::ceiling); with a fixed backoff without jitter it is at most a tenth of the hint or of the ceiling,
    /// whichever is less.
    #[must_use]
    pub fn backoff(mut self, backoff: impl Into<Backoff>) -> Self {
        self.shared.config.policy.backoff = backoff.into();
        self
    }

    /// Cuts an attempt whose response takes longer than this. The cut is a transient error
    /// ([`TimedOut`](super::TimedOut)), retried by the same rules as any other; a breaker inside counts it as a failure of
    /// the upstream.
    ///
    /// The request may have been processed, except if the attempt was still waiting in a breaker for the client to become
    /// ready: then it was not sent, and even a POST is retried. This needs every layer in between to call the breaker in
    /// its own `call`, not later in its future.
    ///
    /// The wait until the inner service itself is ready is not part of an attempt: see [`deadline`](Self::deadline).
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
    pub fn try_attempt_timeout(mut self, timeout: Duration) -> Result<Self, InvalidSetting> {
        ensure!(!timeout.is_zero(), "RetryLayer: attempt_timeout must not be zero");
        self.shared.config.attempt_timeout = Some(timeout);
        Ok(self)
    }

    /// Limits the whole call, with all its attempts and waits. A wait that would leave less time than the last answer took
    /// is not started. A [`Deadline`](super::Deadline) in the extensions of an HTTP request overrides this setting.
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
    pub fn try_deadline(mut self, time: Duration) -> Result<Self, InvalidSetting> {
        ensure!(!time.is_zero(), "RetryLayer: deadline must not be zero");
        self.shared.config.deadline = Some(time);
        Ok(self)
    }

    /// Sets the budget, which limits the share of retries. All clones of the layer and of the budget share it.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.shared.config.budget = budget;
        self
    }

    /// Allows any number of retries: [`Budget::unlimited`].
    #[must_use]
    pub fn no_budget(self) -> Self {
        self.budget(Budget::unlimited())
    }

    /// Sets the longest hint that is honored. A longer one ends the retrying, and the answer is returned at once: a retry
    /// before the time that the server asked for would be wasted.
    #[must_use]
    pub fn max_retry_after(mut self, wait: Duration) -> Self {
        self.shared.config.policy.max_retry_after = wait;
        self
    }

    /// Sets whether a call that a circuit breaker rejected is retried. By default it is not: the upstream is known to be
    /// down, and the caller can fall back at once.
    #[must_use]
    pub fn retry_circuit_open(mut self, retry: bool) -> Self {
        self.shared.config.policy.retry_circuit_open = retry;
        self
    }

    /// Replaces the classifier.
    #[must_use]
    pub fn classifier<NewClassifier>(self, classifier: NewClassifier) -> RetryLayer<NewClassifier, Replay, OnRetry> {
        let SharedConfig { config, classifier: _, replay, on_retry, give_ups, timer_check } = self.shared;
        RetryLayer { shared: SharedConfig { config, classifier, replay, on_retry, give_ups, timer_check } }
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
    pub fn distrust_refusals(mut self) -> Self
    where
        Classifier: DistrustRefusals,
    {
        self.shared.classifier = self.shared.classifier.distrust_refusals();
        self
    }

    fn map_replay<NewReplay>(
        self,
        map: impl FnOnce(Replay) -> NewReplay,
    ) -> RetryLayer<Classifier, NewReplay, OnRetry> {
        let SharedConfig { config, classifier, replay, on_retry, give_ups, timer_check } = self.shared;
        RetryLayer { shared: SharedConfig { config, classifier, replay: map(replay), on_retry, give_ups, timer_check } }
    }

    fn observed_by<Observer>(self, observer: Observer) -> RetryLayer<Classifier, Replay, (OnRetry, Observer)> {
        let SharedConfig { config, classifier, replay, on_retry, give_ups, timer_check } = self.shared;
        let on_retry = (on_retry, observer);
        RetryLayer { shared: SharedConfig { config, classifier, replay, on_retry, give_ups, timer_check } }
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
    pub fn on_retry<F>(self, on_retry: F) -> RetryLayer<Classifier, Replay, (OnRetry, F)>
    where
        F: Fn(&RetryEvent<'_>),
    {
        self.observed_by(on_retry)
    }

    /// Adds a callback that runs for every retry that was wanted and not made, for example because the attempts are used
    /// up, the budget is empty, or the request is not idempotent. Outcomes that are not worth a retry do not run it.
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
    pub fn on_give_up<F>(self, on_give_up: F) -> RetryLayer<Classifier, Replay, (OnRetry, OnGiveUp<F>)>
    where
        F: Fn(&GiveUpEvent<'_>),
    {
        self.observed_by(OnGiveUp(on_give_up))
    }
}

impl<Classifier, Idempotency, OnRetry> RetryLayer<Classifier, ReplayBodies<Idempotency>, OnRetry> {
    /// Sets which requests may be sent again although the server may have acted on them.
    ///
    /// ```
    /// use tower_rampart::RetryLayer;
    /// use tower_rampart::retry::{HttpIdempotency, Idempotency};
    ///
    /// let layer = RetryLayer::new_for_http()
    ///     .idempotent(|request| HttpIdempotency.is_idempotent(request) || request.uri.path() == "/search");
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn idempotent<Predicate: Fn(&Parts) -> bool>(
        self,
        predicate: Predicate,
    ) -> RetryLayer<Classifier, ReplayBodies<Predicate>, OnRetry> {
        self.map_replay(|ReplayBodies { max_bytes, http }| ReplayBodies {
            max_bytes,
            http: http.idempotency(predicate),
        })
    }

    /// Sets how many bytes of a body are kept for a replay. A body of exactly this size can be replayed; a larger one is
    /// sent once. With 0 no body is kept.
    #[must_use]
    pub fn max_replay_bytes(self, bytes: usize) -> Self {
        self.map_replay(|ReplayBodies { max_bytes: _, http }| ReplayBodies { max_bytes: bytes, http })
    }

    /// Sets the label of a request's partition, such as its tenant, in the events of retries and give-ups. The closure runs
    /// for those alone.
    ///
    /// ```
    /// use tower_rampart::RetryLayer;
    ///
    /// let layer = RetryLayer::new_for_http()
    ///     .partition_label(|request| Some(request.headers.get("x-tenant-id")?.to_str().ok()?.to_owned()));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn partition_label<F>(self, label: F) -> Self
    where
        F: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    {
        self.map_replay(|ReplayBodies { max_bytes, mut http }| {
            http.partition_label = Some(PartitionLabel::new(label));
            ReplayBodies { max_bytes, http }
        })
    }

    /// Clones bodies instead of wrapping them, for bodies that are `Clone`: the inner service sees the caller's own
    /// `Request<B>` and no [`ReplayBody`](super::ReplayBody).
    ///
    /// With a custom classifier this is [`new`](RetryLayer::new) for HTTP: a [`Deadline`](super::Deadline) in the request
    /// counts, attempts are numbered, responses carry a [`RetryReport`](super::RetryReport), and only idempotent requests
    /// are repeated.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body_util::Full;
    /// use tower::{Layer, service_fn};
    /// use tower_rampart::RetryLayer;
    ///
    /// let layer = RetryLayer::new_for_http().clone_bodies();
    /// let service = layer.layer(service_fn(|_: http::Request<Full<Bytes>>| async {
    ///     Ok::<_, std::io::Error>(http::Response::new(String::new()))
    /// }));
    /// # let _ = service;
    /// ```
    #[must_use]
    pub fn clone_bodies(self) -> RetryLayer<Classifier, CloneBodies<Idempotency>, OnRetry> {
        self.map_replay(|ReplayBodies { max_bytes: _, http }| CloneBodies { http })
    }
}

impl<Classifier, Idempotency, OnRetry> RetryLayer<Classifier, CloneRequests<Idempotency>, OnRetry> {
    /// Sets which requests may be sent again although the service may have acted on them; all by default.
    ///
    /// ```
    /// use tower_rampart::RetryLayer;
    /// use tower_rampart::classify::{Verdict, classifier_fn};
    ///
    /// #[derive(Clone)]
    /// enum Query { Read(String), Write(String) }
    ///
    /// let layer = RetryLayer::new(classifier_fn(|_: Result<&u64, _>| Verdict::success()))
    ///     .idempotent(|query: &Query| matches!(query, Query::Read(_)));
    /// # let _ = (layer, Query::Write(String::new()));
    /// ```
    #[must_use]
    pub fn idempotent<Req, Predicate: Fn(&Req) -> bool>(
        self,
        predicate: Predicate,
    ) -> RetryLayer<Classifier, CloneRequests<Predicate>, OnRetry> {
        self.map_replay(|CloneRequests { idempotency: _ }| CloneRequests { idempotency: predicate })
    }
}

impl<S, Classifier, Replay, OnRetry> Layer<S> for RetryLayer<Classifier, Replay, OnRetry>
where
    Classifier: Clone,
    Replay: Clone,
    OnRetry: Clone,
{
    type Service = Retry<S, Classifier, Replay, OnRetry>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, Arc::new(self.shared.clone()))
    }
}
