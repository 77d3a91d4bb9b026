//! Random schedules of calls, outcomes, drops, jumps of time and controls, against a slow and obvious model that keeps
//! every outcome: each decision and every number must be the same.

use std::time::Duration;

use proptest::prelude::*;
use tower_rampart::breaker::{Abandoned, CircuitBreaker, Mode, Permit, State, Window};
use tower_rampart::classify::{Health, Verdict};
use tower_rampart::retry::{Backoff, Jitter};

use crate::support::MS;

#[derive(Clone, Debug)]
struct Config {
    window: WindowConfig,
    minimum: u32,
    rate: f64,
    slow: Option<(u64, f64)>,
    consecutive: Option<u32>,
    open_for: (u64, u64),
    longest_hint: Option<u64>,
    half_open: (u32, u32),
    lease: u64,
    abandoned: Option<Option<u64>>,
    mode: Mode,
}

#[derive(Clone, Copy, Debug)]
enum WindowConfig {
    Count(u32),
    Time { millis: u64, buckets: u32 },
}

#[derive(Clone, Debug)]
enum Step {
    Acquire { retry: bool },
    Settle { which: usize, health: Health, hint: Option<u64> },
    Drop { which: usize },
    Advance { micros: u64 },
    SetMode(Mode),
    Reset,
}

/// Everything there is to know, kept in the plainest way.
struct Model {
    config: Config,
    now: Duration,
    /// Counts every new stretch of a state, and so tells stale permits.
    stretch: u64,
    mode: Mode,
    phase: Phase,
    openings: u32,
    rejected: u64,
    admitted: u64,
}

enum Phase {
    /// Every outcome with its time, and the failures in a row.
    Closed {
        outcomes: Vec<Recorded>,
        streak: Vec<Duration>,
    },
    Open {
        until: u64,
    },
    HalfOpen {
        leases: Vec<(u64, u64)>,
        successes: u32,
    },
}

#[derive(Clone, Copy)]
struct Recorded {
    at: Duration,
    failed: bool,
    slow: bool,
}

#[derive(Clone, Copy)]
struct Held {
    id: u64,
    stretch: u64,
    counts: Counts,
    began: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum Counts {
    Nowhere,
    InWindow,
    AsProbe,
}

const CLOSED: Phase = Phase::Closed { outcomes: Vec::new(), streak: Vec::new() };

impl Model {
    fn new(config: Config) -> Self {
        let mode = config.mode;
        Self { config, now: Duration::ZERO, stretch: 0, mode, phase: CLOSED, openings: 0, rejected: 0, admitted: 0 }
    }

    fn millis(&self) -> u64 {
        self.now.as_millis() as u64
    }

    fn state(&self) -> State {
        match (self.mode, &self.phase) {
            (Mode::ForcedOpen, _) | (_, Phase::Open { .. }) => State::Open,
            (_, Phase::Closed { .. }) => State::Closed,
            (_, Phase::HalfOpen { .. }) => State::HalfOpen,
        }
    }

    /// The outcomes in the window, at this time.
    fn live(&self) -> Vec<Recorded> {
        let Phase::Closed { outcomes, .. } = &self.phase else { return Vec::new() };
        match self.config.window {
            WindowConfig::Count(calls) => outcomes.iter().rev().take(calls as usize).copied().collect(),
            WindowConfig::Time { millis, buckets } => {
                outcomes.iter().filter(|outcome| self.is_within(millis, buckets, outcome.at)).copied().collect()
            }
        }
    }

    fn is_within(&self, millis: u64, buckets: u32, at: Duration) -> bool {
        let bucket = (u128::from(millis) * 1_000_000).div_ceil(u128::from(buckets));
        let tick = |at: Duration| at.as_nanos() / bucket;
        tick(at) + u128::from(buckets) > tick(self.now)
    }

    /// The failures in a row, which is over when its last one has left a window of time.
    fn row(&self) -> u32 {
        let Phase::Closed { streak, .. } = &self.phase else { return 0 };
        let goes_on = streak.last().is_some_and(|last| match self.config.window {
            WindowConfig::Count(_) => true,
            WindowConfig::Time { millis, buckets } => self.is_within(millis, buckets, *last),
        });
        if goes_on { streak.len() as u32 } else { 0 }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.stretch += 1;
    }

    fn open(&mut self, hint: Option<u64>) {
        let (first, max) = self.config.open_for;
        let backoff = first.saturating_mul(1 << self.openings.min(40)).min(max);
        let asked =
            hint.filter(|hint| *hint > 0).zip(self.config.longest_hint).map(|(hint, longest)| hint.min(longest));
        let until = self.millis() + asked.unwrap_or(backoff);
        self.openings += 1;
        self.enter(Phase::Open { until });
    }

    fn close(&mut self) {
        self.openings = 0;
        self.enter(CLOSED);
    }

    fn acquire(&mut self, retry: bool) -> Result<Held, (State, Option<Duration>)> {
        let now = self.millis();
        let counts = match self.try_to(retry, now) {
            Ok(counts) => counts,
            Err((state, until)) => {
                self.rejected += 1;
                return Err((state, until.map(|until| Duration::from_millis(until - now))));
            }
        };
        self.admitted += 1;
        let held = Held { id: self.admitted, stretch: self.stretch, counts, began: self.now };
        if let (Counts::AsProbe, Phase::HalfOpen { leases, .. }) = (counts, &mut self.phase) {
            leases.retain(|(_, ends)| *ends > now);
            leases.push((held.id, now + self.config.lease));
        }
        Ok(held)
    }

    fn try_to(&mut self, retry: bool, now: u64) -> Result<Counts, (State, Option<u64>)> {
        match self.mode {
            Mode::ForcedOpen => return Err((State::Open, None)),
            Mode::Disabled => return Ok(Counts::Nowhere),
            _ => {}
        }
        let refuses = self.mode == Mode::Automatic || (self.mode == Mode::RetriesOnly && retry);
        let refuse = |state, until| if refuses { Err((state, Some(until))) } else { Ok(Counts::Nowhere) };
        match &self.phase {
            Phase::Closed { .. } => Ok(Counts::InWindow),
            Phase::Open { until } if now < *until => refuse(State::Open, *until),
            Phase::Open { .. } => {
                self.enter(Phase::HalfOpen { leases: Vec::new(), successes: 0 });
                Ok(Counts::AsProbe)
            }
            Phase::HalfOpen { leases, .. } => {
                let held: Vec<_> = leases.iter().map(|lease| lease.1).filter(|ends| *ends > now).collect();
                match held.iter().min() {
                    Some(first) if held.len() >= self.config.half_open.0 as usize => refuse(State::HalfOpen, *first),
                    _ => Ok(Counts::AsProbe),
                }
            }
        }
    }

    fn drop(&mut self, held: Held) {
        let limit = match self.config.abandoned {
            Some(limit) => limit,
            None => self.config.slow.map(|slow| slow.0),
        };
        let ran = self.now - held.began;
        let failed = limit.is_some_and(|limit| limit == 0 || ran > Duration::from_millis(limit));
        self.settle(held, if failed { Health::Failure } else { Health::Neutral }, None);
    }

    fn settle(&mut self, held: Held, health: Health, hint: Option<u64>) {
        if held.stretch != self.stretch {
            return;
        }
        match held.counts {
            Counts::Nowhere => {}
            Counts::AsProbe => self.settle_probe(held, health, hint),
            Counts::InWindow => self.record(held, health, hint),
        }
    }

    fn settle_probe(&mut self, held: Held, health: Health, hint: Option<u64>) {
        let Phase::HalfOpen { leases, successes } = &mut self.phase else { unreachable!() };
        leases.retain(|lease| lease.0 != held.id);
        match health {
            Health::Neutral => {}
            Health::Failure | Health::Throttled => self.open(hint),
            Health::Success => {
                *successes += 1;
                if *successes >= self.config.half_open.1 {
                    self.close();
                }
            }
        }
    }

    fn record(&mut self, held: Held, health: Health, hint: Option<u64>) {
        let failed = match health {
            Health::Neutral => return,
            Health::Success => false,
            Health::Failure | Health::Throttled => true,
        };
        let slow = self.config.slow.is_some_and(|slow| self.now - held.began > Duration::from_millis(slow.0));
        let recorded = Recorded { at: self.now, failed, slow };
        let Phase::Closed { outcomes, .. } = &mut self.phase else { unreachable!() };
        outcomes.push(recorded);
        let (live, row, now) = (self.live(), self.row(), self.now);
        let Phase::Closed { streak, .. } = &mut self.phase else { unreachable!() };
        match (self.config.consecutive, health) {
            (None, _) | (_, Health::Throttled | Health::Neutral) => {}
            (_, Health::Success) => streak.clear(),
            (_, Health::Failure) => {
                streak.drain(..streak.len() - row as usize);
                streak.push(now);
            }
        }
        let row = health == Health::Failure && self.config.consecutive.is_some_and(|limit| self.row() >= limit);
        let share = |part: usize| part as f64 / live.len() as f64;
        let enough = live.len() >= self.config.minimum as usize;
        let failures = share(live.iter().filter(|outcome| outcome.failed).count());
        let slow = share(live.iter().filter(|outcome| outcome.slow).count());
        let bad = failures >= self.config.rate || self.config.slow.is_some_and(|(_, rate)| slow >= rate);
        if row || (enough && bad) {
            self.open(hint);
        }
    }

    fn set_mode(&mut self, mode: Mode) {
        if mode == self.mode {
            return;
        }
        let by_hand = |mode| matches!(mode, Mode::ForcedOpen | Mode::Disabled);
        if by_hand(mode) || by_hand(self.mode) {
            self.close();
        }
        self.mode = mode;
    }

    fn reset(&mut self) {
        self.close();
        self.rejected = 0;
        self.mode = self.config.mode;
    }
}

fn breaker(config: &Config) -> CircuitBreaker {
    let window = match config.window {
        WindowConfig::Count(calls) => Window::count(calls),
        WindowConfig::Time { millis, buckets } => Window::time(Duration::from_millis(millis)).buckets(buckets),
    };
    let millis = Duration::from_millis;
    let (first, max) = config.open_for;
    let mut builder = CircuitBreaker::builder()
        .window(window)
        .minimum_calls(config.minimum)
        .failure_rate(config.rate)
        .open_for(Backoff::exponential(millis(first), millis(max)).jitter(Jitter::None))
        .half_open(config.half_open.0, config.half_open.1)
        .probe_lease(millis(config.lease))
        .mode(config.mode);
    if let Some((limit, rate)) = config.slow {
        builder = builder.slow_calls(millis(limit), rate);
    }
    if let Some(failures) = config.consecutive {
        builder = builder.consecutive_failures(failures);
    }
    if let Some(longest) = config.longest_hint {
        builder = builder.open_as_asked(millis(longest));
    }
    match config.abandoned {
        None => {}
        Some(None) => builder = builder.abandoned(Abandoned::Neutral),
        Some(Some(limit)) => builder = builder.abandoned(Abandoned::FailureAfter(millis(limit))),
    }
    builder.breaker()
}

async fn agree(config: Config, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let breaker = breaker(&config);
    let mut model = Model::new(config);
    let mut permits: Vec<(Permit, Held)> = Vec::new();
    for (index, step) in steps.into_iter().enumerate() {
        match step.clone() {
            Step::Acquire { retry } => {
                let got = if retry { breaker.try_acquire_retry() } else { breaker.try_acquire() };
                match (got, model.acquire(retry)) {
                    (Ok(permit), Ok(held)) => permits.push((permit, held)),
                    (Err(open), Err(expected)) => {
                        prop_assert_eq!((open.state(), open.retry_after()), expected, "step {}: {:?}", index, step);
                    }
                    (got, expected) => {
                        let what = format!("step {index}: {got:?}, but the model lets in: {}", expected.is_ok());
                        return Err(TestCaseError::fail(what));
                    }
                }
            }
            Step::Settle { which, health, hint } if !permits.is_empty() => {
                let (permit, held) = permits.swap_remove(which % permits.len());
                let mut verdict = Verdict::success().with_health(health);
                if let Some(hint) = hint {
                    verdict = verdict.with_retry_after(Duration::from_millis(hint));
                }
                permit.settle(verdict);
                model.settle(held, health, hint);
            }
            Step::Drop { which } if !permits.is_empty() => {
                let (permit, held) = permits.swap_remove(which % permits.len());
                drop(permit);
                model.drop(held);
            }
            Step::Settle { .. } | Step::Drop { .. } => {}
            Step::Advance { micros } => {
                tokio::time::advance(Duration::from_micros(micros)).await;
                model.now += Duration::from_micros(micros);
            }
            Step::SetMode(mode) => {
                breaker.set_mode(mode);
                model.set_mode(mode);
            }
            Step::Reset => {
                breaker.reset();
                model.reset();
            }
        }
        let snapshot = breaker.snapshot();
        prop_assert_eq!((breaker.state(), breaker.mode()), (model.state(), model.mode), "step {}: {:?}", index, step);
        prop_assert_eq!(snapshot.rejected, model.rejected, "step {}: {:?}", index, step);
        if let Phase::Closed { .. } = &model.phase {
            let live = model.live();
            let expected = (
                live.len() as u64,
                live.iter().filter(|outcome| outcome.failed).count() as u64,
                live.iter().filter(|outcome| outcome.slow).count() as u64,
                model.row(),
            );
            let seen = (snapshot.calls, snapshot.failures, snapshot.slow, snapshot.consecutive_failures);
            prop_assert_eq!(seen, expected, "step {}: {:?}", index, step);
        }
    }
    recovers(&breaker, &mut model, permits).await
}

/// From wherever it is, with a healthy upstream and calls that arrive, it closes within the open time, the lease of the
/// probes that hang, and the calls required.
async fn recovers(breaker: &CircuitBreaker, model: &mut Model, hung: Vec<(Permit, Held)>) -> Result<(), TestCaseError> {
    breaker.set_mode(Mode::Automatic);
    model.set_mode(Mode::Automatic);
    let longest_open = model.config.open_for.1.max(model.config.longest_hint.unwrap_or(0));
    let limit = longest_open + model.config.lease;
    let mut successes = 0;
    for waited in 0..=limit {
        while breaker.state() != State::Closed {
            match breaker.try_acquire() {
                Ok(permit) => permit.settle(Verdict::success()),
                Err(_) => break,
            }
            successes += 1;
        }
        if breaker.state() == State::Closed {
            prop_assert!(successes <= model.config.half_open.1, "{} successes", successes);
            return Ok(());
        }
        prop_assert!(waited < limit, "shut out after {} ms, with {} hung", waited, hung.len());
        tokio::time::advance(MS).await;
    }
    Ok(())
}

fn config() -> impl Strategy<Value = Config> {
    let window = prop_oneof![
        (1..8_u32).prop_map(WindowConfig::Count),
        (1..100_u32).prop_map(WindowConfig::Count),
        (1..6_u32, 1..40_u64)
            .prop_map(|(buckets, each)| WindowConfig::Time { millis: each * u64::from(buckets) + each / 3, buckets }),
    ];
    let rate = || prop_oneof![Just(0.1), Just(0.3), Just(0.5), Just(0.6), Just(1.0), 0.01..1.0_f64];
    let modes = prop_oneof![6 => Just(Mode::Automatic), 1 => Just(Mode::ObserveOnly), 1 => Just(Mode::RetriesOnly)];
    (
        (window, 1..8_u32, rate(), prop::option::of((1..30_u64, rate())), prop::option::of(1..5_u32)),
        ((1..50_u64, 0..200_u64), prop::option::of(1..100_u64), (1..4_u32, 0..3_u32), 1..60_u64),
        (prop::option::of(prop::option::of(0..30_u64)), modes),
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
                open_for: (open.0, open.0 + open.1),
                longest_hint,
                half_open: (half_open.0, 1 + half_open.1 % half_open.0),
                lease,
                abandoned: rest.0,
                mode: rest.1,
            }
        })
}

fn step() -> impl Strategy<Value = Step> {
    let health = prop_oneof![
        4 => Just(Health::Success),
        4 => Just(Health::Failure),
        1 => Just(Health::Throttled),
        1 => Just(Health::Neutral),
    ];
    let mode = prop_oneof![
        4 => Just(Mode::Automatic),
        1 => Just(Mode::ForcedOpen),
        1 => Just(Mode::Disabled),
        1 => Just(Mode::ObserveOnly),
        1 => Just(Mode::RetriesOnly),
    ];
    prop_oneof![
        40 => any::<bool>().prop_map(|retry| Step::Acquire { retry }),
        36 => (any::<usize>(), health, prop::option::of(0..200_u64))
            .prop_map(|(which, health, hint)| Step::Settle { which, health, hint }),
        4 => any::<usize>().prop_map(|which| Step::Drop { which }),
        // Within a millisecond, about a bucket, beyond the window, and beyond any counter of laps; in the longest
        // schedules still far from the end of the clock.
        6 => (0..1_500_u64).prop_map(|micros| Step::Advance { micros }),
        8 => (0..40_000_u64).prop_map(|micros| Step::Advance { micros }),
        3 => (0..1_000_000_u64).prop_map(|micros| Step::Advance { micros }),
        1 => (1..1_u64 << 46).prop_map(|micros| Step::Advance { micros }),
        1 => mode.prop_map(Step::SetMode),
        1 => Just(Step::Reset),
    ]
}

fn run(config: Config, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(agree(config, steps))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, max_shrink_time: 30_000, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_is_that_of_the_model(config in config(), steps in prop::collection::vec(step(), 0..150)) {
        run(config, steps)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, max_shrink_time: 30_000, ..ProptestConfig::default() })]

    #[test]
    fn also_in_schedules_far_longer_than_the_window(
        config in config(),
        steps in prop::collection::vec(step(), 3_000..5_000),
    ) {
        run(config, steps)?;
    }
}
