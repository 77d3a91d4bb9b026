//! The settings of both ways to keep an HTTP request.

use http::request::Parts;

use super::RetryLayer;
use crate::registry::partition::Keyed;
use crate::retry::headers::{DeadlineHeader, RetryGuard};
use crate::retry::observe::PartitionLabel;
use crate::retry::replay::{CloneBodies, ReplayBodies};

macro_rules! http_settings {
    ($($Replay:ident)+) => {$(
    impl<Classifier, Idempotency, OnRetry, Partition: Keyed>
        RetryLayer<Classifier, $Replay<Idempotency>, OnRetry, Partition>
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
        ) -> RetryLayer<Classifier, $Replay<Predicate>, OnRetry, Partition> {
            self.map_replay(|replay| replay.idempotency(predicate))
        }

        /// Sets the label of a request's partition, such as its tenant, in the events of retries and give-ups. The
        /// closure runs for those alone.
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
            self.map_replay(|mut replay| {
                replay.http.partition_label = Some(PartitionLabel::new(label));
                replay
            })
        }

        /// Sends with every attempt how long this side still waits for its answer, so that the server can stop working
        /// when no answer is wanted: the time until the deadline of the call or the end of the attempt, whichever comes
        /// first. A call without any limit does not send it.
        ///
        /// The value is rounded down to the header's unit. It is never zero, which some servers read as "no limit":
        /// less than one unit is sent as one.
        ///
        /// A header of this name that a request has already is a deadline of the whole call. Of several such headers
        /// the first is read. The earliest of all deadlines counts, and the attempts send what remains of it.
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
            self.map_replay(|mut replay| {
                replay.http.headers.get_or_insert_default().deadline = Some(header);
                replay
            })
        }

        /// Keeps the tiers of a system from multiplying each other's retries.
        ///
        /// Three tiers of three attempts send up to 27 requests to the bottom for one call. With a guard in each tier
        /// it is five, and three if their servers also mark their answers with
        /// [`StopRetries`](crate::retry::StopRetries). If the bottom refuses connections, the tier next to it still
        /// makes all of its attempts, because none of them reaches a server: up to 15 for one call.
        ///
        /// - Every attempt carries its number, `x-retry-attempt`, and how many tiers may retry it, `x-retry-depth`;
        ///   over gRPC a retry also has `grpc-previous-rpc-attempts`.
        /// - A server reads these headers, and `x-envoy-attempt-count`, with
        ///   [`InboundRetries::from_headers`](crate::retry::InboundRetries::from_headers), and puts the result into the
        ///   extensions of the requests that it sends for that call. Nothing is read otherwise.
        /// - A call for an inbound retry, or below too many tiers that retry, makes one attempt
        ///   ([`GiveUp::RetriedAbove`](crate::retry::GiveUp::RetriedAbove)), unless no server answered
        ///   it and it provably was not processed.
        ///
        /// Within one process, one guarded layer is enough: a second one inside of it, on the same request, overwrites
        /// its marks and counts the attempts from 1 again. Where a server calls its upstream in the same process, it
        /// hands the [`InboundRetries`](crate::retry::InboundRetries) on as over a socket.
        ///
        /// ```
        /// use tower_rampart::RetryLayer;
        /// use tower_rampart::retry::RetryGuard;
        ///
        /// let layer = RetryLayer::new_for_http().guard(RetryGuard::new());
        /// # let _ = layer;
        /// ```
        #[must_use]
        pub fn guard(self, guard: RetryGuard) -> Self {
            self.map_replay(|mut replay| {
                replay.http.headers.get_or_insert_default().guard = Some(guard);
                replay
            })
        }
    }
    )+};
}

http_settings!(ReplayBodies CloneBodies);
