use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::tally::Tally;
use crate::breaker::core::node::Node;
use crate::breaker::{Handle, State, Totals};
use crate::metrics::{Metric, Sample, Source};

/// How many breakers are shown by their label.
const LONGEST_OPEN: usize = 20;

/// What one pass over all breakers finds.
#[derive(Default)]
struct Pass {
    states: [u64; State::ALL.len()],
    totals: Totals,
    longest: Longest,
}

/// The breakers that have not been closed for the longest time, and that time. The longest one first.
#[derive(Default)]
struct Longest(Vec<(Duration, Arc<Node>)>);

impl<K: Hash + Eq + Clone + Debug> Source for Handle<K> {
    fn collect(&self, samples: &mut Vec<Sample>) {
        let tally = &self.observer().tally;
        let mut pass = Pass::default();
        let calls = tally.calls(|| {
            self.breakers().visit(|node| pass.see(node));
            pass.totals
        });
        pass.count_closed(self.breakers().count());
        let mut add = |metric, labels: &[(&'static str, &str)], value: f64| {
            samples.push(Sample::new(metric, self.name(), labels, value));
        };
        for (state, breakers) in State::ALL.into_iter().zip(pass.states) {
            add(Metric::BREAKER_PARTITIONS, &[("state", state.as_str())], breakers as f64);
        }
        for (outcome, calls) in Tally::OUTCOMES.into_iter().zip(calls) {
            add(Metric::BREAKER_CALLS, &[("outcome", outcome)], calls as f64);
        }
        for (from, to, cause, changes) in tally.transitions() {
            let labels = [("from", from.as_str()), ("to", to.as_str()), ("cause", cause.as_str())];
            add(Metric::BREAKER_TRANSITIONS, &labels, changes as f64);
        }
        for (result, probes) in tally.probes() {
            add(Metric::BREAKER_PROBES, &[("result", result)], probes as f64);
        }
        add(Metric::BREAKER_OVERFLOWED, &[], self.overflowed() as f64);
        for (time, node) in &pass.longest.0 {
            add(Metric::BREAKER_OPEN, &[("partition", node.label())], time.as_secs_f64());
        }
    }
}

impl Pass {
    fn see(&mut self, node: &Arc<Node>) {
        self.states[node.state_without_lock() as usize] += 1;
        let Totals { succeeded, failed, rejected, .. } = node.totals_without_transitions();
        self.totals.succeeded = self.totals.succeeded.wrapping_add(succeeded);
        self.totals.failed = self.totals.failed.wrapping_add(failed);
        self.totals.rejected = self.totals.rejected.wrapping_add(rejected);
        if let Some(time) = node.open_since() {
            self.longest.see(time, node);
        }
    }

    /// Counts all others as closed, as are most of those that a pass misses because they are made or evicted meanwhile.
    fn count_closed(&mut self, all: usize) {
        let others = self.states.iter().sum::<u64>() - self.states[State::Closed as usize];
        self.states[State::Closed as usize] = (all as u64).saturating_sub(others);
    }
}

impl Longest {
    fn see(&mut self, time: Duration, node: &Arc<Node>) {
        let place = self.0.partition_point(|(longer, _)| *longer >= time);
        if place < LONGEST_OPEN {
            self.0.insert(place, (time, node.clone()));
            self.0.truncate(LONGEST_OPEN);
        }
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use std::sync::mpsc;

    use crate::CircuitBreakerLayer;
    use crate::metrics::prometheus_text;

    const LONG: std::time::Duration = std::time::Duration::from_secs(60);

    #[test]
    fn to_read_waits_for_no_lock_of_a_breaker() {
        let layer = CircuitBreakerLayer::new_for_http().open_for(std::time::Duration::MAX).consecutive_failures(1);
        layer.breaker().try_acquire().unwrap().fail();
        let (done, is_done) = mpsc::channel();
        layer.breaker().node().while_locked(|| {
            let breakers = layer.handle();
            std::thread::spawn(move || done.send(prometheus_text(&[&breakers])));
            let text = is_done.recv_timeout(LONG).unwrap();
            assert!(text.contains(r#"rampart_breaker_open_seconds{name="default",partition="(default)"} 0"#), "{text}");
            assert!(text.contains(r#"rampart_breaker_partitions{name="default",state="open"} 1"#), "{text}");
        });
    }
}
