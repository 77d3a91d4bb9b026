use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::{SmallRng, SysRng};

use super::clock::{Clock, Moment, Stopwatch};
use super::engine::{Attempt, Change, Engine, Grant, Opening, ProbeOutcome, Refusal, Rules};
use super::settings::Policy;
use super::streak::Streak;
use super::telemetry;
use super::watch::Listeners;
use super::window::{Counts, Outcome, Recorder};
use super::word::{Phase, Word};
use super::{Cause, CircuitBreaker, Mode, State};
use crate::classify::{Health, Verdict};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, fence, lock};

/// One breaker in its concurrent form.
///
/// The way of a closed breaker is the word, the window and nothing else. Whatever changes the state goes through the
/// engine under the lock and is then published in the word.
#[derive(Debug)]
pub(super) struct Cell {
    word: AtomicU64,
    streak: Streak,
    window: Recorder,
    shared: Arc<Shared>,
    rejected: AtomicU64,
    label: Box<str>,
    engine: Mutex<Engine>,
}

/// What all breakers of one layer have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) policy: Policy,
    pub(super) clock: Clock,
    pub(super) listeners: Listeners,
}

/// How a call ended, or that it was dropped before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With the wait that the server asks for.
    Judged(Health, Option<Duration>),
    Abandoned,
}

impl From<&Verdict> for Ending {
    #[inline]
    fn from(verdict: &Verdict) -> Self {
        Self::Judged(verdict.health(), verdict.retry_after())
    }
}

/// What can be read of a breaker at one instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) state: State,
    pub(super) mode: Mode,
    pub(super) generation: u32,
    pub(super) counts: Counts,
    pub(super) streak: u32,
    pub(super) rejected: u64,
    pub(super) open_for: Option<Duration>,
    pub(super) unchanged_for: Duration,
}

/// A count window has no time of its own: ten minutes without a call say that its key is no longer in use.
const IDLE: Duration = Duration::from_secs(600);

impl Cell {
    pub(super) fn new(shared: Arc<Shared>, label: Box<str>) -> Self {
        let engine = Engine::new(&shared.policy.rules, shared.clock.now().millis());
        Self {
            word: AtomicU64::new(engine.word().bits()),
            streak: Streak::new(),
            window: Recorder::new(shared.policy.window),
            shared,
            rejected: AtomicU64::new(0),
            label,
            engine: Mutex::new(engine),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.shared.policy.name
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Whether it is out of the registry for good. While [`retire`](Self::retire) has yet to decide, this waits for that.
    #[inline]
    pub(super) fn is_gone(&self) -> bool {
        self.word().is_retired() && self.is_gone_after_all()
    }

    #[cold]
    fn is_gone_after_all(&self) -> bool {
        let _decided = self.lock();
        self.word().is_retired()
    }

    #[cfg(all(test, rampart_loom))]
    pub(super) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    #[cfg(all(test, not(rampart_loom)))]
    pub(super) fn while_locked(&self, run: impl FnOnce()) {
        let _engine = self.lock();
        run();
    }

    pub(super) fn now(&self) -> Moment {
        self.shared.clock.now()
    }

    /// When a call begins, if a setting needs to know.
    #[inline]
    pub(super) fn begins(&self) -> Option<Stopwatch> {
        self.shared.policy.times_calls().then(|| Stopwatch::Running { began: self.now() })
    }

    /// Whether calls come in and are counted, with no need to ask the engine.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.word().is_plainly_closed()
    }

    /// Lets a call in, or not.
    #[inline]
    pub(super) fn acquire(self: &Arc<Self>, attempt: Attempt) -> Result<Grant, Refusal> {
        let word = self.word();
        if word.is_plainly_closed() {
            return Ok(Grant::Counted { generation: word.generation() });
        }
        self.acquire_seldom(word, attempt)
    }

    #[cold]
    fn acquire_seldom(self: &Arc<Self>, word: Word, attempt: Attempt) -> Result<Grant, Refusal> {
        match (word.mode(), word.phase(), attempt) {
            (Mode::Disabled, _, _) => return Ok(Grant::Uncounted),
            (Mode::ObserveOnly | Mode::RetriesOnly, Phase::Live(State::Closed), _) => {
                return Ok(Grant::Counted { generation: word.generation() });
            }
            (Mode::Automatic, Phase::Live(State::Open), _)
            | (Mode::RetriesOnly, Phase::Live(State::Open), Attempt::Retry) => self.refuse_by_word(word)?,
            _ => {}
        }
        let now = self.now().millis();
        let result = self.change(|engine, rules| engine.acquire(rules, attempt, now));
        if result.is_err() {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Refuses without the lock while the word alone tells that it is too early.
    fn refuse_by_word(&self, word: Word) -> Result<(), Refusal> {
        let now = self.now().millis();
        match word.until() {
            Some(until) if now < until => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                Err(Refusal { state: State::Open, wait: Some(until - now) })
            }
            _ => Ok(()),
        }
    }

    /// Whether a call that came now would be refused; counts as a refusal.
    #[inline]
    pub(super) fn refusal(&self, attempt: Attempt) -> Option<Refusal> {
        let word = self.word();
        if word.is_plainly_closed() { None } else { self.refusal_seldom(word, attempt) }
    }

    #[cold]
    fn refusal_seldom(&self, word: Word, attempt: Attempt) -> Option<Refusal> {
        match (word.mode(), word.phase(), attempt) {
            (Mode::Disabled | Mode::ObserveOnly, _, _)
            | (Mode::RetriesOnly, _, Attempt::First)
            | (Mode::RetriesOnly, Phase::Live(State::Closed), Attempt::Retry) => return None,
            (Mode::ForcedOpen, _, _) => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                return Some(Refusal::FORCED);
            }
            (Mode::Automatic, Phase::Live(State::Open), _)
            | (Mode::RetriesOnly, Phase::Live(State::Open), Attempt::Retry) => {
                if let Err(refusal) = self.refuse_by_word(word) {
                    return Some(refusal);
                }
            }
            _ => {}
        }
        let now = self.now().millis();
        let refusal = self.lock().would_refuse(&self.shared.policy.rules, attempt, now);
        if refusal.is_some() {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
        refusal
    }

    /// Learns from the end of a call.
    #[inline]
    pub(super) fn settle(self: &Arc<Self>, grant: Grant, watch: Option<Stopwatch>, ending: Ending) {
        let policy = &self.shared.policy;
        let (generation, probe) = match grant {
            Grant::Uncounted => return,
            Grant::Counted { generation } => (generation, None),
            Grant::Probe { generation, id } => (generation, Some(id)),
        };
        if probe.is_none() && self.word().generation() != generation {
            return;
        }
        let now = (probe.is_some() || policy.dates_calls()).then(|| self.now());
        let elapsed = now.zip(watch).map(|(now, watch)| watch.elapsed(now));
        let (health, hint) = match ending {
            Ending::Judged(health, hint) => (health, hint),
            Ending::Abandoned => match (policy.abandoned_after, elapsed) {
                (Some(limit), Some(elapsed)) if elapsed > limit || limit.is_zero() => (Health::Failure, None),
                _ => (Health::Neutral, None),
            },
        };
        match probe {
            Some(id) => self.settle_probe((generation, id), health, hint),
            None => self.settle_counted(generation, now, elapsed, health, hint),
        }
    }

    #[cold]
    fn settle_probe(self: &Arc<Self>, probe: (u32, u32), health: Health, hint: Option<Duration>) {
        let outcome = match health {
            Health::Success => ProbeOutcome::Success,
            Health::Failure | Health::Throttled => ProbeOutcome::Failure,
            Health::Neutral => ProbeOutcome::Neutral,
        };
        let now = self.now().millis();
        let mut rng = opening_rng();
        self.change(|engine, rules| ((), engine.settle_probe(rules, probe, outcome, Opening { now, hint }, &mut rng)));
    }

    #[inline]
    fn settle_counted(
        self: &Arc<Self>,
        generation: u32,
        now: Option<Moment>,
        elapsed: Option<Duration>,
        health: Health,
        hint: Option<Duration>,
    ) {
        let policy = &self.shared.policy;
        let failed = match health {
            Health::Success => false,
            Health::Failure | Health::Throttled => true,
            Health::Neutral => return,
        };
        let live = || self.word().generation() == generation;
        let outcome = Outcome { failed, slow: policy.is_slow(elapsed) };
        let Some(counts) = self.window.record(policy.window, now, outcome, live) else { return };
        let mut streak = 0;
        if policy.counts_streaks() {
            match health {
                Health::Success => self.streak.success(live),
                Health::Failure => streak = self.streak.failure(policy.window.age(now), live).unwrap_or(0),
                Health::Throttled | Health::Neutral => {}
            }
        }
        if let Some(cause) = policy.verdict(counts, streak) {
            self.trip(generation, cause, hint);
        }
    }

    #[cold]
    fn trip(self: &Arc<Self>, generation: u32, cause: Cause, hint: Option<Duration>) {
        let now = self.now().millis();
        let mut rng = opening_rng();
        self.change(|engine, rules| ((), engine.trip(rules, generation, cause, Opening { now, hint }, &mut rng)));
    }

    pub(super) fn set_mode(self: &Arc<Self>, mode: Mode) {
        let now = self.now().millis();
        self.change(|engine, _| ((), engine.set_mode(mode, now)));
    }

    pub(super) fn reset(self: &Arc<Self>) {
        let now = self.now().millis();
        self.rejected.store(0, Ordering::Relaxed);
        self.change(|engine, rules| ((), Some(engine.reset(rules, now))));
    }

    pub(super) fn state(&self) -> State {
        match self.word().kept().phase() {
            Phase::Live(state) => state,
            Phase::Retired => State::Closed,
        }
    }

    pub(super) fn mode(&self) -> Mode {
        self.word().mode()
    }

    /// Differs after every change that is told.
    pub(super) fn version(&self) -> u64 {
        self.word().kept().bits()
    }

    pub(super) fn listeners(&self) -> &Listeners {
        &self.shared.listeners
    }

    pub(super) fn read(&self) -> Reading {
        let engine = self.lock();
        let now = self.now();
        Reading {
            state: engine.state(),
            mode: engine.mode(),
            generation: engine.generation(),
            counts: self.window.counts(self.shared.policy.window, now),
            streak: self.streak.get(self.shared.policy.window.age(Some(now))),
            rejected: self.rejected.load(Ordering::Relaxed),
            open_for: engine.open_until().map(|until| Duration::from_millis(until.saturating_sub(now.millis()))),
            unchanged_for: Duration::from_millis(now.millis().saturating_sub(engine.changed_at())),
        }
    }

    /// Takes the cell out of use, if forgetting it loses nothing and `alone` says that nobody else holds it.
    ///
    /// Who finds a cell takes hold of it, then reads the word; this writes the word, then looks who holds it. With a
    /// fence between the two steps on either side, at least one of the two sees the other.
    pub(super) fn retire(&self, alone: impl FnOnce() -> bool) -> bool {
        let engine = self.lock();
        if !self.is_blank(&engine) {
            return false;
        }
        let word = self.word();
        self.word.store(word.retired().bits(), Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let alone = alone();
        fence(Ordering::SeqCst);
        // Asked again, because a call may have come and gone in between.
        let retired = alone && self.is_blank(&engine);
        if !retired {
            self.word.store(word.bits(), Ordering::SeqCst);
        }
        retired
    }

    fn is_blank(&self, engine: &Engine) -> bool {
        let policy = &self.shared.policy;
        engine.is_as_new(&policy.rules) && self.window.is_idle(policy.window, self.now(), IDLE)
    }

    /// Lets the engine take a step and publishes what it changes.
    fn change<T>(self: &Arc<Self>, step: impl FnOnce(&mut Engine, &Rules) -> (T, Option<Change>)) -> T {
        let mut engine = self.lock();
        let (result, change) = step(&mut engine, &self.shared.policy.rules);
        let Some(change) = change else { return result };
        let counts = self.window.counts(self.shared.policy.window, self.now());
        self.publish(&engine, change);
        drop(engine);
        // Not under the lock: a subscriber may look at this very breaker.
        telemetry::changed(self, change, counts);
        self.listeners().tell(change, || CircuitBreaker::new(self.clone()));
        result
    }

    fn publish(&self, engine: &Engine, change: Change) {
        let word = engine.word();
        if change.empties_window {
            // Between two closed generations, as after a reset, calls go through uncounted for a moment: the window is
            // emptied only when nobody may write to it.
            let paused = Word::new(State::Closed, Mode::Disabled, word.generation(), 0);
            if change.from.0 == State::Closed {
                self.word.store(paused.bits(), Ordering::SeqCst);
            }
            self.window.reset(self.shared.policy.window, self.now());
            self.streak.reset();
        }
        self.word.store(word.bits(), Ordering::SeqCst);
    }

    #[inline]
    fn word(&self) -> Word {
        Word::from_bits(self.word.load(Ordering::Acquire))
    }

    fn lock(&self) -> MutexGuard<'_, Engine> {
        lock(&self.engine)
    }
}

/// Not the thread's own generator: a call can be dropped when its thread ends and has none any more.
fn opening_rng() -> SmallRng {
    SmallRng::try_from_rng(&mut SysRng).unwrap_or_else(|_| SmallRng::seed_from_u64(RandomState::new().hash_one(())))
}
