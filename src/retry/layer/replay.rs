//! The settings that depend on how a request is kept for another attempt.

use http::request::Parts;

use super::RetryLayer;
use crate::registry::partition::Keyed;
use crate::retry::config::SharedConfig;
use crate::retry::observe::PartitionLabel;
use crate::retry::replay::{CloneBodies, CloneRequests, ReplayBodies};

impl<Classifier, Idempotency, OnRetry, Partition: Keyed>
    RetryLayer<Classifier, ReplayBodies<Idempotency>, OnRetry, Partition>
{
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
    ) -> RetryLayer<Classifier, ReplayBodies<Predicate>, OnRetry, Partition> {
        self.map_replay(|ReplayBodies { max_bytes, http }| ReplayBodies {
            max_bytes,
            http: http.idempotency(predicate),
        })
    }

    /// Sets how many bytes of a body are kept for a replay. A body of exactly this size can be replayed; a larger one
    /// is sent once. With 0 no body is kept.
    #[must_use]
    pub fn max_replay_bytes(self, bytes: usize) -> Self {
        self.map_replay(|ReplayBodies { max_bytes: _, http }| ReplayBodies { max_bytes: bytes, http })
    }

    /// Sets the label of a request's partition, such as its tenant, in the events of retries and give-ups. The closure
    /// runs for those alone.
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
    /// `Request<B>` and no [`ReplayBody`](crate::retry::ReplayBody).
    ///
    /// With a custom classifier this is [`new`](RetryLayer::new) for HTTP: a [`Deadline`](crate::retry::Deadline) in
    /// the request counts, attempts are numbered, responses carry a [`RetryReport`](crate::retry::RetryReport), and
    /// only idempotent requests are repeated.
    ///
    /// Set [`idempotent`](Self::idempotent) and [`partition_label`](Self::partition_label) before.
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
