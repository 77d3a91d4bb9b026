//! Loopback servers that misbehave, and the clients that suffer them.

pub(crate) mod client;
pub(crate) mod frames;
pub(crate) mod server;
pub(crate) mod tls;

use std::error::Error;

use tower_rampart::classify::{Class, Health, Processed, Verdict};

/// What a test asserts of a verdict: class, processed, health and reason.
pub(crate) type Facts = (Class, Processed, Health, &'static str);

pub(crate) fn facts(verdict: Verdict) -> Facts {
    (verdict.class(), verdict.processed(), verdict.health(), verdict.reason().as_str())
}

/// The facts of an error. Printed with its chain, so that a row that today's crates contradict explains itself.
pub(crate) fn facts_of(error: &(dyn Error + 'static)) -> Facts {
    println!("{error:?}");
    facts(Verdict::of_error(error))
}

/// The first error of this type in the chain.
pub(crate) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |&link| link.source()).find_map(|link| link.downcast_ref())
}
