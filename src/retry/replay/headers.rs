use http::HeaderMap;
use http::request::Parts;

use super::deadline_header::DeadlineHeader;
use super::grpc_timeout;
use crate::deadline::{Deadline, earliest};

/// The headers that the layer reads from a call and writes into its attempts.
#[derive(Clone, Debug, Default)]
pub(in crate::retry) struct Headers {
    pub(in crate::retry) is_grpc: bool,
    pub(in crate::retry) deadline: Option<DeadlineHeader>,
}

impl Headers {
    /// Returns the deadline of a call: the given one, or an earlier one in its headers.
    pub(super) fn deadline(&self, headers: &HeaderMap, deadline: Option<Deadline>) -> Option<Deadline> {
        let of_grpc = self.is_grpc.then(|| grpc_timeout::read(headers)).flatten().map(Deadline::within);
        let chosen = self.deadline.as_ref().and_then(|header| header.read(headers));
        deadline.into_iter().chain(of_grpc).chain(chosen).min()
    }

    /// Writes the headers of an attempt. Its time limits are in the extensions already.
    pub(super) fn write(&self, head: &mut Parts, deadline: Option<Deadline>) {
        if let Some(deadline) = deadline.filter(|_| self.is_grpc) {
            grpc_timeout::write(&mut head.headers, deadline.remaining());
        }
        if let Some((header, ends)) = self.deadline.as_ref().zip(earliest(&head.extensions)) {
            header.write(&mut head.headers, ends.remaining());
        }
    }
}
