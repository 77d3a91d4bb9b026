use hyper::Error;

use super::{Class, Fact, Health, Link, Processed, Reason, Verdict, Weight, in_flight, own_fault, unprocessed};

pub(super) fn fact(link: Link<'_>, _connecting: bool) -> Option<Fact> {
    let error = link.downcast_ref::<Error>()?;
    Some(if error.is_user() {
        // The request body failed. Its error may itself come from a call, to another server, that was judged: that
        // is not what became of this one.
        Fact::Final(own_fault(Processed::Maybe))
    } else if error.is_canceled() {
        // Hyper hands the request back unsent. What it wraps is why the connection ended before.
        Fact::Known(Weight::NeverSent, unprocessed(Class::Transient, Health::Neutral, Reason::CANCELED))
    } else if error.is_closed() {
        Fact::Known(Weight::NeverSent, unprocessed(Class::Transient, Health::Failure, Reason::CONNECT))
    } else if error.is_parse() {
        Fact::Known(Weight::InFlight, Verdict::new(Class::Ambiguous).with_reason(Reason::PROTOCOL))
    } else if error.is_incomplete_message() {
        in_flight(Reason::INCOMPLETE)
    } else if error.is_timeout() {
        in_flight(Reason::TIMEOUT)
    } else {
        return None;
    })
}
