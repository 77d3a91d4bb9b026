use std::error::Error as _;

use hyper_util::client::legacy::Error;

use super::{Fact, Weight, no_connection, own_fault, unprocessed};
use crate::classify::error::chain::{Link, downcast};
use crate::classify::{Class, Health, Processed, Reason};

pub(in crate::classify::error) fn fact(link: Link<'_>, connecting: bool) -> Option<Fact> {
    match downcast::<Error>(link) {
        Some(error) => client_fact(error),
        None if connecting => connector_fact(link),
        None => None,
    }
}

fn client_fact(error: &Error) -> Option<Fact> {
    if error.is_connect() {
        return Some(no_connection(Reason::CONNECT));
    }
    match (error.source(), error.connect_info()) {
        // A relative URI, a version or a method that the client does not speak.
        (None, _) => Some(Fact::Known(Weight::Request, own_fault(Processed::No))),
        // The client names the connection from the moment it hands it a request; before, there was only a handshake.
        // Seen in its source and pinned by a test on real sockets: it is nowhere promised.
        (Some(_), None) => {
            Some(Fact::Known(Weight::NeverSent, unprocessed(Class::Transient, Health::Failure, Reason::CONNECT)))
        }
        (Some(_), Some(_)) => None,
    }
}

/// The error of hyper-util's TCP connector has no public type, so its words must do. Both are pinned by tests; were they
/// to change, an unusable address would be taken for an unreachable one, which costs a retry and harms nobody.
fn connector_fact(link: Link<'_>) -> Option<Fact> {
    let words = link.to_string();
    if words.starts_with("invalid URL") {
        Some(Fact::Known(Weight::Request, own_fault(Processed::No)))
    } else if words == "dns error" {
        Some(no_connection(Reason::DNS))
    } else {
        None
    }
}
