mod budget_by;
mod handle;
mod hedge;
mod http;
mod replay;
mod settings;

use std::sync::Arc;

use tower_layer::Layer;

pub use self::hedge::HedgedRetryLayer;
use super::budgets::Budgets;
use super::config::SharedConfig;
use super::hedge::Pace;
use super::policy::{AlwaysIdempotent, GrpcIdempotency, HttpIdempotency};
use super::replay::{CloneRequests, Http, ReplayBodies};
use super::retry_policy::RetryPolicy;
use super::service::Retry;
use crate::classify::{GrpcClassifier, HttpClassifier};
use crate::registry::partition::{Keyed, Unpartitioned};

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
/// | [`attempt_timeout`](Self::attempt_timeout), [`attempt_timeout_by`](Self::attempt_timeout_by) | none | limits one attempt, from its first poll to its response |
/// | [`deadline`](Self::deadline) | none | limits all attempts and waits together |
/// | [`deadline_header`](RetryLayer::deadline_header) | none | HTTP: sends how long the caller still waits |
/// | [`guard`](RetryLayer::guard) | none | HTTP: keeps tiers from multiplying each other's retries |
/// | [`budget`](Self::budget) | [`Budget::ratio(0.2)`](crate::retry::Budget::ratio) | one retry for five calls, 10 tokens to start with |
/// | [`budget_by`](RetryLayer::budget_by) | no | one budget for each tenant, host or other key |
/// | [`max_partitions`](Self::max_partitions) | 65,536 | how many keys can have a budget of their own |
/// | [`max_retry_after`](Self::max_retry_after) | 60 s | the longest hint that is honored |
/// | [`clamp_retry_after`](Self::clamp_retry_after) | no | whether a longer hint is cut to that instead of ending the retrying |
/// | [`max_replay_bytes`](Self::max_replay_bytes) | 65,536 | HTTP: the bytes of a body that are kept for a replay |
/// | [`idempotent`](Self::idempotent) | see below | which requests may be sent again although they may have been processed |
/// | [`distrust_refusals`](Self::distrust_refusals) | no | whether a refused stream may have been processed |
/// | [`retry_circuit_open`](Self::retry_circuit_open) | no | whether a call that a breaker rejected is retried |
/// | [`on_retry`](Self::on_retry) | none | called for every retry |
/// | [`on_give_up`](Self::on_give_up) | none | called for every retry that was wanted and not made |
/// | [`hedge`](Self::hedge) | none | a second attempt beside one that is slow |
/// | [`attempt_spans`](Self::attempt_spans) | off | opens a span for each attempt |
/// | [`seed`](Self::seed) | none | makes the jitter repeatable, for tests |
/// | [`partition_label`](RetryLayer::partition_label) | none | HTTP: the partition of a request in telemetry |
///
/// Over HTTP a request is idempotent if RFC 9110 defines its method so or if it has an `Idempotency-Key`; over gRPC
/// only the key counts; **with [`new`](Self::new) every request is idempotent**.
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
pub struct RetryLayer<
    Classifier = HttpClassifier,
    Replay = ReplayBodies,
    OnRetry = (),
    Partition: Keyed = Unpartitioned,
> {
    shared: SharedConfig<Classifier, Replay, OnRetry, Partition>,
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
    /// Every gRPC method is a POST, so by default a request is sent again only if it provably was not processed or has
    /// an `Idempotency-Key`. Declare the methods that may be repeated with [`idempotent`](Self::idempotent):
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
    /// - `grpc-retry-pushback-ms` (gRPC proposal A6) is the server's hint; a negative, unreadable or repeated one ends
    ///   the retrying.
    /// - A head without a code starts a stream and is returned at once; an error in its trailers is not retried.
    /// - `grpc-timeout` is the deadline of the whole call unless another one is earlier, and every attempt sends what
    ///   remains of it.
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
        let policy = RetryPolicy::with(classifier);
        Self { shared: SharedConfig { policy, replay, budgets: Budgets::one(), pace: Pace::Never } }
    }
}

impl<S, Classifier, Replay, OnRetry, Partition> Layer<S> for RetryLayer<Classifier, Replay, OnRetry, Partition>
where
    Classifier: Clone,
    Replay: Clone,
    OnRetry: Clone,
    Partition: Keyed + Clone,
{
    type Service = Retry<S, Classifier, Replay, OnRetry, Partition>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, Arc::new(self.shared.clone()))
    }
}
