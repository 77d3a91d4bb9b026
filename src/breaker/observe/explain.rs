//! What a breaker does and why, in two or three sentences with numbers.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use crate::breaker::control::circuit_open::Subject;
use crate::breaker::core::node::Node;
use crate::breaker::core::policy::Outage;
use crate::breaker::core::trip;
use crate::breaker::{Cause, CircuitBreaker, CircuitOpen, Handle, Mode, Snapshot, State, Trip};
use crate::explain::sentence::{count, list, sentences};

impl CircuitBreaker {
    /// Explains in two or three sentences with numbers what the breaker does now, and what it has seen: what opened it,
    /// or how near to each of its limits it is while closed.
    ///
    /// ```
    /// use tower_rampart::breaker::CircuitBreaker;
    ///
    /// let breaker = CircuitBreaker::builder().name("billing").consecutive_failures(5).build();
    /// let _ = breaker.call(|| Err::<(), _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
    /// println!("{}", breaker.explain());
    /// # assert!(breaker.explain().ends_with(
    /// #     "s. 1 call in a row failed (the limit is 5) and 1 of 1 calls failed (100 %, the limit is 90 %). \
    /// #      A rate needs 20 calls in the window, 19 more than now."
    /// # ));
    /// // Circuit breaker "billing" has been closed for 0s. 1 call in a row failed (the limit is 5) and 1 of 1 calls
    /// // failed (100 %, the limit is 90 %). A rate needs 20 calls in the window, 19 more than now.
    /// ```
    #[must_use]
    pub fn explain(&self) -> String {
        let (node, now) = (self.node(), self.snapshot());
        let cause = match (now.mode, now.trip) {
            (Mode::Disabled, _) => Some("It admits every call and counts none.".to_owned()),
            (_, Some(trip)) => Some(trip.explain()),
            (_, None) => of_closed(node, &now),
        };
        sentences(format!("{}{}", Subject(node), doing(&now)), cause)
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
    let mut text = match (now.mode, now.state) {
        (Mode::Disabled, _) => return " is disabled".to_owned(),
        (_, State::Closed) => format!(" has been closed for {}s", now.unchanged_for.as_secs()),
        (_, state) => format!(" is {state}"),
    };
    if !matches!(now.mode, Mode::Automatic | Mode::ForcedOpen) {
        text += &format!(", in the mode \"{}\"", now.mode);
    }
    let Some(time) = now.open_since.map(|time| time.as_secs()) else { return text };
    text += &match now.openings {
        0 | 1 => format!(" and has not been closed for {time}s"),
        openings => format!(", has not been closed for {time}s and has opened {openings} times"),
    };
    match (now.state, now.retry_after, now.remaining_probes) {
        (State::Open, Some(wait), _) => text += &format!("; next probe in {wait:?}"),
        (State::HalfOpen, _, Some(probes)) => text += &format!("; it admits {} now", count(probes, "more probe")),
        _ => {}
    }
    text
}

/// What a closed breaker has seen against each of its limits, the nearest one first.
fn of_closed(node: &Node, now: &Snapshot) -> Option<String> {
    let policy = node.policy();
    let votes = policy.votes.filter(|_| node.is_outer());
    let (minimum, noun) = votes.map_or((policy.minimum_calls, "call"), |votes| (votes.minimum.into(), "partition"));
    let rate = |cause, bad| {
        let trip = Trip::new(trip::Trip { cause, calls: now.calls, bad }, policy);
        Some((share(now.calls as f64, minimum as f64) * share(trip.rate(), trip.limit?), trip.to_string()))
    };
    let row = now.consecutive_failures;
    let limits = match votes {
        Some(_) => vec![rate(Cause::PartitionsOpen, now.failures)],
        None => vec![
            rate(Cause::FailureRate, now.failures),
            rate(Cause::SlowRate, now.slow),
            policy.consecutive_failures.map(|limit| of_row(limit, row)),
            policy.outage.map(|outage| of_outage(outage, row, node.failing_for())),
        ],
    };
    let mut limits: Vec<_> = limits.into_iter().flatten().collect();
    limits.sort_by(|one, other| other.0.total_cmp(&one.0));
    let limits: Vec<_> = limits.into_iter().map(|(_, text)| text).collect();
    let needed = match (minimum.saturating_sub(now.calls), node.unanimous_for()) {
        (0, Duration::ZERO) => None,
        (0, time) => {
            let seconds = time.as_secs_f64().ceil();
            Some(format!("For the next {seconds}s it opens only if all of them keep failing."))
        }
        (missing, _) => Some(format!("A rate needs {} in the window, {missing} more than now.", count(minimum, noun))),
    };
    list(&limits).map(|limits| sentences(limits, needed))
}

/// How much of a limit of consecutive failures is reached, and in words.
fn of_row(limit: u32, row: u32) -> (f64, String) {
    (share(row.into(), limit.into()), format!("{} in a row failed (the limit is {limit})", count(row, "call")))
}

/// The same for an outage, of which the first failure was so long ago.
fn of_outage(Outage { failures, lasting }: Outage, row: u32, ago: Duration) -> (f64, String) {
    let reached = share(row.into(), failures.into()) * share(ago.as_secs_f64(), lasting.as_secs_f64());
    let first = if row == 0 { String::new() } else { format!(", the first {}s ago", ago.as_millis() as f64 / 1e3) };
    (reached, format!("{} in a row failed{first} (an outage is {failures} over {lasting:?})", count(row, "call")))
}

/// How much of a limit is reached, at most 1.
fn share(part: f64, limit: f64) -> f64 {
    (part / limit).min(1.0)
}
