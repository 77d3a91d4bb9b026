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

/// Tries a failed call again, where that can help and does no harm.
///
/// Belongs outermost, around the breaker and the client: every attempt passes through them. See [the module](super) for
/// the rules it keeps.
///
/// | setting | default | |
/// |---|---|---|
/// | [`name`](Self::name) | `"default"` | what telemetry calls the layer |
/// | [`max_attempts`](Self::max_attempts) | 3 | the first try included |
/// | [`backoff`](Self::backoff) | 100 ms doubling up to 5 s, full jitter | the wait where the server gives no hint |
/// | [`attempt_timeout`](Self::attempt_timeout) | none | for one attempt, from its first poll to its response |
/// | [`deadline`](Self::deadline) | none | for all attempts and waits together |
/// | [`budget`](Self::budget) | [`Budget::ratio(0.2)`](Budget::ratio) | one retry for five calls, 10 tokens to start with |
/// | [`max_retry_after`](Self::max_retry_after) | 60 s | the longest wait that a server can ask for |
/// | [`max_replay_bytes`](Self::max_replay_bytes) | 65,536 | HTTP: how much of a body is kept for a replay |
/// | [`idempotent`](Self::idempotent) | see below | what may be sent again although it may have been processed |
/// | [`distrust_refusals`](Self::distrust_refusals) | no | whether a refused stream may have been processed |
/// | [`retry_circuit_open`](Self::retry_circuit_open) | no | whether a call that a breaker rejected is tried again |
/// | [`on_retry`](Self::on_retry) | none | called for every retry |
/// | [`on_give_up`](Self::on_give_up) | none | called for every retry that was wanted and not made |
/// | [`partition_label`](RetryLayer::partition_label) | none | HTTP: names the partition of a request in telemetry |
///
/// For HTTP the methods that RFC 9110 calls idempotent and requests with an `Idempotency-Key` are idempotent; for gRPC
/// only the latter; **with [`new`](Self::new) every request is**.
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
    /// Retries HTTP requests whose outcomes [`HttpClassifier`] judges.
    ///
    /// The inner service is called with `http::Request<ReplayBody<B>>`; nothing has to be `Clone`.
    #[must_use]
    pub fn new_for_http() -> Self {
        Self::with(HttpClassifier::new(), ReplayBodies::new(Http::new(HttpIdempotency, false)))
    }
}

impl RetryLayer<GrpcClassifier, ReplayBodies<GrpcIdempotency>> {
    /// Retries gRPC requests whose outcomes [`GrpcClassifier`] judges, by what their heads tell.
    ///
    /// Every gRPC method is a POST, so by default only what was provably not processed is sent again, and what has an
    /// `Idempotency-Key`. Say by [`idempotent`](Self::idempotent) which methods may be repeated:
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
    /// - `UNAVAILABLE` and `DEADLINE_EXCEEDED` are worth another attempt; `RESOURCE_EXHAUSTED` only if the server says when.
    /// - `grpc-retry-pushback-ms` (gRPC proposal A6) is the server's hint; one that is negative, unreadable or repeated ends
    ///   the retrying.
    /// - A head without a code is the beginning of a stream, and the caller's at once: what its trailers say is no longer
    ///   retried.
    /// - `grpc-timeout` is the deadline of the whole call, unless another one is earlier, and goes out with what remains of
    ///   it at each attempt.
    #[must_use]
    pub fn new_for_grpc() -> Self {
        Self::with(GrpcClassifier::new(), ReplayBodies::new(Http::new(GrpcIdempotency, true)))
    }
}

impl<Classifier> RetryLayer<Classifier, CloneRequests> {
    /// Retries requests of any kind that are `Clone`, with outcomes judged by a classifier of your own.
    ///
    /// **Every request counts as idempotent**: whatever the classifier calls transient is sent again. Have it say
    /// [`Terminal`](crate::classify::Class::Terminal) or [`Ambiguous`](crate::classify::Class::Ambiguous) of an outcome
    /// after which that would do harm, or tell requests apart by [`idempotent`](Self::idempotent).
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
        // Layers of different names are logged and counted apart.
        self.shared.give_ups = Arc::new(GiveUpLog::new());
        Ok(self)
    }

    /// Tries at most so many times, the first try included. With 1 nothing is retried, copied or buffered, and deadline
    /// and attempt timeout still hold.
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

    /// How long to wait before a retry when the server does not say. A plain `Duration` is a fixed wait without jitter.
    ///
    /// When the server does say, its hint is waited for in full with some jitter on top, so that clients do not return
    /// together: up to this backoff's [ceiling](Backoff::ceiling), or with a fixed backoff without jitter up to a tenth of the
    /// hint or of the ceiling, whichever is less.
    #[must_use]
    pub fn backoff(mut self, backoff: impl Into<Backoff>) -> Self {
        self.shared.config.policy.backoff = backoff.into();
        self
    }

    /// Cuts an attempt that takes longer than this until its response. The cut is an error like any other
    /// ([`TimedOut`](super::TimedOut), transient), and is retried if the rules allow. The request may have been processed,
    /// unless all that the attempt did was wait in a breaker for the client to become ready: then it was not sent, and even a
    /// POST is retried. Layers in between have to call the breaker at once, not from a future of their own.
    /// A breaker inside counts the cut as a failure of the upstream.
    ///
    /// Waiting for the inner service itself to become ready is no part of an attempt: see [`deadline`](Self::deadline).
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

    /// Ends the call when this time has passed since it began, with all its attempts and waits. A wait that would leave less
    /// time than the last answer took is not begun. A [`Deadline`](super::Deadline) in the extensions of an HTTP request overrides it.
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

    /// How many retries there may be for so many calls. Shared by all clones of the layer and of the budget.
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

    /// The longest wait that a server can ask for. A hint above it ends the retrying, and the answer is returned at once:
    /// to come back earlier than asked would help nobody.
    #[must_use]
    pub fn max_retry_after(mut self, wait: Duration) -> Self {
        self.shared.config.policy.max_retry_after = wait;
        self
    }

    /// Whether a call that a circuit breaker rejected is tried again. By default it is not: the breaker has good reason, and
    /// the caller has something better to do than to wait.
    #[must_use]
    pub fn retry_circuit_open(mut self, retry: bool) -> Self {
        self.shared.config.policy.retry_circuit_open = retry;
        self
    }

    /// Judges outcomes by another classifier.
    #[must_use]
    pub fn classifier<NewClassifier>(self, classifier: NewClassifier) -> RetryLayer<NewClassifier, Replay, OnRetry> {
        let SharedConfig { config, classifier: _, replay, on_retry, give_ups, timer_check } = self.shared;
        RetryLayer { shared: SharedConfig { config, classifier, replay, on_retry, give_ups, timer_check } }
    }

    /// Takes a request whose stream was refused for one that may have been processed: only idempotent requests are then sent
    /// again. Some proxies refuse streams that the server behind them has processed: see [`DistrustRefusals`].
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

    /// Calls this before the wait for every retry, after what was set before. The same goes to `tracing`, as a DEBUG event
    /// with the target `tower_rampart::retry`.
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

    /// Calls this for every retry that was wanted and not made: when the attempts are used up, the budget is empty, the
    /// request is not idempotent, … Not for an outcome that is not worth a retry.
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
    /// Which requests may be sent again although the server may have acted on them, by their heads.
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

    /// How many bytes of a body are kept for a replay. A body of exactly so many can be replayed; a larger one is sent
    /// once. With 0 no body is kept.
    #[must_use]
    pub fn max_replay_bytes(self, bytes: usize) -> Self {
        self.map_replay(|ReplayBodies { max_bytes: _, http }| ReplayBodies { max_bytes: bytes, http })
    }

    /// Names the partition of a request, such as its tenant, in the events of retries and give-ups. Asked only for those.
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

    /// Keeps bodies by cloning them, for bodies that are `Clone`: the inner service then sees the caller's own
    /// `Request<B>` and no [`ReplayBody`](super::ReplayBody).
    ///
    /// With a classifier of your own this is what [`new`](RetryLayer::new) does, but for HTTP requests: the
    /// [`Deadline`](super::Deadline) in a request counts, attempts are numbered, responses carry a
    /// [`RetryReport`](super::RetryReport), and only idempotent requests are repeated.
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
    /// Which requests may be sent again although the service may have acted on them. By default all.
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
