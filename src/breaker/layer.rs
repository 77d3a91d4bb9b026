mod reconfigure;
mod settings;
mod try_settings;

use std::fmt;
use std::sync::{Arc, OnceLock};

use tower_layer::Layer;

use super::config::Config;
use super::partition::{Keyed, NestedIn, Unpartitioned};
use super::requests::{AnyRequests, HttpRequests};
use super::service::CircuitBreakerService;
use super::{CircuitBreaker, Handle};
use crate::classify::{DistrustRefusals, GrpcClassifier, HeadOnly, HttpClassifier, WholeBody};
use crate::settings::invalid_setting::valid;

/// Stops calling an upstream that fails, and probes whether it has recovered.
///
/// Belongs inside the retry layer, so that the breaker counts every attempt, and outside the classify layer. See
/// [the module](super) for its rules.
///
/// | setting | default |
/// |---|---|
/// | [`name`](Self::name) | `"default"` |
/// | [`window`](Self::window) | the last 10 seconds, or 60 with [`nested_in`](Self::nested_in), in 10 buckets |
/// | [`failure_rate`](Self::failure_rate) | 0.9 |
/// | [`minimum_calls`](Self::minimum_calls) | 20, or the whole count window if that is smaller |
/// | [`outage`](Self::outage) | 10 failures in a row that last 2 seconds |
/// | [`slow_calls`](Self::slow_calls) | not watched |
/// | [`consecutive_failures`](Self::consecutive_failures) | not watched |
/// | [`open_for`](Self::open_for) | between half a second and a second, then up to 2 seconds |
/// | [`honor_retry_after`](Self::honor_retry_after) | no |
/// | [`half_open_max_calls`](Self::half_open_max_calls) | 3 probes at once |
/// | [`success_threshold`](Self::success_threshold) | 1 success closes it |
/// | [`probe_lease`](Self::probe_lease) | 30 seconds |
/// | [`ramp`](Self::ramp) | none |
/// | [`abandoned`](Self::abandoned) | a failure at a time limit, or after the limit of the slow calls if there is one |
/// | [`mode`](Self::mode) | automatic |
/// | [`partition_by`](Self::partition_by) | one breaker for all |
/// | [`nested_in`](Self::nested_in) | partitions do not nest |
/// | [`max_partitions`](Self::max_partitions) | 65,536 |
/// | [`redact_labels`](Self::redact_labels) | no |
/// | [`flight_recorder`](Self::flight_recorder) | none |
/// | [`seed`](Self::seed) | none: jitter and hashes are random |
/// | [`judge_body`](Self::judge_body) | no: the head of a response decides |
///
/// A setting that makes no sense panics at the line that sets it. Each has a form that begins with `try_` and returns
/// [`InvalidSetting`](super::InvalidSetting) in place of the panic, for values that come from outside.
///
/// # State
///
/// The breakers live in the layer: every service made by it or a clone of it shares them. They are created with the
/// first [`handle`](Self::handle), [`breaker`](Self::breaker) or service; a setting changed after that makes a layer
/// with breakers of its own, and leaves the earlier ones unchanged. [`Handle::reconfigure`] changes those.
///
/// ```
/// use std::time::Duration;
/// use tower::{ServiceBuilder, service_fn};
/// use tower_rampart::CircuitBreakerLayer;
/// use tower_rampart::breaker::{Window, partition};
///
/// let layer = CircuitBreakerLayer::new_for_http()
///     .name("billing-api")
///     .partition_by(partition::header("x-tenant-id"))
///     .window(Window::time(Duration::from_secs(60)))
///     .failure_rate(0.5)
///     .minimum_calls(10)
///     .open_for(Duration::from_secs(30))
///     .half_open_max_calls(3)
///     .success_threshold(2);
/// let breakers = layer.handle();
///
/// let service = ServiceBuilder::new().layer(layer).service(service_fn(|_: http::Request<String>| async {
///     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
/// }));
/// # let _ = (service, breakers);
/// ```
pub struct CircuitBreakerLayer<
    Classifier = HttpClassifier,
    Partition: Keyed = Unpartitioned,
    SettleAt = HeadOnly,
    Requests = HttpRequests,
> {
    classifier: Classifier,
    partition: Partition,
    scope: SettleAt,
    requests: Requests,
    config: Config,
    breakers: Shared<Partition::Key>,
}

/// Made on first use.
type Shared<K> = Arc<OnceLock<Handle<K>>>;

impl CircuitBreakerLayer {
    /// Judges HTTP responses and errors by the defaults of [`HttpClassifier`].
    #[must_use]
    pub fn new_for_http() -> Self {
        Self::with(HttpClassifier::new(), HttpRequests)
    }
}

impl CircuitBreakerLayer<GrpcClassifier> {
    /// Judges gRPC responses and errors by the defaults of [`GrpcClassifier`].
    ///
    /// A code that comes with the trailers is seen only with [`judge_body`](Self::judge_body); without it a stream is a
    /// success as soon as it begins.
    #[must_use]
    pub fn new_for_grpc() -> Self {
        Self::with(GrpcClassifier::new(), HttpRequests)
    }
}

impl<Classifier> CircuitBreakerLayer<Classifier, Unpartitioned, HeadOnly, AnyRequests> {
    /// Judges by a classifier of your own, which need not be about HTTP.
    ///
    /// Reads nothing from the requests. For HTTP requests write
    /// [`new_for_http()`](CircuitBreakerLayer::new_for_http) and [`classifier`](Self::classifier), so that the breaker
    /// sees the [`Deadline`](crate::retry::Deadline) of a call.
    #[must_use]
    pub fn new(classifier: Classifier) -> Self {
        Self::with(classifier, AnyRequests)
    }
}

impl<Classifier, Requests> CircuitBreakerLayer<Classifier, Unpartitioned, HeadOnly, Requests> {
    fn with(classifier: Classifier, requests: Requests) -> Self {
        Self {
            classifier,
            partition: Unpartitioned,
            scope: HeadOnly,
            requests,
            config: Config::default(),
            breakers: Shared::default(),
        }
    }
}

impl CircuitBreaker {
    /// Begins a breaker without tower: the settings of a layer, ended with [`build`](CircuitBreakerLayer::build).
    ///
    /// ```
    /// use tower_rampart::breaker::CircuitBreaker;
    ///
    /// let breaker = CircuitBreaker::builder().name("database").consecutive_failures(5).build();
    /// # let _ = breaker;
    /// ```
    #[must_use]
    pub fn builder() -> CircuitBreakerLayer<(), Unpartitioned, HeadOnly, AnyRequests> {
        CircuitBreakerLayer::new(())
    }
}

impl CircuitBreakerLayer<(), Unpartitioned, HeadOnly, AnyRequests> {
    /// Builds a breaker without tower: ends what [`CircuitBreaker::builder`] begins.
    #[must_use]
    pub fn build(self) -> CircuitBreaker {
        self.breaker()
    }
}

impl<Classifier, SettleAt, Requests> CircuitBreakerLayer<Classifier, Unpartitioned, SettleAt, Requests> {
    /// Returns the only breaker of an unpartitioned layer.
    #[must_use]
    pub fn breaker(&self) -> CircuitBreaker {
        self.handle().default_partition()
    }

    /// Uses one breaker for each key that `partition` finds in a request: see [`partition`](super::partition).
    ///
    /// Call it once, and before [`nested_in`](Self::nested_in), which builds upon it:
    ///
    /// ```compile_fail,E0599
    /// use tower_rampart::CircuitBreakerLayer;
    /// use tower_rampart::breaker::partition;
    ///
    /// let tenants = partition::header("x-tenant-id");
    /// let _ = CircuitBreakerLayer::new_for_http().nested_in(partition::host(), 0.5).partition_by(tenants);
    /// ```
    #[must_use]
    pub fn partition_by<Partition: Keyed>(
        self,
        partition: Partition,
    ) -> CircuitBreakerLayer<Classifier, Partition, SettleAt, Requests> {
        let Self { classifier, partition: Unpartitioned, scope, requests, config, breakers: _ } = self;
        CircuitBreakerLayer { classifier, partition, scope, requests, config, breakers: Shared::default() }
    }
}

impl<Classifier, Partition: Keyed, SettleAt, Requests> CircuitBreakerLayer<Classifier, Partition, SettleAt, Requests> {
    /// Returns a handle that watches and controls the breakers, also after the services have been moved or boxed.
    #[must_use]
    pub fn handle(&self) -> Handle<Partition::Key> {
        self.breakers().clone()
    }

    /// Sets the name reported in errors and telemetry.
    ///
    /// # Panics
    ///
    /// If the name is empty.
    #[must_use]
    #[track_caller]
    pub fn name(self, name: &str) -> Self {
        valid(self.try_name(name))
    }

    /// Nests these partitions in others, as tenants in a host. Each key of `outer` has a breaker of its own around
    /// those of its inner keys, which takes their votes. It opens when at least `share` of the tenants that called
    /// lately are bad, so one bad tenant never shuts a host, however often it calls. A dead host with a thousand quiet
    /// tenants, each far below its own minimum, is noticed after some seventy calls. One with fewer than 64 tenants is
    /// noticed by the share alone, which takes about half the window; until then, and where they are few and call
    /// seldom, each tenant's own breaker protects it. Call it after
    /// [`partition_by`](CircuitBreakerLayer::partition_by). The keys become [`Nested`](super::partition::Nested) ones:
    /// the same tenant has one breaker for each host.
    ///
    /// - Each inner breaker with recent counted calls has one vote: within the window of time, or within the last
    ///   minute for a window of calls. There must be [a minimum](Self::minimum_children) of votes. Breakers that are
    ///   forced open or disabled do not vote, and neither do the probes of an inner breaker. The
    ///   [rules](crate::breaker#rules-of-nested-partitions) say when a vote is bad, and when the host opens. The votes
    ///   are the calls of its [`Snapshot`](super::Snapshot).
    /// - While the outer breaker is open, it rejects the calls of all its keys. [`CircuitOpen`](super::CircuitOpen)
    ///   names the breaker that rejected, and that one counts the rejection. An inner breaker whose mode rejects
    ///   nothing is not rejected by the outer one either.
    /// - After [`open_for`](Self::open_for) the outer breaker asks each inner one once, those first whose own breaker
    ///   is closed, and [`half_open_max_calls`](Self::half_open_max_calls) at once. Successes of
    ///   [`success_threshold`](Self::success_threshold) different ones close it. A bad minority does not open it again.
    ///   If only one inner breaker is called, that one decides after half the open time, or a
    ///   [lease](Self::probe_lease) if that is shorter.
    /// - It has no [`ramp`](Self::ramp), and a [hint of the server](Self::honor_retry_after) applies to the inner
    ///   breaker alone.
    /// - An outer breaker takes a place of [`max_partitions`](Self::max_partitions), and the first inner one is made
    ///   only together with it: there must be room for two. Keys that share an overflow breaker have no outer one.
    ///
    /// ```
    /// use http::uri::Authority;
    /// use tower_rampart::CircuitBreakerLayer;
    /// use tower_rampart::breaker::State;
    /// use tower_rampart::breaker::partition::{self, Nested};
    ///
    /// let layer = CircuitBreakerLayer::new_for_http()
    ///     .partition_by(partition::header("x-tenant-id"))
    ///     .nested_in(partition::host(), 0.5);
    /// let host = Nested::Outer(Authority::from_static("api.example.com").into());
    /// assert_eq!(layer.handle().state(&host), State::Closed);
    /// ```
    ///
    /// # Panics
    ///
    /// If the share is not over 0 and at most 1, or if the partitions are nested already.
    #[must_use]
    #[track_caller]
    pub fn nested_in<Q: Keyed>(
        self,
        outer: Q,
        share: f64,
    ) -> CircuitBreakerLayer<Classifier, NestedIn<Partition, Q>, SettleAt, Requests> {
        valid(self.try_nested_in(outer, share))
    }

    /// Sets how many votes of inner breakers an [outer breaker](Self::nested_in) needs to open. 3 by default.
    ///
    /// # Panics
    ///
    /// If it is below 2.
    #[must_use]
    #[track_caller]
    pub fn minimum_children(self, children: u32) -> Self {
        valid(self.try_minimum_children(children))
    }

    /// Sets the classifier.
    #[must_use]
    pub fn classifier<D>(self, classifier: D) -> CircuitBreakerLayer<D, Partition, SettleAt, Requests> {
        let Self { classifier: _, partition, scope, requests, config, breakers: _ } = self;
        CircuitBreakerLayer { classifier, partition, scope, requests, config, breakers: Shared::default() }
    }

    /// Treats a request whose stream was refused as one that may have been processed: see [`DistrustRefusals`] for when
    /// that is needed. Does not change what the breaker counts for a refused stream.
    ///
    /// ```
    /// use tower_rampart::CircuitBreakerLayer;
    ///
    /// let behind_haproxy = CircuitBreakerLayer::new_for_http().distrust_refusals();
    /// # let _ = behind_haproxy;
    /// ```
    #[must_use]
    pub fn distrust_refusals(self) -> Self
    where
        Classifier: DistrustRefusals,
    {
        let Self { classifier, partition, scope, requests, config, breakers: _ } = self;
        let (classifier, breakers) = (classifier.distrust_refusals(), Shared::default());
        Self { classifier, partition, scope, requests, config, breakers }
    }

    /// Counts a success only when its body has ended, by how it ended: see [the table](crate::classify::body). For gRPC
    /// the trailers decide.
    ///
    /// The body of the response becomes a [`JudgedBody`](crate::classify::body::JudgedBody), whose error is wrapped in
    /// [`ClassifiedError`](crate::classify::ClassifiedError). The head is passed on as soon as it comes, and counts at
    /// once if it is no success. For HTTP and gRPC only: the classifier must be a
    /// [`ClassifyHttp`](crate::classify::ClassifyHttp).
    ///
    /// - The duration of a call ends with its head: a slow reader does not make a slow upstream.
    /// - A body that is dropped before its end is neutral, whatever [`abandoned`](Self::abandoned) sets for calls
    ///   without a response. A body that outlives the service still counts when it ends; one that never ends is a call
    ///   that never counts.
    /// - A probe holds its slot until its body has ended or its [lease](Self::probe_lease) is over. It has succeeded,
    ///   too, when its reader drops the body, or when its lease is over and the body has not broken off: otherwise an
    ///   upstream of long streams would never close its breaker. A [`ramp`](Self::ramp) counts a success at its head.
    ///
    /// The breaker does not see the verdict of a [`ClassifyLayer`](crate::ClassifyLayer) further inside on trailers,
    /// because trailers cannot carry one: give the breaker a classifier with the same
    /// [overrides](GrpcClassifier::code).
    ///
    /// ```
    /// use tower_rampart::CircuitBreakerLayer;
    /// use tower_rampart::breaker::partition;
    ///
    /// let layer = CircuitBreakerLayer::new_for_grpc().partition_by(partition::host()).judge_body();
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn judge_body(self) -> CircuitBreakerLayer<Classifier, Partition, WholeBody, Requests> {
        let Self { classifier, partition, scope: _, requests, config, breakers: _ } = self;
        CircuitBreakerLayer { classifier, partition, scope: WholeBody, requests, config, breakers: Shared::default() }
    }

    fn set(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.config);
        // Existing breakers keep their settings, and a clone of this layer keeps its own.
        self.breakers = Shared::default();
        self
    }

    fn breakers(&self) -> &Handle<Partition::Key> {
        self.breakers.get_or_init(|| Handle::new(&self.config, Partition::is_partitioned(), Partition::place))
    }
}

impl<S, Classifier: Clone, Partition: Keyed + Clone, SettleAt: Clone, Requests: Clone> Layer<S>
    for CircuitBreakerLayer<Classifier, Partition, SettleAt, Requests>
{
    type Service = CircuitBreakerService<S, Classifier, Partition, SettleAt, Requests>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { classifier, partition, scope, requests, config: _, breakers: _ } = self.clone();
        CircuitBreakerService::new(inner, classifier, partition, self.breakers().breakers().clone(), (scope, requests))
    }
}

impl<Classifier: Clone, Partition: Keyed + Clone, SettleAt: Clone, Requests: Clone> Clone
    for CircuitBreakerLayer<Classifier, Partition, SettleAt, Requests>
{
    fn clone(&self) -> Self {
        Self {
            classifier: self.classifier.clone(),
            partition: self.partition.clone(),
            scope: self.scope.clone(),
            requests: self.requests.clone(),
            config: self.config.clone(),
            breakers: self.breakers.clone(),
        }
    }
}

impl<Classifier, Partition: Keyed, SettleAt, Requests> fmt::Debug
    for CircuitBreakerLayer<Classifier, Partition, SettleAt, Requests>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer").field("config", &self.config).finish_non_exhaustive()
    }
}
