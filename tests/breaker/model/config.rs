//! Random settings, and the breakers that they make.

use std::time::Duration;

use crate::support::Breakers;
use proptest::prelude::*;
use tower_rampart::breaker::partition::Unpartitioned;
use tower_rampart::breaker::{Abandoned, CircuitBreaker, Mode, Window};
use tower_rampart::classify::{Health, Verdict};
use tower_rampart::retry::{Backoff, Jitter};

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) window: WindowConfig,
    pub(super) minimum: u32,
    pub(super) rate: f64,
    pub(super) slow: Option<(u64, f64)>,
    pub(super) consecutive: Option<u32>,
    /// Failures in a row, and how many milliseconds the first and the last of them are apart.
    pub(super) outage: Option<(u32, u64)>,
    pub(super) open_for: (u64, u64),
    pub(super) longest_hint: Option<u64>,
    pub(super) half_open: (u32, u32),
    pub(super) lease: u64,
    /// Shares, and the calls of each.
    pub(super) ramp: Option<(Vec<f64>, u32)>,
    pub(super) abandoned: Option<Option<u64>>,
    pub(super) mode: Mode,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum WindowConfig {
    Count(u32),
    Time { millis: u64, buckets: u32 },
}

impl WindowConfig {
    pub(super) fn bucket_nanos(self) -> u128 {
        let Self::Time { millis, buckets } = self else { panic!("{self:?} has no buckets") };
        (u128::from(millis) * 1_000_000).div_ceil(u128::from(buckets))
    }
}

impl Config {
    /// How many of a million calls a step of the ramp admits.
    pub(super) fn millionths(&self, step: usize) -> u64 {
        self.ramp.as_ref().map_or(1_000_000, |(shares, _)| (shares[step] * 1e6).round() as u64)
    }

    /// How many calls end a step of the ramp.
    pub(super) fn planned(&self, step: usize) -> u32 {
        let calls = self.ramp.as_ref().map_or(1, |(_, calls)| u64::from(*calls));
        (calls * self.millionths(step)).div_ceil(1_000_000) as u32
    }

    /// At most how many calls must come until a ramp is over, if all succeed.
    pub(super) fn calls_of_ramp(&self) -> u64 {
        let Some((shares, _)) = &self.ramp else { return 0 };
        let calls_of = |step| (u64::from(self.planned(step)) * 1_000_000).div_ceil(self.millionths(step));
        // The last one finds the time of the last step over.
        (0..shares.len()).map(calls_of).sum::<u64>() + 1
    }

    pub(super) fn longest_open(&self) -> u64 {
        self.open_for.1.max(self.longest_hint.unwrap_or(0))
    }

    pub(super) fn layer(&self) -> Breakers<Unpartitioned, ()> {
        let window = match self.window {
            WindowConfig::Count(calls) => Window::count(calls),
            WindowConfig::Time { millis, buckets } => Window::time(Duration::from_millis(millis)).buckets(buckets),
        };
        let millis = Duration::from_millis;
        let (first, max) = self.open_for;
        let mut builder = CircuitBreaker::builder()
            .window(window)
            .minimum_calls(self.minimum)
            .failure_rate(self.rate)
            .open_for(Backoff::exponential(millis(first), millis(max)).jitter(Jitter::None))
            .half_open_max_calls(self.half_open.0)
            .success_threshold(self.half_open.1)
            .probe_lease(millis(self.lease))
            .mode(self.mode);
        if let Some((limit, rate)) = self.slow {
            builder = builder.slow_calls(millis(limit), rate);
        }
        if let Some(failures) = self.consecutive {
            builder = builder.consecutive_failures(failures);
        }
        builder = match self.outage {
            Some((failures, lasting)) => builder.outage(failures, millis(lasting)),
            None => builder.no_outage(),
        };
        if let Some(longest) = self.longest_hint {
            builder = builder.honor_retry_after(millis(longest));
        }
        if let Some((shares, calls)) = &self.ramp {
            builder = builder.ramp(shares, *calls);
        }
        match self.abandoned {
            None => builder,
            Some(None) => builder.abandoned(Abandoned::Neutral),
            Some(Some(limit)) => builder.abandoned(Abandoned::FailureAfter(millis(limit))),
        }
    }
}

pub(super) fn verdict(health: Health, hint: Option<u64>) -> Verdict {
    let verdict = Verdict::success().with_health(health);
    match hint {
        Some(hint) => verdict.with_retry_after(Duration::from_millis(hint)),
        None => verdict,
    }
}

pub(super) fn config() -> impl Strategy<Value = Config> {
    let window = prop_oneof![
        (1..8_u32).prop_map(WindowConfig::Count),
        (1..100_u32).prop_map(WindowConfig::Count),
        (1..6_u32, 1..40_u64)
            .prop_map(|(buckets, each)| WindowConfig::Time { millis: each * u64::from(buckets) + each / 3, buckets }),
    ];
    let rate = || prop_oneof![Just(0.1), Just(0.3), Just(0.5), Just(0.6), Just(1.0), 0.01..1.0_f64];
    let modes =
        prop_oneof![6 => Just(Mode::Automatic), 1 => Just(Mode::ObserveOnly), 1 => Just(Mode::RejectRetriesOnly)];
    // Within a bucket, within a window of time, and longer than any gap that it bridges.
    let lasting = prop_oneof![Just(0), 1..60_u64, 0..3_000_u64];
    let outage = prop::option::of((1..6_u32, lasting));
    let ramp = (prop::collection::vec(prop_oneof![Just(0.5), Just(1.0), 0.05..1.0_f64], 1..4), 1..6_u32);
    (
        (window, 1..8_u32, rate(), prop::option::of((1..30_u64, rate())), prop::option::of(1..5_u32)),
        ((1..50_u64, 0..200_u64), prop::option::of(1..100_u64), (1..4_u32, 0..5_u32), 1..60_u64),
        (prop::option::of(prop::option::of(0..30_u64)), modes, prop::option::of(ramp), outage),
    )
        .prop_map(|((window, minimum, rate, slow, consecutive), (open, longest_hint, half_open, lease), rest)| {
            Config {
                minimum: match window {
                    WindowConfig::Count(calls) => minimum.min(calls),
                    WindowConfig::Time { .. } => minimum,
                },
                window,
                rate,
                slow,
                consecutive,
                outage: rest.3,
                open_for: (open.0, open.0 + open.1),
                longest_hint,
                half_open: (half_open.0, 1 + half_open.1),
                lease,
                abandoned: rest.0,
                mode: rest.1,
                ramp: rest.2.map(|(mut shares, calls)| {
                    shares.sort_by(f64::total_cmp);
                    (shares, calls)
                }),
            }
        })
}

pub(super) fn health() -> impl Strategy<Value = Health> {
    prop_oneof![
        4 => Just(Health::Success),
        4 => Just(Health::Failure),
        1 => Just(Health::Throttled),
        1 => Just(Health::Neutral),
    ]
}

pub(super) fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        4 => Just(Mode::Automatic),
        1 => Just(Mode::ForcedOpen),
        1 => Just(Mode::Disabled),
        1 => Just(Mode::ObserveOnly),
        1 => Just(Mode::RejectRetriesOnly),
    ]
}

pub(super) fn run<F: Future<Output = Result<(), TestCaseError>>>(test: F) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(test)
}
