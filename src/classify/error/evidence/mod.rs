//! What the errors of each library tell about a call.
//!
//! A library has a file, a file has a `fact`, and [`LIBRARIES`] lists them. How the facts of a whole chain become one
//! verdict is the business of [`judge`](super::judge).

#[cfg(feature = "h2")]
mod h2;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "hyper")]
mod hyper_util;
mod io;
mod own;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "rustls")]
pub(super) mod rustls;
#[cfg(feature = "tonic")]
mod tonic;
pub(super) mod tower;

use std::error::Error;
use std::sync::Arc;

use crate::classify::{Class, Health, Processed, Reason, Verdict};

/// A link of a chain of errors.
pub(super) type Link<'a> = &'a (dyn Error + 'static);

/// What one link tells.
pub(super) enum Fact {
    /// The last word: whatever lies underneath is about something else, or was judged already.
    Final(Verdict),
    /// A verdict that a weightier one, or one as weighty and deeper in the chain, replaces.
    Known(Weight, Verdict),
}

/// Which fact of a chain counts, the last of these most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
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

/// A recogniser. It is told whether a link further out said that the connection was still being made.
type Recognise = fn(Link<'_>, connecting: bool) -> Option<Fact>;

const LIBRARIES: &[Recognise] = &[
    own::fact,
    io::fact,
    tower::fact,
    #[cfg(feature = "hyper")]
    hyper::fact,
    #[cfg(feature = "hyper")]
    hyper_util::fact,
    #[cfg(feature = "h2")]
    h2::fact,
    #[cfg(feature = "rustls")]
    rustls::fact,
    #[cfg(feature = "reqwest")]
    reqwest::fact,
    #[cfg(feature = "tonic")]
    tonic::fact,
];

/// How to reach what lies inside an error that its `source` does not show.
type Inside = for<'a> fn(Link<'a>) -> Option<Link<'a>>;

const INSIDES: &[Inside] = &[
    io::inside,
    shared,
    #[cfg(feature = "h2")]
    h2::inside,
];

pub(super) fn of(link: Link<'_>, connecting: bool) -> Option<Fact> {
    LIBRARIES.iter().find_map(|recognise| recognise(link, connecting))
}

pub(super) fn inside(link: Link<'_>) -> Option<Link<'_>> {
    INSIDES.iter().find_map(|inside| inside(link)).or_else(|| link.source())
}

/// The error of this type that a link is, or that it holds in a `Box` or an `Arc`. Those pass on what the error inside
/// says, its source included, so the chain never shows the error itself.
pub(super) fn downcast<'a, T: Error + 'static>(link: Link<'a>) -> Option<&'a T> {
    link.downcast_ref()
        .or_else(|| link.downcast_ref::<Box<T>>().map(|boxed| &**boxed))
        .or_else(|| link.downcast_ref::<Arc<T>>().map(|shared| &**shared))
}

/// The error in an `Arc` that hides its type.
fn shared(link: Link<'_>) -> Option<Link<'_>> {
    link.downcast_ref::<Arc<dyn Error + Send + Sync>>().map(|shared| &**shared as _)
}

/// It may go away by itself, and the server may have seen it.
const fn in_flight(reason: Reason) -> Fact {
    Fact::Known(Weight::InFlight, Verdict::new(Class::Transient).with_reason(reason))
}

/// No connection was made, which says nothing good of the server.
const fn no_connection(reason: Reason) -> Fact {
    Fact::Known(Weight::Connect, unprocessed(Class::Transient, Health::Failure, reason))
}

const fn unprocessed(class: Class, health: Health, reason: Reason) -> Verdict {
    Verdict::new(class).with_processed(Processed::No).with_health(health).with_reason(reason)
}

/// The caller's own doing: no other attempt will fare better, and the server is not to blame.
const fn own_fault(processed: Processed) -> Verdict {
    Verdict::new(Class::Terminal).with_processed(processed).with_health(Health::Neutral).with_reason(Reason::USER)
}
