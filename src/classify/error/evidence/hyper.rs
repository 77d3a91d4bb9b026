use hyper::Error;

use super::{Evidence, Precedence, in_flight, own_fault, unprocessed};
use crate::classify::error::RequestBodyFailed;
use crate::classify::error::chain::{Link, downcast, find};
use crate::classify::{Class, Health, Processed, Reason, Verdict};

pub(in crate::classify::error) fn evidence(link: Link<'_>, _connecting: bool) -> Option<Evidence> {
    let error = downcast::<Error>(link)?;
    Some(if error.is_user() {
        // Final: a request body may fail because of a call to another server, which was judged. That is not what became
        // of this call.
        Evidence::Final(if own_body_failed(error) { own_fault(Processed::Maybe) } else { DISPATCH_GONE })
    } else if error.is_canceled() {
        // Hyper hands the request back unsent. What it wraps is why the connection ended before. Hyper-util repeats such
        // a request itself on a connection that was used before, so this one was fresh: the upstream accepts connections
        // and closes them, which is a failure.
        Evidence::Known(Precedence::NeverSent, unprocessed(Class::Transient, Health::Failure, Reason::CANCELED))
    } else if error.is_closed() {
        Evidence::Known(Precedence::NeverSent, unprocessed(Class::Transient, Health::Failure, Reason::CONNECT))
    } else if error.is_parse() {
        Evidence::Known(Precedence::InFlight, Verdict::new(Class::Ambiguous).with_reason(Reason::PROTOCOL))
    } else if error.is_incomplete_message() {
        in_flight(Reason::INCOMPLETE)
    } else if error.is_timeout() {
        in_flight(Reason::TIMEOUT)
    } else {
        return None;
    })
}

/// The task of the connection ended and dropped the request: a GOAWAY came while the request waited for its stream, or the
/// runtime shut down. Hyper calls this a user error, too.
const DISPATCH_GONE: Verdict =
    Verdict::new(Class::Transient).with_health(Health::Neutral).with_reason(Reason::DISPATCH_GONE);

/// Whether a user error of hyper is about the request body.
///
/// A replay body says so itself. Of any other body only hyper's words tell, which a test pins. Were they to change, a body
/// that failed would be taken for a request that was dropped, which may have been processed as well.
fn own_body_failed(error: &Error) -> bool {
    error.is_body_write_aborted()
        || find::<RequestBodyFailed>(error).is_some()
        || error.to_string() == "error from user's Body stream"
}
