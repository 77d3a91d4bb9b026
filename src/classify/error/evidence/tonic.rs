use std::error::Error as _;

use tonic::{ConnectError, Status, TimeoutExpired};

use super::{Evidence, Precedence, in_flight, no_connection};
use crate::classify::Reason;
use crate::classify::error::chain::Link;
use crate::classify::grpc::code;

pub(in crate::classify::error) fn evidence(link: Link<'_>, _connecting: bool) -> Option<Evidence> {
    if link.is::<ConnectError>() {
        Some(no_connection(Reason::CONNECT))
    } else if link.is::<TimeoutExpired>() {
        Some(in_flight(Reason::TIMEOUT))
    } else {
        // A status that tonic made from a transport error has lost the cause. Its source still has it.
        let status = link.downcast_ref::<Status>().filter(|status| status.source().is_none())?;
        Some(Evidence::Known(Precedence::InFlight, code::verdict(status.code() as u16)))
    }
}
