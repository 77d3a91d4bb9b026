//! Storms that are worth a name.

use std::time::Duration;

use crate::{Episode, Latency, Load, Upstream};

/// A load, an upstream in trouble, and when the trouble is over.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// One word.
    pub name: &'static str,
    /// What happens, in a line.
    pub title: &'static str,
    /// Who calls.
    pub load: Load,
    /// What is called.
    pub upstream: Upstream,
    /// From when on the upstream is well again.
    pub well_from: Duration,
}

/// How long one server works on a request.
const WORK: Duration = Duration::from_millis(100);

/// 2,000 processes, one call a second each; an upstream of 1.25 times that capacity with three seconds of backlog, 20 times
/// slower for ten seconds.
#[must_use]
pub fn storm() -> Scenario {
    overload("storm", "20 times slower for ten seconds", Episode::slow(20.0))
}

/// The same fleet; every connection is refused for ten seconds.
#[must_use]
pub fn outage() -> Scenario {
    overload("outage", "no connection for ten seconds", Episode::down())
}

/// The same fleet; half of the answers are errors for a minute.
#[must_use]
pub fn brown_out() -> Scenario {
    let (from, until) = (Duration::from_secs(30), Duration::from_secs(90));
    let upstream = fleet_upstream().episode(Episode::errors(0.5).between(from, until));
    let title = "half of the answers fail for a minute";
    Scenario { name: "brown-out", title, load: fleet(), upstream, well_from: until }
}

fn overload(name: &'static str, title: &'static str, episode: Episode) -> Scenario {
    let (from, until) = (Duration::from_secs(30), Duration::from_secs(40));
    let upstream = fleet_upstream().episode(episode.between(from, until));
    Scenario { name, title, load: fleet(), upstream, well_from: until }
}

fn fleet() -> Load {
    Load::open(2_000, 1.0).lasting(Duration::from_secs(120))
}

fn fleet_upstream() -> Upstream {
    Upstream::new(250, Latency::Fixed(WORK)).queue(7_500)
}
