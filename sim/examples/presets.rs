//! What the presets do in the troubles that they are for, beside the defaults with the same attempt timeout.
//!
//! `cargo run --release -p rampart-sim --example presets`. Its numbers are in `docs/DEFAULTS.md`.

use std::time::Duration;

use rampart_sim::scenario::{self, Scenario};
use rampart_sim::{Episode, Latency, Load, Process, Report, Upstream, simulate};
use tower::ServiceBuilder;
use tower_rampart::config::{Config, Preset};

/// What happens, and for how many seconds.
type Trouble = (&'static str, Episode, u64);

const TROUBLE_FROM: u64 = 30;

fn main() {
    let latency =
        |median, p99| Latency::LogNormal { median: Duration::from_millis(median), p99: Duration::from_millis(p99) };
    let throttled = Episode::throttled(1.0, Duration::from_secs(30));
    let fleets: [(Preset, Load, Upstream, &[Trouble]); 4] = [
        (
            Preset::FastInternal,
            Load::open(100, 20.0),
            Upstream::new(20, latency(5, 20)).queue(750),
            &[
                ("20 times slower for 10 s", Episode::slow(20.0), 10),
                ("down for 10 s", Episode::down(), 10),
                ("half of the answers are errors for 1 min", Episode::errors(0.5), 60),
                ("ten replicas restart, 1 s each", Episode::rolling(10, Duration::from_secs(1)), 10),
            ],
        ),
        (
            Preset::ThirdPartyApi,
            Load::open(10, 5.0),
            Upstream::new(1_000, latency(300, 2_000)),
            &[
                ("10 times slower for 1 min", Episode::slow(10.0), 60),
                ("one in five answers is an error for 1 min", Episode::errors(0.2), 60),
                ("down for 5 min", Episode::down(), 300),
                ("429 with Retry-After: 30, for 5 min", throttled, 300),
            ],
        ),
        (
            Preset::Batch,
            Load::open(20, 0.5),
            Upstream::new(100, latency(1_000, 10_000)),
            &[
                ("10 times slower for 1 min", Episode::slow(10.0), 60),
                ("half of the answers are errors for 1 min", Episode::errors(0.5), 60),
                ("down for 1 min", Episode::down(), 60),
                ("down for 5 min", Episode::down(), 300),
            ],
        ),
        (
            Preset::Batch,
            Load::open(2_000, 1.0),
            Upstream::new(250, Latency::Fixed(Duration::from_millis(100))).queue(7_500),
            &[("the storm of the defaults", Episode::slow(20.0), 10)],
        ),
    ];
    for (preset, load, upstream, troubles) in fleets {
        println!("\n{preset:?}\n{:53} worst load  requests  in trouble  well after", "");
        for trouble in troubles {
            print(preset, &load, &upstream, trouble);
        }
    }
}

fn print(preset: Preset, load: &Load, upstream: &Upstream, (what, episode, seconds): &Trouble) {
    let well_from = TROUBLE_FROM + seconds;
    let (from, until) = (Duration::from_secs(TROUBLE_FROM), Duration::from_secs(well_from));
    let scenario = Scenario {
        load: load.clone().lasting(until + Duration::from_secs(120)),
        upstream: upstream.clone().episode(episode.clone().between(from, until)),
        trouble_from: from,
        well_from: until,
        ..scenario::storm()
    };
    let mut defaults = Config::default();
    defaults.retry.attempt_timeout = preset.settings().retry.attempt_timeout;
    for (name, config) in [("defaults", defaults), ("preset", preset.into())] {
        let report = run(&scenario, &config);
        let seconds = &report.seconds[TROUBLE_FROM as usize..well_from as usize];
        let sum = |of: fn(&rampart_sim::Second) -> u32| seconds.iter().map(|second| f64::from(of(second))).sum::<f64>();
        let requests = sum(|second| second.attempts) / sum(|second| second.calls);
        let well =
            scenario.recovered_after(&report).map_or("never".to_owned(), |after| format!("{} s", after.as_secs()));
        println!(
            "{what:<44} {name:>8} {:>9.2}x {requests:>9.2} {:>10.1}% {well:>11}",
            report.worst_load(),
            100.0 * scenario.goodput_in_trouble(&report)
        );
    }
}

/// Makes the layers anew in each process, because clones share their state.
#[allow(clippy::unwrap_used)] // What is built in is valid.
fn run(scenario: &Scenario, config: &Config) -> Report {
    let stack = |process: Process| {
        let retry = config.retry_layer("default").unwrap().seed(process.seed);
        let breaker = config.breaker_layer("default").unwrap().seed(process.seed);
        ServiceBuilder::new().layer(retry).layer(breaker).service(process.upstream)
    };
    simulate(stack, &scenario.load, &scenario.upstream, 1)
}
