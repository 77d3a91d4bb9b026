use hyper::Error;

use super::{Evidence, Precedence, in_flight, never_sent, own_fault};
use crate::classify::error::RequestBodyFailed;
use crate::classify::error::chain::{Link, downcast, find};
use crate::classify::{Class, Health, Processed, Reason, Verdict};

pub(in crate::classify::error) fn evidence(link: Link<'_>, _connecting: bool) -> Option<Evidence> {
    let error = downcast::<Error>(link)?;
    Some(if error.is_user() {
        // Final: a request body may fail because of a call to another server. Its verdict is not about this call.
        Evidence::Final(if own_body_failed(error) { own_fault(Processed::Maybe) } else { DISPATCH_GONE })
    } else if error.is_canceled() {
        // Hyper returns the request unsent; its source is why the connection had closed. Hyper-util itself resends a
        // request on a reused connection, so this one was fresh: the upstream accepts connections and closes them,
        // which is a failure.
        never_sent(Health::Failure, Reason::CANCELED)
    } else if error.is_closed() {
        never_sent(Health::Failure, Reason::CONNECT)
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

/// The connection task ended and dropped the request: a GOAWAY arrived while the request waited for a stream, or the
/// runtime shut down. Hyper reports this as a user error too.
const DISPATCH_GONE: Verdict =
    Verdict::new(Class::Transient).with_health(Health::Neutral).with_reason(Reason::DISPATCH_GONE);

/// Returns true if a user error of hyper is about the request body.
///
/// A replay body marks its own failure. For any other body only the text of hyper's error shows it, which a test pins.
/// If the text changes, a failed body counts as a dropped request, which may have been processed as well.
fn own_body_failed(error: &Error) -> bool {
    error.is_body_write_aborted()
        || find::<RequestBodyFailed>(error).is_some()
        || error.to_string() == "error from user's Body stream"
}
