//! The headers beside the body: time limits and numbers of attempts, from callers and to servers.

mod deadline_header;
mod grpc_timeout;
mod guard;
mod header_name;
mod numbers;
mod stop_retries;

use http::request::Parts;
use http::{Extensions, HeaderMap};

use crate::call::attempt::Attempt;
use crate::call::deadline::{Deadline, earliest};

pub use self::deadline_header::DeadlineHeader;
pub use self::guard::{InboundRetries, RetryGuard};
pub use self::stop_retries::StopRetries;

/// The headers that the layer reads from a call and writes into its attempts.
#[derive(Clone, Debug, Default)]
pub(in crate::retry) struct Headers {
    pub(in crate::retry) is_grpc: bool,
    pub(in crate::retry) deadline: Option<DeadlineHeader>,
    pub(in crate::retry) guard: Option<RetryGuard>,
}

impl Headers {
    /// Returns the deadline of a call: the given one, or an earlier one in its headers.
    #[inline(always)]
    pub(in crate::retry) fn deadline(&self, headers: &HeaderMap, deadline: Option<Deadline>) -> Option<Deadline> {
        let deadline = match self.is_grpc.then(|| grpc_timeout::read(headers)).flatten() {
            Some(timeout) => earlier(deadline, Deadline::within(timeout)),
            None => deadline,
        };
        match self.deadline.as_ref().and_then(|header| header.read(headers)) {
            Some(chosen) => earlier(deadline, chosen),
            None => deadline,
        }
    }

    /// Writes the headers of an attempt. Its time limits are in the extensions already.
    ///
    /// `more` is true if another attempt can follow.
    pub(in crate::retry) fn write(&self, head: &mut Parts, attempt: Attempt, more: bool, deadline: Option<Deadline>) {
        if let Some(deadline) = deadline.filter(|_| self.is_grpc) {
            grpc_timeout::write(&mut head.headers, deadline.remaining());
        }
        if let Some(header) = &self.deadline {
            if let Some(ends) = earliest(&head.extensions) {
                header.write(&mut head.headers, ends.remaining());
            }
        }
        if let Some(guard) = &self.guard {
            let retries = more || attempt.is_retry();
            guard.write(&mut head.headers, inbound(&head.extensions), attempt, retries, self.is_grpc);
        }
    }

    /// Returns true if the guard forbids to repeat a request with these extensions.
    pub(super) fn is_retried_above(&self, extensions: &Extensions) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.forbids_retries(inbound(extensions)))
    }
}

fn earlier(deadline: Option<Deadline>, other: Deadline) -> Option<Deadline> {
    Some(deadline.map_or(other, |deadline| deadline.min(other)))
}

fn inbound(extensions: &Extensions) -> InboundRetries {
    extensions.get().copied().unwrap_or(InboundRetries::NONE)
}
