use reqwest::Error;

use super::{Evidence, Precedence, in_flight, invalid_request, no_connection};
use crate::classify::error::chain::{Link, downcast};
use crate::classify::http::status;
use crate::classify::{Class, Health, Processed, Reason, Verdict};

pub(in crate::classify::error) fn evidence(link: Link<'_>, _connecting: bool) -> Option<Evidence> {
    let error = downcast::<Error>(link)?;
    Some(if error.is_builder() {
        invalid_request()
    } else if let Some(status) = error.status() {
        // From `error_for_status`, which drops the headers and so the server's hints.
        Evidence::Known(Precedence::InFlight, status::default_verdict(status, &http::HeaderMap::new()))
    } else if error.is_dns() {
        no_connection(Reason::DNS)
    } else if error.is_connect() {
        no_connection(Reason::CONNECT)
    } else if error.is_timeout() {
        in_flight(Reason::TIMEOUT)
    } else if error.is_redirect() {
        // The server is alive: it keeps redirecting, as for every client.
        let verdict = Verdict::new(Class::Terminal).with_processed(Processed::Maybe).with_health(Health::Success);
        Evidence::Known(Precedence::InFlight, verdict.with_reason(Reason::PROTOCOL))
    } else if error.is_decode() || error.is_body() {
        // The response body was cut off or could not be decoded. Reqwest also reports "body" for a request body, but
        // then hyper's evidence underneath is final.
        Evidence::Known(Precedence::Body, Verdict::new(Class::Ambiguous).with_reason(Reason::BODY))
    } else {
        return None;
    })
}
