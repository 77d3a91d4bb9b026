use std::fmt;

use tower_layer::Layer;

use super::RetryLayer;
use crate::classify::HttpClassifier;
use crate::registry::partition::{Keyed, Unpartitioned};
use crate::retry::config::SharedConfig;
use crate::retry::hedge::{Hedge, HedgedRetry, Pace};
use crate::retry::replay::ReplayBodies;

/// A [`RetryLayer`] that hedges slow attempts, made by [`RetryLayer::hedge`].
#[derive(Clone)]
pub struct HedgedRetryLayer<
    Classifier = HttpClassifier,
    Replay = ReplayBodies,
    OnRetry = (),
    Partition: Keyed = Unpartitioned,
>(pub(super) RetryLayer<Classifier, Replay, OnRetry, Partition>);

impl<Classifier, Replay, OnRetry, Partition: Keyed> RetryLayer<Classifier, Replay, OnRetry, Partition> {
    /// Sends a second attempt beside one that is slow, and returns the first good answer. This cuts the tail of the
    /// latency: if one answer of a hundred takes a second, [`Hedge::quantile(0.95)`](Hedge::quantile) replaces that
    /// second by the 95th percentile and the time of another answer, for at most five percent more calls. If all
    /// answers become slow, the [`budget`](Self::budget) bounds the hedges.
    ///
    /// Only idempotent requests are hedged, and none with an `Idempotency-Key`: a server may answer 409 while it acts
    /// on the first request with that key. A hedge counts as an attempt, so [`max_attempts`](Self::max_attempts) must
    /// be at least 2; the default of 3 leaves one retry after a hedge. [The module](crate::retry) lists the rules, of
    /// which the thirteenth is about hedges.
    ///
    /// The result is a layer of another type, so that a layer without hedges pays nothing for them: make all other
    /// settings before. Its clones and services share the latencies that a quantile is computed from, so use one layer
    /// for each upstream.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    /// use tower_rampart::RetryLayer;
    /// use tower_rampart::retry::{Attempt, Hedge, ReplayBody, RetryReport};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let client = ServiceBuilder::new()
    ///     .layer(RetryLayer::new_for_http().hedge(Hedge::after(Duration::from_millis(50))))
    ///     .service(service_fn(|request: http::Request<ReplayBody<String>>| async move {
    ///         // The first attempt is slow.
    ///         if !Attempt::of(&request).is_retry() {
    ///             tokio::time::sleep(Duration::from_secs(1)).await;
    ///         }
    ///         Ok::<_, std::io::Error>(http::Response::new("pulled"))
    ///     }));
    ///
    /// let start = tokio::time::Instant::now();
    /// let response = client.oneshot(http::Request::get("/metrics").body(String::new()).unwrap()).await.unwrap();
    /// assert_eq!(start.elapsed().as_millis(), 50);
    /// let hedge = RetryReport::of(&response).unwrap().history()[1];
    /// assert!(hedge.is_hedge() && hedge.verdict().is_success());
    /// # }
    /// ```
    ///
    /// The ideas are those of [*The Tail at Scale*][tail] (Dean and Barroso, 2013: hedge at the 95th percentile), gRPC
    /// [proposal A6][a6] (hedges share attempts and budget with retries; a fatal answer ends all), and Finagle's
    /// [`BackupRequestFilter`][finagle] (losers count in the histogram, failures do not).
    ///
    /// [tail]: https://research.google/pubs/the-tail-at-scale/
    /// [a6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#hedging-policy
    /// [finagle]: https://github.com/twitter/finagle/blob/develop/finagle-core/src/main/scala/com/twitter/finagle/client/BackupRequestFilter.scala
    #[must_use]
    pub fn hedge(mut self, hedge: Hedge) -> HedgedRetryLayer<Classifier, Replay, OnRetry, Partition> {
        self.shared.pace = Pace::new(hedge);
        HedgedRetryLayer(self)
    }
}

impl<Classifier, Replay, OnRetry, Partition: Keyed> HedgedRetryLayer<Classifier, Replay, OnRetry, Partition> {
    /// Returns the balance of the budget of a key, as [`RetryLayer::balance`] does.
    #[must_use]
    pub fn balance(&self, key: &Partition::Key) -> Option<f64> {
        self.0.balance(key)
    }
}

impl<S, Classifier, Replay, OnRetry, Partition> Layer<S> for HedgedRetryLayer<Classifier, Replay, OnRetry, Partition>
where
    Classifier: Clone,
    Replay: Clone,
    OnRetry: Clone,
    Partition: Keyed + Clone,
{
    type Service = HedgedRetry<S, Classifier, Replay, OnRetry, Partition>;

    fn layer(&self, inner: S) -> Self::Service {
        HedgedRetry::new(self.0.layer(inner))
    }
}

impl<Classifier, Replay, OnRetry, Partition: Keyed> fmt::Debug
    for HedgedRetryLayer<Classifier, Replay, OnRetry, Partition>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SharedConfig { policy, pace, .. } = &self.0.shared;
        f.debug_struct("HedgedRetryLayer").field("config", &policy.config).field("pace", pace).finish_non_exhaustive()
    }
}
