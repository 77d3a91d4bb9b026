//! The settings of the breakers themselves.

use std::time::Duration;

use super::{CircuitBreakerLayer, Shared};
use crate::backoff::Backoff;
use crate::breaker::config::Config;
use crate::breaker::partition::Keyed;
use crate::breaker::requests::HttpRequests;
use crate::breaker::{Abandoned, Mode, Window};
use crate::settings::invalid_setting::valid;

impl<Classifier, Partition: Keyed, SettleAt, Requests> CircuitBreakerLayer<Classifier, Partition, SettleAt, Requests> {
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
    /// The same rate applies to probes: a half-open breaker opens again as soon as its slow probes are at least this
    /// share of the [`success_threshold`](Self::success_threshold). Otherwise a slow probe is a success.
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
    /// ends it. With a window of time, a row whose last failure has left the window is forgotten with it; if an
    /// [`outage`](Self::outage) is set as well, only once that failure is a minute old, too.
    ///
    /// # Panics
    ///
    /// If it is 0, or more than 16,383.
    #[must_use]
    #[track_caller]
    pub fn consecutive_failures(self, failures: u32) -> Self {
        valid(self.try_consecutive_failures(failures))
    }

    /// Opens after this many failures in a row if the last one comes at least `lasting` after the first: a total
    /// outage, which the failure rate shows only once most of the window has failed. A success ends the row, a
    /// throttled call neither adds to it nor ends it. A row is forgotten once its last failure is a minute old and has
    /// left the window; in a window of calls no row is too old.
    ///
    /// By default ten failures over two seconds, or as many as [`minimum_calls`](Self::minimum_calls) asks for; and no
    /// such rule if [`consecutive_failures`](Self::consecutive_failures) is set. If one call in five fails at random,
    /// ten in a row fail once in twelve million calls. The time keeps a client with many calls from opening when they
    /// all meet the same bad moment.
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

    /// Sets how long the breaker stays open before it is probed: a time, or a [`Backoff`] that grows each time the
    /// probes fail and starts again when the breaker closes. In whole milliseconds, rounded up. The jitter never makes
    /// it shorter than half of the longest time that it can draw. A [custom](Backoff::custom) function is given the
    /// number of openings, no verdict and the last open time.
    ///
    /// # Panics
    ///
    /// If the first time is zero.
    #[must_use]
    #[track_caller]
    pub fn open_for(self, open_for: impl Into<Backoff>) -> Self {
        valid(self.try_open_for(open_for))
    }

    /// Uses the server's `Retry-After` (or a similar hint) as the open duration, capped at `longest`. Without a hint in
    /// the response that opens the breaker, [`open_for`](Self::open_for) applies.
    ///
    /// # Panics
    ///
    /// If `longest` is zero.
    #[must_use]
    #[track_caller]
    pub fn honor_retry_after(self, longest: Duration) -> Self {
        valid(self.try_honor_retry_after(longest))
    }

    /// Sets how many probes a half-open breaker admits at once. A failed or throttled probe opens it again, and so do
    /// too many [slow](Self::slow_calls) ones.
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

    /// Sets how long a probe holds its slot. After that time another probe is admitted; the late one still counts if it
    /// ends while the breaker is half-open. A probe whose [body](Self::judge_body) streams has succeeded by then.
    ///
    /// # Panics
    ///
    /// If the lease is zero.
    #[must_use]
    #[track_caller]
    pub fn probe_lease(self, lease: Duration) -> Self {
        valid(self.try_probe_lease(lease))
    }

    /// Admits a growing share of the calls after the probes have succeeded, before the breaker closes: one step for
    /// each of `shares`. It is half-open during the ramp.
    ///
    /// - About `calls` calls come in each step: it ends when its share of as many has ended, at least one. The first
    ///   call of the ramp is admitted.
    /// - A step also ends after an even part of the (first) [open time](Self::open_for), however few calls come and
    ///   however long they take, so the ramp takes no longer than the breaker was open. Only if the calls of the step
    ///   have reached the failure rate so far, it waits for more of them.
    /// - The breaker opens again when the failures of a step reach the [`failure_rate`](Self::failure_rate) of the
    ///   calls that end the step, or the slow calls the [slow-call rate](Self::slow_calls). So the only call of a small
    ///   step is as a probe: if it fails, the breaker opens.
    ///
    /// The ramp of this example admits about one in 100 calls, then one in 20, one in 4 and one in 2. If all succeed,
    /// it closes after 61 calls, 17 of them admitted, or after 30 seconds:
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

    /// Sets how many keys can have a breaker of their own. When room is needed, a breaker without a call in flight is
    /// evicted if it is closed with an empty window, or if it is open, its open time is over, and no call has come for
    /// as long again. A window of calls counts as empty after ten minutes without a call. A half-open breaker without
    /// calls for ten minutes is forgotten too, also one on a [`ramp`](Self::ramp). The ten minutes run from when it
    /// became half-open, so one that is still half-open after a few calls can go as well.
    ///
    /// A new key looks at eight partitions, the next key at those that follow. If one of them can go, it may look at
    /// two more, or at up to sixteen in all if it is the first inner key of an outer one. If none can go, it shares one
    /// of 16 breakers with other new keys, chosen by its hash:
    /// [`Handle::overflow_partition`](super::Handle::overflow_partition).
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn max_partitions(self, partitions: usize) -> Self {
        valid(self.try_max_partitions(partitions))
    }

    /// Keeps at least this many of the last decisions of all breakers of the layer, for
    /// [`Handle::recording`](super::Handle::recording): each end of a call, each rejection and each change. Takes 32
    /// bytes for each, at once. Every call then reads the clock three times and writes a line of memory that all
    /// threads share.
    ///
    /// How to write a recording to a file whenever a breaker opens:
    ///
    /// ```
    /// use tower_rampart::CircuitBreakerLayer;
    /// use tower_rampart::breaker::State;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let layer = CircuitBreakerLayer::new_for_http().name("billing-api").flight_recorder(65_536);
    /// let breakers = layer.handle();
    /// // A slow disk misses openings: the next recording holds them, too.
    /// let mut changes = breakers.subscribe(1);
    /// let writer = async move {
    ///     loop {
    ///         if changes.recv().await.to == State::Open {
    ///             let (file, text) = (std::env::temp_dir().join("billing-api.flight"), breakers.recording().to_string());
    ///             if let Ok(Err(error)) = tokio::task::spawn_blocking(|| std::fs::write(file, text)).await {
    ///                 tracing::warn!(%error, "cannot write the flight recording");
    ///             }
    /// #           break;
    ///         }
    ///     }
    /// };
    /// # let writer = tokio::spawn(writer);
    /// # layer.breaker().force_open();
    /// # writer.await.unwrap();
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If it is 0, or more than 16,777,216.
    #[must_use]
    #[track_caller]
    pub fn flight_recorder(self, decisions: usize) -> Self {
        valid(self.try_flight_recorder(decisions))
    }

    /// Sets whether errors and telemetry show a short keyed hash in place of a key.
    #[must_use]
    pub fn redact_labels(self, redact: bool) -> Self {
        self.set(|config| config.set_redact_labels(redact))
    }

    /// Makes the layer repeatable, for tests and simulations: the jitter of [`open_for`](Self::open_for), the choice of
    /// [overflow breakers](super::Handle::overflow_partition) and [redacted labels](Self::redact_labels). The breakers
    /// of the layer draw from one stream: if they open in the same order, they stay open as long. Default: all of it is
    /// random.
    ///
    /// **Not for production.** Anyone who knows the seed can make keys that collide and read redacted labels, and
    /// processes with one seed probe together. Another version of this crate or of Rust may draw other numbers.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.set(|config| config.set_seed(seed))
    }
}
