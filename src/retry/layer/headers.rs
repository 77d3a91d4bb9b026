//! The headers that the layer writes into HTTP requests.

use super::RetryLayer;
use crate::retry::replay::{DeadlineHeader, ReplayBodies};

impl<Classifier, Idempotency, OnRetry> RetryLayer<Classifier, ReplayBodies<Idempotency>, OnRetry> {
    /// Sends with every attempt how long this side still waits for its answer, so that the server can stop working when no
    /// answer is wanted: the time until the deadline of the call or the end of the attempt, whichever comes first. A call
    /// without any limit does not send it.
    ///
    /// The value is rounded down to the header's unit. It is never zero, which some servers read as "no limit": less than one
    /// unit is sent as one.
    ///
    /// A header of this name that a request has already is a deadline of the whole call. The earliest of all deadlines counts,
    /// and the attempts send what remains of it.
    ///
    /// Over gRPC, `grpc-timeout` carries the deadline of the call without this setting.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::RetryLayer;
    /// use tower_rampart::retry::DeadlineHeader;
    ///
    /// let layer = RetryLayer::new_for_http()
    ///     .attempt_timeout(Duration::from_secs(2))
    ///     .deadline(Duration::from_secs(5))
    ///     .deadline_header(DeadlineHeader::milliseconds("x-request-timeout-ms"));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn deadline_header(self, header: DeadlineHeader) -> Self {
        self.map_replay(|ReplayBodies { max_bytes, mut http }| {
            http.headers.get_or_insert_default().deadline = Some(header);
            ReplayBodies { max_bytes, http }
        })
    }
}
