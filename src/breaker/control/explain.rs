//! What a breaker does and why, in two sentences with numbers.

use std::fmt::Debug;
use std::hash::Hash;

use super::circuit_open::Subject;
use super::trip::percent;
use crate::breaker::core::node::Node;
use crate::breaker::{CircuitBreaker, CircuitOpen, Handle, Mode, Snapshot, State};
use crate::sentence::{count, sentences};

impl CircuitBreaker {
    /// Explains in two sentences with numbers what the breaker does now, and what it has seen.
    ///
    /// ```
    /// use tower_rampart::breaker::CircuitBreaker;
    ///
    /// let breaker = CircuitBreaker::builder().name("billing").build();
    /// let _ = breaker.call(|| Err::<(), _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
    /// assert_eq!(
    ///     breaker.explain(),
    ///     "Circuit breaker \"billing\" is closed. \
    ///      1 of 1 calls in its window failed (100 %), and it opens at 90 % of at least 20."
    /// );
    /// ```
    #[must_use]
    pub fn explain(&self) -> String {
        let (node, now) = (self.node(), self.snapshot());
        let cause = match (now.mode, now.trip) {
            (Mode::Disabled, _) => "It admits every call and counts none.".to_owned(),
            (_, Some(trip)) => trip.explain(),
            (_, None) => of_closed(node, &now),
        };
        sentences(format!("{}{}", Subject(node), doing(&now)), Some(cause))
    }
}

impl<K: Hash + Eq + Clone + Debug> Handle<K> {
    /// [`CircuitBreaker::explain`] for a key, if it has a breaker.
    #[must_use]
    pub fn explain(&self, key: &K) -> Option<String> {
        self.get(key).map(|breaker| breaker.explain())
    }
}

impl CircuitOpen {
    pub(crate) fn explain(&self) -> String {
        sentences(self, self.trip().map(|trip| trip.explain()))
    }
}

/// The predicate of a sentence about the breaker.
fn doing(now: &Snapshot) -> String {
    let mut text = match now.mode {
        Mode::Automatic | Mode::ForcedOpen => format!(" is {}", now.state),
        Mode::Disabled => return " is disabled".to_owned(),
        mode => format!(" is {}, in the mode \"{mode}\"", now.state),
    };
    let Some(time) = now.open_since else { return text };
    text += &match now.openings {
        0 | 1 => format!(" and has not been closed for {time:?}"),
        openings => format!(", has not been closed for {time:?} and has opened {openings} times"),
    };
    match (now.state, now.retry_after, now.remaining_probes) {
        (State::Open, Some(wait), _) => text += &format!("; next probe in {wait:?}"),
        (State::HalfOpen, _, Some(probes)) => text += &format!("; it admits {} now", count(probes, "more probe")),
        _ => {}
    }
    text
}

fn of_closed(node: &Node, now: &Snapshot) -> String {
    let policy = node.policy();
    let Snapshot { calls, failures, .. } = now;
    let rate = percent(now.failure_rate);
    let (what, limit, minimum) = match policy.votes {
        Some(votes) if node.is_outer() => ("partitions", votes.share, votes.minimum.into()),
        _ => ("calls", policy.failure_rate, policy.minimum_calls),
    };
    let limit = percent(limit);
    format!(
        "{failures} of {calls} {what} in its window failed ({rate}), and it opens at {limit} of at least {minimum}."
    )
}
