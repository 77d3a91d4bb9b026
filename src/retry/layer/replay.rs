//! The settings that depend on how a request is kept for another attempt.

use super::RetryLayer;
use crate::registry::partition::Keyed;
use crate::retry::config::SharedConfig;
use crate::retry::replay::{CloneBodies, CloneRequests, ReplayBodies};

impl<Classifier, Idempotency, OnRetry, Partition: Keyed>
    RetryLayer<Classifier, ReplayBodies<Idempotency>, OnRetry, Partition>
{
    /// Sets how many bytes of a body are kept for a replay. A body of exactly this size can be replayed; a larger one
    /// is sent once. With 0 no body is kept.
    #[must_use]
    pub fn max_replay_bytes(self, bytes: usize) -> Self {
        self.map_replay(|ReplayBodies { max_bytes: _, http }| ReplayBodies { max_bytes: bytes, http })
    }

    /// Clones bodies instead of wrapping them, for bodies that are `Clone`: the inner service sees the caller's own
    /// `Request<B>` and no [`ReplayBody`](crate::retry::ReplayBody).
    ///
    /// With a custom classifier this is [`new`](RetryLayer::new) for HTTP: a [`Deadline`](crate::retry::Deadline) in
    /// the request counts, attempts are numbered, responses carry a [`RetryReport`](crate::retry::RetryReport), and
    /// only idempotent requests are repeated.
    ///
    /// A cut attempt always counts as maybe processed, because a service inside may have sent a copy: a POST that still
    /// waited for the client to become ready when a time limit cut it is not repeated.
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
    pub fn clone_bodies(self) -> RetryLayer<Classifier, CloneBodies<Idempotency>, OnRetry, Partition> {
        self.map_replay(|ReplayBodies { max_bytes: _, http }| CloneBodies { http })
    }
}

impl<Classifier, Idempotency, OnRetry, Partition: Keyed>
    RetryLayer<Classifier, CloneRequests<Idempotency>, OnRetry, Partition>
{
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
    ) -> RetryLayer<Classifier, CloneRequests<Predicate>, OnRetry, Partition> {
        self.map_replay(|CloneRequests { idempotency: _ }| CloneRequests { idempotency: predicate })
    }
}

impl<Classifier, Replay, OnRetry, Partition: Keyed> RetryLayer<Classifier, Replay, OnRetry, Partition> {
    pub(super) fn map_replay<NewReplay>(
        self,
        map: impl FnOnce(Replay) -> NewReplay,
    ) -> RetryLayer<Classifier, NewReplay, OnRetry, Partition> {
        let SharedConfig { policy, replay, budgets, pace } = self.shared;
        RetryLayer { shared: SharedConfig { policy, replay: map(replay), budgets, pace } }
    }
}
