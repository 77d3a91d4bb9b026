//! What the errors of each library prove about a call.
//!
//! Each library has a file with a function `evidence`. [`judge`](super::judge) combines the evidence of a whole chain.

#[cfg(feature = "h2")]
pub(super) mod h2;
#[cfg(feature = "hyper")]
pub(super) mod hyper;
#[cfg(feature = "hyper")]
pub(super) mod hyper_util;
pub(super) mod io;
pub(super) mod own;
#[cfg(feature = "reqwest")]
pub(super) mod reqwest;
#[cfg(feature = "rustls")]
pub(super) mod rustls;
#[cfg(feature = "tonic")]
pub(super) mod tonic;
pub(super) mod tower;

use crate::classify::{Class, Health, Processed, Reason, Verdict};

/// What one link of a chain proves.
pub(super) enum Evidence {
    /// Ends the walk: what lies underneath is about another call, or was judged already.
    Final(Verdict),
    /// A verdict that stronger evidence replaces, or equal evidence deeper in the chain.
    Known(Precedence, Verdict),
}

/// The strength of evidence, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precedence {
    /// The call may have reached the server.
    InFlight,
    /// The response had started, and its body was cut off.
    #[cfg(feature = "reqwest")]
    Body,
    /// The call provably did not reach the server.
    NeverSent,
    /// No connection was made. Clients report failures of TLS and most invalid addresses like this too, so those are
    /// stronger.
    Connect,
    /// The client cannot send such a request at all.
    #[cfg(feature = "hyper")]
    Request,
    /// TLS failed for good.
    Tls,
}

/// The call failed on a connection: another attempt may succeed, and the server may have seen this one.
const fn in_flight(reason: Reason) -> Evidence {
    Evidence::Known(Precedence::InFlight, Verdict::new(Class::Transient).with_reason(reason))
}

/// No connection was made: a failure of the upstream.
const fn no_connection(reason: Reason) -> Evidence {
    Evidence::Known(Precedence::Connect, unprocessed(Class::Transient, Health::Failure, reason))
}

/// The call provably did not reach the server.
const fn never_sent(health: Health, reason: Reason) -> Evidence {
    Evidence::Known(Precedence::NeverSent, unprocessed(Class::Transient, health, reason))
}

/// The client cannot send such a request at all.
#[cfg(feature = "hyper")]
const fn invalid_request() -> Evidence {
    Evidence::Known(Precedence::Request, own_fault(Processed::No))
}

/// TLS failed for good, before the request was sent.
const fn tls_failed() -> Evidence {
    Evidence::Known(Precedence::Tls, unprocessed(Class::Terminal, Health::Failure, Reason::TLS))
}

const fn unprocessed(class: Class, health: Health, reason: Reason) -> Verdict {
    Verdict::new(class).with_processed(Processed::No).with_health(health).with_reason(reason)
}

/// The caller is at fault: every other attempt will fail too, and the upstream is not to blame.
const fn own_fault(processed: Processed) -> Verdict {
    Verdict::new(Class::Terminal).with_processed(processed).with_health(Health::Neutral).with_reason(Reason::USER)
}
