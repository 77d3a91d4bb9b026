use reqwest::Error;

use super::{Fact, Weight, in_flight, no_connection, own_fault};
use crate::classify::error::chain::{Link, downcast};
use crate::classify::http::status;
use crate::classify::{Class, Health, Processed, Reason, Verdict};

pub(in crate::classify::error) fn fact(link: Link<'_>, _connecting: bool) -> Option<Fact> {
    let error = downcast::<Error>(link)?;
    Some(if error.is_builder() {
        Fact::Known(Weight::Request, own_fault(Processed::No))
    } else if let Some(status) = error.status() {
        // From `error_for_status`: the headers are gone, and with them the server's hints.
        Fact::Known(Weight::InFlight, status::default_verdict(status, &http::HeaderMap::new()))
    } else if error.is_dns() {
        no_connection(Reason::DNS)
    } else if error.is_connect() {
        no_connection(Reason::CONNECT)
    } else if error.is_timeout() {
        in_flight(Reason::TIMEOUT)
    } else if error.is_redirect() {
        // The server did what it does for every client: it keeps redirecting.
        let verdict = Verdict::new(Class::Terminal).with_processed(Processed::Maybe).with_health(Health::Success);
        Fact::Known(Weight::InFlight, verdict.with_reason(Reason::PROTOCOL))
    } else if error.is_decode() || error.is_body() {
        body(error)
    } else {
        return None;
    })
}

/// An answer whose body broke off or made no sense. Reqwest says "body" of a request's as well, but then the fact of
/// hyper underneath is the last word.
fn body(_: &Error) -> Fact {
    Fact::Known(Weight::Body, Verdict::new(Class::Ambiguous).with_reason(Reason::BODY))
}
