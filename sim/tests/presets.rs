//! What each preset is for, in one trouble of the docs.

#![allow(clippy::unwrap_used)] // What is built in is valid.

use std::time::Duration;

use rampart_sim::{Episode, Latency, Load, Process, Report, Upstream, simulate};
use tower::ServiceBuilder;
use tower_rampart::config::{Config, Preset};

const FROM: u64 = 30;
const UNTIL: u64 = 90;

/// Runs the preset, and the defaults with its attempt timeout, through a minute of trouble.
fn run(preset: Preset, load: &Load, upstream: &Upstream, trouble: Episode) -> [Report; 2] {
    let mut defaults = Config::default();
    defaults.retry.attempt_timeout = preset.settings().retry.attempt_timeout;
    let seconds = Duration::from_secs;
    let upstream = upstream.clone().episode(trouble.between(seconds(FROM), seconds(UNTIL)));
    [preset.into(), defaults].map(|config| {
        let stack = |process: Process| {
            let breaker = config.breaker_layer("default").unwrap().seed(process.seed);
            process.watch(&breaker.handle());
            let retry = config.retry_layer("default").unwrap().seed(process.seed);
            ServiceBuilder::new().layer(retry).layer(breaker).service(process.upstream)
        };
        simulate(stack, &load.clone().lasting(seconds(UNTIL + 60)), &upstream, 1)
    })
}

fn requests_in_trouble(report: &Report) -> u32 {
    report.seconds[FROM as usize..UNTIL as usize].iter().map(|second| second.attempts).sum()
}

#[test]
fn a_fast_internal_service_is_protected_within_a_second() {
    let upstream = Upstream::new(2, Latency::Fixed(Duration::from_millis(5))).queue(75);
    let [preset, defaults] = run(Preset::FastInternal, &Load::open(10, 20.0), &upstream, Episode::down());
    let opened = [&preset, &defaults].map(|report| report.opened_at().unwrap().as_secs() - FROM);
    assert_eq!(opened, [1, 2]);
    assert!(
        preset.worst_load() < 1.4 && defaults.worst_load() > 1.6,
        "{} {}",
        preset.worst_load(),
        defaults.worst_load()
    );
}

#[test]
fn a_third_party_that_asks_to_wait_gets_few_requests() {
    let upstream = Upstream::new(1_000, Latency::Fixed(Duration::from_millis(300)));
    let throttled = Episode::throttled(1.0, Duration::from_secs(20));
    let [preset, defaults] = run(Preset::ThirdPartyApi, &Load::open(10, 5.0), &upstream, throttled);
    let [preset, defaults] = [&preset, &defaults].map(requests_in_trouble);
    assert!(preset > 0 && 3 * preset < 2 * defaults, "{preset} {defaults}");
}

#[test]
fn every_call_of_a_batch_outlives_an_outage() {
    let upstream = Upstream::new(100, Latency::Fixed(Duration::from_secs(1)));
    let [preset, defaults] = run(Preset::Batch, &Load::open(20, 0.5), &upstream, Episode::down());
    assert_eq!((preset.good, preset.calls > 1_000), (preset.calls, true));
    assert!(defaults.good < defaults.calls * 7 / 10, "{} of {}", defaults.good, defaults.calls);
    let [preset, defaults] = [&preset, &defaults].map(requests_in_trouble);
    assert!(preset < defaults, "{preset} {defaults}");
}
