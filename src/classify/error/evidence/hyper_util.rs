use std::error::Error as _;

use hyper_util::client::legacy::Error;

use super::{Evidence, invalid_request, never_sent, no_connection};
use crate::classify::error::chain::{Link, downcast};
use crate::classify::{Health, Reason};

pub(in crate::classify::error) fn evidence(link: Link<'_>, connecting: bool) -> Option<Evidence> {
    match downcast::<Error>(link) {
        Some(error) => client_fact(error),
        None if connecting => connector_fact(link),
        None => None,
    }
}

fn client_fact(error: &Error) -> Option<Evidence> {
    if error.is_connect() {
        return Some(no_connection(Reason::CONNECT));
    }
    match (error.source(), error.connect_info()) {
        // A relative URI, or a version or method that the client does not support.
        (None, _) => Some(invalid_request()),
        // The client sets `connect_info` once it hands a request to the connection; before that there is only a
        // handshake. Undocumented, but a test on real sockets pins it.
        (Some(_), None) => Some(never_sent(Health::Failure, Reason::CONNECT)),
        (Some(_), Some(_)) => None,
    }
}

/// The error of hyper-util's TCP connector has no public type, so its text has to do. Tests pin both texts. If they
/// change, an invalid address counts as an unreachable one, which costs a few retries.
fn connector_fact(link: Link<'_>) -> Option<Evidence> {
    let words = link.to_string();
    if words.starts_with("invalid URL") {
        Some(invalid_request())
    } else if words == "dns error" {
        Some(no_connection(Reason::DNS))
    } else {
        None
    }
}
