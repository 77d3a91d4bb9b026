mod try_settings;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tower_layer::Layer;

use super::config::Config;
use super::partition::{Keyed, NestedIn, Unpartitioned};
use super::requests::{AnyRequests, HttpRequests};
use super::service::CircuitBreakerService;
use super::{Abandoned, CircuitBreaker, Handle, Mode, Window};
use crate::backoff::Backoff;
use crate::classify::{DistrustRefusals, GrpcClassifier, HeadOnly, HttpClassifier, WholeBody};
use crate::invalid_setting::valid;

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
/// | [`seed`](Self::seed) | none: jitter and hashes are random |
/// | [`judge_body`](Self::judge_body) | no: the head of a response decides |
///
/// A setting that makes no sense panics at the line that sets it. Each has a form that begins with `try_` and returns
/// [`InvalidSetting`](super::InvalidSetting) in place of the panic, for values that come from outside.
///
/// # State
///
/// The breakers live in the layer: every service made by it or a clone of it shares them. They are created with the first
/// [`handle`](Self::handle), [`breaker`](Self::breaker) or service; a setting changed after that makes a layer with
/// breakers of its own, and leaves the earlier ones unchanged.
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

    /// Nests these partitions in others, as tenants in a host. Each key of `outer` has a breaker of its own around those of
    /// its inner keys, which takes their votes. It opens when at least `share` of the tenants that called lately are bad, so
    /// one bad tenant never shuts a host, however often it calls. A dead host with a thousand quiet tenants, each far below
    /// its own minimum, is noticed after some seventy calls. One with fewer than 64 tenants is noticed by the share alone,
    /// which takes about half the window; until then, and where they are few and call seldom, each tenant's own breaker
    /// protects it. Call it after [`partition_by`](CircuitBreakerLayer::partition_by). The keys become
    /// [`Nested`](super::partition::Nested) ones: the same tenant has one breaker for each host.
    ///
    /// - Each inner breaker with recent counted calls has one vote: within the window of time, or within the last minute for
    ///   a window of calls. There must be [a minimum](Self::minimum_children) of votes. Breakers that are forced open or
    ///   disabled do not vote, and neither do the probes of an inner breaker. The
    ///   [rules](crate::breaker#rules-of-nested-partitions) say when a vote is bad, and when the host opens. The votes are
    ///   the calls of its [`Snapshot`](super::Snapshot).
    /// - While the outer breaker is open, it rejects the calls of all its keys. [`CircuitOpen`](super::CircuitOpen) names the
    ///   breaker that rejected, and that one counts the rejection. An inner breaker whose mode rejects nothing is not
    ///   rejected by the outer one either.
    /// - After [`open_for`](Self::open_for) the outer breaker asks each inner one once, those first whose own breaker is
    ///   closed, and [`half_open_max_calls`](Self::half_open_max_calls) at once. Successes of
    ///   [`success_threshold`](Self::success_threshold) different ones close it. A bad minority does not open it again. If
    ///   only one inner breaker is called, that one decides after half the open time, or a [lease](Self::probe_lease) if
    ///   that is shorter.
    /// - It has no [`ramp`](Self::ramp), and a [hint of the server](Self::honor_retry_after) applies to the inner breaker
    ///   alone.
    /// - An outer breaker takes a place of [`max_partitions`](Self::max_partitions), and the first inner one is made only
    ///   together with it: there must be room for two. Keys that share an overflow breaker have no outer one.
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

    /// Treats a request whose stream was refused as one that may have been processed: see [`DistrustRefusals`] for when that
    /// is needed. Does not change what the breaker counts for a refused stream.
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

    /// Counts a success only when its body has ended, by how it ended: see [the table](crate::classify::body). For gRPC the
    /// trailers decide.
    ///
    /// The body of the response becomes a [`JudgedBody`](crate::classify::body::JudgedBody), whose error is wrapped in
    /// [`ClassifiedError`](crate::classify::ClassifiedError). The head is passed on as soon as it comes, and counts at once if it is
    /// no success. For HTTP and gRPC only: the classifier must be a [`ClassifyHttp`](crate::classify::ClassifyHttp).
    ///
    /// - The duration of a call ends with its head: a slow reader does not make a slow upstream.
    /// - A body that is dropped before its end is neutral, whatever [`abandoned`](Self::abandoned) sets for calls without a
    ///   response. A body that outlives the service still counts when it ends; one that never ends is a call that never
    ///   counts.
    /// - A probe holds its slot until its body has ended or its [lease](Self::probe_lease) is over. It has succeeded, too,
    ///   when its reader drops the body, or when its lease is over and the body has not broken off: otherwise an upstream of
    ///   long streams would never close its breaker. A [`ramp`](Self::ramp) counts a success at its head.
    ///
    /// The breaker does not see the verdict of a [`ClassifyLayer`](crate::ClassifyLayer) further inside on trailers, because
    /// trailers cannot carry one: give the breaker a classifier with the same [overrides](GrpcClassifier::code).
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

    /// Sets the window of outcomes that the rates are computed from.
    ///
    /// # Panics
    ///
    /// If a minimum has been set that is larger than this window of calls.
    #[must_use]
    #[track_caller]
    pub fn window(self, window: Window) -> Self {
        valid(self.try_window(window))
    }

    /// Opens when at least this share of the calls in the window has failed or was throttled. 1 means all of them.
    ///
    /// # Panics
    ///
    /// If the rate is not over 0 and at most 1.
    #[must_use]
    #[track_caller]
    pub fn failure_rate(self, rate: f64) -> Self {
        valid(self.try_failure_rate(rate))
    }

    /// Sets how many calls the window must hold before a rate opens the breaker.
    ///
    /// # Panics
    ///
    /// If it is 0, or larger than a window of calls that has been set.
    #[must_use]
    #[track_caller]
    pub fn minimum_calls(self, calls: u32) -> Self {
        valid(self.try_minimum_calls(calls))
    }

    /// Also opens when at least this share of the calls in the window took longer than `limit`. Calls that are dropped
    /// after that limit then count as failures, whatever the reason: see [`abandoned`](Self::abandoned).
    ///
    /// The same rate applies to probes: a half-open breaker opens again as soon as its slow probes are at least this share
    /// of the [`success_threshold`](Self::success_threshold). Otherwise a slow probe is a success.
    ///
    /// # Panics
    ///
    /// If the limit is zero or the rate is not over 0 and at most 1.
    #[must_use]
    #[track_caller]
    pub fn slow_calls(self, limit: Duration, rate: f64) -> Self {
        valid(self.try_slow_calls(limit, rate))
    }

    /// Also opens after this many failures in a row, whatever the minimum. A throttled call neither adds to the row nor
    /// ends it. With a window of time, a row whose last failure has left the window is forgotten with it.
    ///
    /// # Panics
    ///
    /// If it is 0, or more than 16,383.
    #[must_use]
    #[track_caller]
    pub fn consecutive_failures(self, failures: u32) -> Self {
        valid(self.try_consecutive_failures(failures))
    }

    /// Opens after this many failures in a row if the last one comes at least `lasting` after the first: a total outage,
    /// which the failure rate shows only once most of the window has failed. A success ends the row, a throttled call
    /// neither adds to it nor ends it, and a row whose last failure is a minute old, or older than the window, is forgotten.
    ///
    /// By default ten failures over two seconds, or as many as [`minimum_calls`](Self::minimum_calls) asks for; and no such
    /// rule if [`consecutive_failures`](Self::consecutive_failures) is set. If one call in five fails at random, ten in a
    /// row fail once in twelve million calls. The time keeps a client with many calls from opening when they all meet the
    /// same bad moment.
    ///
    /// # Panics
    ///
    /// If `failures` is 0 or more than 16,383.
    #[must_use]
    #[track_caller]
    pub fn outage(self, failures: u32, lasting: Duration) -> Self {
        valid(self.try_outage(failures, lasting))
    }

    /// Does not watch for an [`outage`](Self::outage).
    #[must_use]
    pub fn no_outage(self) -> Self {
        self.set(Config::unset_outage)
    }

    /// Sets how long the breaker stays open before it is probed: a time, or a [`Backoff`] that grows each time the probes
    /// fail and starts again when the breaker closes. In whole milliseconds, rounded up. Jitter never removes more than
    /// half.
    ///
    /// # Panics
    ///
    /// If the first time is zero.
    #[must_use]
    #[track_caller]
    pub fn open_for(self, open_for: impl Into<Backoff>) -> Self {
        valid(self.try_open_for(open_for))
    }

    /// Uses the server's `Retry-After` (or a similar hint) as the open duration, capped at `longest`. Without a hint in the
    /// response that opens the breaker, [`open_for`](Self::open_for) applies.
    ///
    /// # Panics
    ///
    /// If `longest` is zero.
    #[must_use]
    #[track_caller]
    pub fn honor_retry_after(self, longest: Duration) -> Self {
        valid(self.try_honor_retry_after(longest))
    }

    /// Sets how many probes a half-open breaker admits at once. A failed or throttled probe opens it again, and so do too many
    /// [slow](Self::slow_calls) ones.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn half_open_max_calls(self, calls: u32) -> Self {
        valid(self.try_half_open_max_calls(calls))
    }

    /// Sets how many successful probes close a half-open breaker. May exceed
    /// [`half_open_max_calls`](Self::half_open_max_calls): the probes then follow one another.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn success_threshold(self, successes: u32) -> Self {
        valid(self.try_success_threshold(successes))
    }

    /// Sets how long a probe holds its slot. After that time another probe is admitted; the late one still counts if it ends
    /// while the breaker is half-open. A probe whose [body](Self::judge_body) streams has succeeded by then.
    ///
    /// # Panics
    ///
    /// If the lease is zero.
    #[must_use]
    #[track_caller]
    pub fn probe_lease(self, lease: Duration) -> Self {
        valid(self.try_probe_lease(lease))
    }

    /// Admits a growing share of the calls after the probes have succeeded, before the breaker closes: one step for each of
    /// `shares`. It is half-open during the ramp.
    ///
    /// - About `calls` calls come in each step: it ends when its share of as many has ended, at least one. The first call of
    ///   the ramp is admitted.
    /// - A step also ends after an even part of the (first) [open time](Self::open_for), however few calls come and however
    ///   long they take, so the ramp takes no longer than the breaker was open. Only if the calls of the step have reached
    ///   the failure rate so far, it waits for more of them.
    /// - The breaker opens again when the failures of a step reach the [`failure_rate`](Self::failure_rate) of the calls that
    ///   end the step, or the slow calls the [slow-call rate](Self::slow_calls). So the only call of a small step is as a
    ///   probe: if it fails, the breaker opens.
    ///
    /// The ramp of this example admits about one in 100 calls, then one in 20, one in 4 and one in 2. If all succeed, it
    /// closes after 61 calls, 17 of them admitted, or after 30 seconds:
    ///
    /// ```
    /// use tower_rampart::CircuitBreakerLayer;
    ///
    /// let gently = CircuitBreakerLayer::new_for_http().ramp(&[0.01, 0.05, 0.25, 0.5], 20);
    /// # let _ = gently;
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no share, one is below a millionth or over 1, or they shrink, or if `calls` is 0.
    #[must_use]
    #[track_caller]
    pub fn ramp(self, shares: &[f64], calls: u32) -> Self {
        valid(self.try_ramp(shares, calls))
    }

    /// Sets how calls count that are dropped before they end.
    ///
    /// By default such a call has failed if a time limit cut it, or if it ran longer than the limit of the
    /// [slow calls](Self::slow_calls), if there is one; else it is neutral.
    #[must_use]
    pub fn abandoned(self, abandoned: Abandoned) -> Self {
        self.set(|config| config.set_abandoned(abandoned))
    }

    /// Sets the mode that the breakers begin in.
    #[must_use]
    pub fn mode(self, mode: Mode) -> Self {
        self.set(|config| config.set_mode(mode))
    }

    /// Sets the mode [`RejectRetriesOnly`](Mode::RejectRetriesOnly): an open breaker rejects the retries of the
    /// [`RetryLayer`](crate::RetryLayer) outside it, and admits first attempts.
    ///
    /// ```
    /// use tower_rampart::CircuitBreakerLayer;
    /// use tower_rampart::breaker::partition;
    ///
    /// let layer = CircuitBreakerLayer::new_for_http().partition_by(partition::host()).reject_retries_only();
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn reject_retries_only(self) -> CircuitBreakerLayer<Classifier, Partition, SettleAt> {
        let Self { classifier, partition, scope, requests: _, mut config, breakers: _ } = self;
        config.set_mode(Mode::RejectRetriesOnly);
        let (requests, breakers) = (HttpRequests, Shared::default());
        CircuitBreakerLayer { classifier, partition, scope, requests, config, breakers }
    }

    /// Sets how many keys can have a breaker of their own. When room is needed, a breaker without a call in flight is evicted
    /// if it is closed with an empty window, or if it is open, its open time is over, and no call has come for as long
    /// again. A window of calls counts as empty after ten minutes without a call. A half-open breaker without calls
    /// for ten minutes is forgotten too, also one on a [`ramp`](Self::ramp). The ten minutes run from when it became half-open,
    /// so one that is still half-open after a few calls can go as well.
    ///
    /// A new key looks at eight partitions, the next key at those that follow. If one of them can go, it may look at two
    /// more, or at up to sixteen in all if it is the first inner key of an outer one. If none can go, it shares one of 16
    /// breakers with other new keys, chosen by its hash: [`Handle::overflow_partition`](super::Handle::overflow_partition).
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn max_partitions(self, partitions: usize) -> Self {
        valid(self.try_max_partitions(partitions))
    }

    /// Sets whether errors and telemetry show a short keyed hash in place of a key.
    #[must_use]
    pub fn redact_labels(self, redact: bool) -> Self {
        self.set(|config| config.set_redact_labels(redact))
    }

    /// Makes the layer repeatable, for tests and simulations: the jitter of [`open_for`](Self::open_for), the choice of
    /// [overflow breakers](super::Handle::overflow_partition) and [redacted labels](Self::redact_labels). The breakers of the
    /// layer draw from one stream: if they open in the same order, they stay open as long. Default: all of it is random.
    ///
    /// **Not for production.** Anyone who knows the seed can make keys that collide and read redacted labels, and processes
    /// with one seed probe together. Another version of this crate or of Rust may draw other numbers.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.set(|config| config.set_seed(seed))
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
        CircuitBreakerService::new(inner, classifier, partition, self.breakers().registry().clone(), (scope, requests))
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
