//! What the errors of each library tell about a call.
//!
//! A library has a file, and a file has a `evidence`. [`judge`](super::judge) makes one verdict of the facts of a whole chain.

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

/// What one link tells.
pub(super) enum Evidence {
    /// The last word: whatever lies underneath is about something else, or was judged already.
    Final(Verdict),
    /// A verdict that a weightier one, or one as weighty and deeper in the chain, replaces.
    Known(Precedence, Verdict),
}

/// Which evidence of a chain counts, the last of these most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precedence {
    /// The call may have reached the server.
    InFlight,
    /// The answer had begun, and its body broke off.
    #[cfg(feature = "reqwest")]
    Body,
    /// The call provably did not.
    NeverSent,
    /// No connection was made. Also said of every failure of TLS and of most unusable addresses, so those weigh more.
    Connect,
    /// The request could not have been sent by this client at all.
    #[cfg(feature = "hyper")]
    Request,
    /// TLS failed for a reason that stays.
    Tls,
}

/// It may go away by itself, and the server may have seen it.
const fn in_flight(reason: Reason) -> Evidence {
    Evidence::Known(Precedence::InFlight, Verdict::new(Class::Transient).with_reason(reason))
}

/// No connection was made, which says nothing good of the server.
const fn no_connection(reason: Reason) -> Evidence {
    Evidence::Known(Precedence::Connect, unprocessed(Class::Transient, Health::Failure, reason))
}

const fn unprocessed(class: Class, health: Health, reason: Reason) -> Verdict {
    Verdict::new(class).with_processed(Processed::No).with_health(health).with_reason(reason)
}

/// The caller's own doing: no other attempt will fare better, and the server is not to blame.
const fn own_fault(processed: Processed) -> Verdict {
    Verdict::new(Class::Terminal).with_processed(processed).with_health(Health::Neutral).with_reason(Reason::USER)
}
