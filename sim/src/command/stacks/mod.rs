//! The stacks that a scenario is run through. Each has four attempts of a second at most.

#[cfg(feature = "peers")]
mod peers;
mod rampart;

use std::io::IsTerminal;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use rampart_sim::scenario::Scenario;
use rampart_sim::{Process, Progress, Report, simulate_with};
use tower::Service;

pub(crate) use self::rampart::tuned;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    /// One word, as in `--stack` and in the goals of a scenario.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What a reader must know to judge the row.
    pub(crate) note: Option<&'static str>,
    run: fn(&Scenario, u64) -> Report,
}

/// What became of one stack in a scenario.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stack: Stack,
    pub(crate) report: Report,
}

pub(crate) const ATTEMPTS: u32 = 4;
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(feature = "peers")]
const PEERS: &[Stack] = &peers::STACKS;
#[cfg(not(feature = "peers"))]
const PEERS: &[Stack] = &[];

/// All stacks, in the order of the table.
pub(crate) fn all() -> impl Iterator<Item = Stack> {
    rampart::STACKS.iter().chain(PEERS).copied()
}

/// Runs one stack through a scenario, and shows on a terminal how far it is.
fn run<S, B>(scenario: &Scenario, seed: u64, stack: impl Fn(Process) -> S) -> Report
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + 'static,
{
    let is_watched = std::io::stderr().is_terminal();
    let report = simulate_with(stack, &scenario.load, &scenario.upstream, seed, |Progress { at, of, .. }| {
        if is_watched {
            eprint!("\r{}: second {} of {} ", scenario.name, at.as_secs(), of.as_secs());
        }
    });
    if is_watched {
        // Clears the line.
        eprint!("\r\x1b[K");
    }
    report
}

impl Stack {
    pub(crate) fn is_peer(self) -> bool {
        PEERS.iter().any(|peer| peer.name == self.name)
    }

    pub(crate) fn run(self, scenario: &Scenario, seed: u64) -> Run {
        Run { stack: self, report: (self.run)(scenario, seed) }
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
            let Run { report, .. } = stack.run(&calm, 1);
            assert!(report.calls > 100 && report.good == report.calls, "{}: {report:?}", stack.name);
            assert_eq!(report.attempts, report.calls, "{}", stack.name);
            assert_eq!(report.opened_at(), None, "{}", stack.name);
        }
    }
}
