//! The stacks that a scenario is run through. Each has four attempts of a second at most.

#[cfg(feature = "peers")]
mod peers;
mod rampart;

use std::time::Duration;

use rampart_sim::Report;
use rampart_sim::scenario::Scenario;

pub(crate) use self::rampart::tuned;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    /// One word, as in `--stack` and in the goals of a scenario.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What a reader must know to judge the row.
    pub(crate) note: Option<&'static str>,
    run: fn(&Scenario, u64) -> (Report, Option<u64>),
}

/// What became of one stack in a scenario.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stack: Stack,
    pub(crate) report: Report,
    /// How often a breaker opened, where that is known.
    pub(crate) openings: Option<u64>,
}

pub(crate) const ATTEMPTS: u32 = 4;
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// The stack that others are compared with.
pub(crate) const NO_RETRIES: &str = "no-retries";

#[cfg(feature = "peers")]
const PEERS: &[Stack] = &peers::STACKS;
#[cfg(not(feature = "peers"))]
const PEERS: &[Stack] = &[];

/// All stacks, in the order of the table.
pub(crate) fn all() -> impl Iterator<Item = Stack> {
    rampart::STACKS.iter().chain(PEERS).copied()
}

impl Stack {
    pub(crate) fn is_peer(self) -> bool {
        PEERS.iter().any(|peer| peer.name == self.name)
    }

    pub(crate) fn run(self, scenario: &Scenario, seed: u64) -> Run {
        let (report, openings) = (self.run)(scenario, seed);
        Run { stack: self, report, openings }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rampart_sim::scenario;

    use super::*;

    #[test]
    fn every_stack_has_a_name_of_its_own_and_every_goal_names_a_stack() {
        let names: HashSet<&str> = all().map(|stack| stack.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(names.contains(NO_RETRIES));
        for scenario in scenario::names().filter_map(scenario::built_in) {
            for name in scenario.expect.keys() {
                assert!(names.contains(name.as_str()), "{}: no stack {name}", scenario.name);
            }
        }
    }

    #[test]
    fn every_stack_answers_a_calm_load() {
        let text =
            "[load]\nprocesses = 20\ncalls_per_second = 1\nduration = '10s'\n[upstream]\nservers = 10\nwork = '50ms'";
        let calm = Scenario::parse("calm", "calm.toml", text).unwrap();
        for stack in all() {
            let Run { report, openings, .. } = stack.run(&calm, 1);
            assert!(report.calls > 100 && report.good == report.calls, "{}: {report:?}", stack.name);
            assert_eq!(report.attempts, report.calls, "{}", stack.name);
            assert_eq!(openings.unwrap_or(0), 0, "{}", stack.name);
        }
    }
}
