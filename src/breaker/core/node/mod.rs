mod admit;
mod eras;
pub(crate) mod node_ref;
mod reconfigure;
mod record;
mod settle;
mod shared;

use std::fmt;
use std::panic::RefUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use once_cell::race::OnceBox;

use self::eras::Eras;
use super::nested::nesting::{Electorate, Nesting, ParentLink};
use super::packed_state::{PackedState, Phase};
use super::policy::Policy;
use super::state_machine::{Attempt, Change, Engine, EngineConfig, IDLE, PermitKind};
use super::trip::{PackedTrip, TripInEra};
use super::waiters::{News, Waiting};
use super::window::consecutive_failures::{self, ConsecutiveFailures};
use super::window::{Counts, SlidingWindow};
use crate::breaker::control::circuit_open::Named;
use crate::breaker::control::trip::Trip;
use crate::breaker::{Mode, Snapshot, State, Totals};
use crate::call::cut;
use crate::call::deadline::Deadline;
use crate::classify::{Health, Reason, Verdict};
use crate::clock::{Moment, Stopwatch};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

/// One breaker in its concurrent form.
///
/// A call through a closed breaker touches the packed state and the window only. Every change of state goes through the
/// engine under the lock and is then published in the packed state.
pub(crate) struct Node {
    pub(super) packed: AtomicU64,
    /// Window and settings that it was made with. Its last words stay, whatever the settings.
    window: SlidingWindow,
    pub(super) shared: Arc<Shared>,
    /// The later ones.
    eras: OnceBox<Eras<Self>>,
    pub(super) rejected: AtomicU64,
    /// Written under the lock.
    trip: AtomicU64,
    identity: Identity,
    engine: Mutex<Engine>,
}

/// Boxed in the nested case, so that it is no larger than the label alone.
#[derive(Debug)]
enum Identity {
    Alone(Box<str>),
    Related(Box<(Box<str>, Nesting<Node>)>),
}

/// What all nodes of one layer share.
pub(crate) type Shared = shared::Shared<Node>;
/// What holds in one era of a node.
pub(in crate::breaker::core) type InEra<'a> = eras::InEra<'a, Node>;

/// How a call ended, or that it was dropped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// With the server's retry hint.
    Judged(Health, Option<Duration>),
    Abandoned,
    /// Dropped because a time limit cut it.
    TimedOut,
    /// The head was good and no error came until the reader dropped the body.
    BodyDropped,
}

impl From<&Verdict> for Completion {
    #[inline]
    fn from(verdict: &Verdict) -> Self {
        match verdict.health() {
            Health::Neutral if verdict.reason() == Reason::ABANDONED => Self::BodyDropped,
            health => Self::Judged(health, verdict.retry_after()),
        }
    }
}

/// What an admitted call holds. No larger than a permit and a half: it moves along with every future.
#[derive(Clone, Debug)]
pub(crate) enum Admission {
    Own(PermitKind),
    /// Two closed breakers count it: its own in this generation, and the outer one in that.
    Counted {
        own: u32,
        outer: u32,
    },
    /// Its own permit and that of the outer breaker.
    Both(Box<(PermitKind, PermitKind)>),
}

pub(super) const NEUTRAL: Completion = Completion::Judged(Health::Neutral, None);

impl Admission {
    pub(super) fn nested(own: PermitKind, outer: PermitKind) -> Self {
        match (own, outer) {
            (own, PermitKind::Uncounted) => Self::Own(own),
            (PermitKind::Counted { generation: own }, PermitKind::Counted { generation: outer }) => {
                Self::Counted { own, outer }
            }
            both => Self::Both(Box::new(both)),
        }
    }

    /// Its own permit, and that of the outer breaker.
    pub(crate) fn permits(&self) -> (PermitKind, PermitKind) {
        match self {
            Self::Own(own) => (*own, PermitKind::Uncounted),
            Self::Counted { own, outer } => {
                (PermitKind::Counted { generation: *own }, PermitKind::Counted { generation: *outer })
            }
            Self::Both(both) => **both,
        }
    }
}

impl Node {
    pub(crate) fn new(shared: Arc<Shared>, label: Box<str>) -> Self {
        Self::with_identity(shared, Identity::Alone(label))
    }

    /// Makes an outer node.
    pub(crate) fn new_outer(shared: Arc<Shared>, label: Box<str>) -> Self {
        let node = Self::with_identity(shared, Identity::Related(Box::new((label, Nesting::Outer(Electorate::new())))));
        node.begin_votes();
        node
    }

    /// Makes an inner node.
    pub(crate) fn nested_in(outer: Arc<Self>, shared: Arc<Shared>, label: Box<str>) -> Self {
        let Some(electorate) = outer.electorate().cloned() else { return Self::new(shared, label) };
        let nesting = Nesting::Inner(ParentLink::new(outer, electorate));
        Self::with_identity(shared, Identity::Related(Box::new((label, nesting))))
    }

    fn with_identity(shared: Arc<Shared>, identity: Identity) -> Self {
        let engine = Engine::new(&shared.policy.engine);
        let since = PackedTrip::none(engine.packed().mode() == Mode::ForcedOpen, shared.clock.now().millis());
        Self {
            packed: AtomicU64::new(engine.packed().with_nested(identity.nesting().is_some()).bits()),
            window: SlidingWindow::new(shared.policy.window, shared.is_partitioned, consecutive_failures::WORDS),
            eras: OnceBox::new(),
            shared,
            rejected: AtomicU64::new(0),
            trip: AtomicU64::new(since.bits()),
            identity,
            engine: Mutex::new(engine),
        }
    }

    /// `None` unless these settings have a limit.
    pub(super) fn consecutive_failures(&self, policy: &Policy) -> Option<ConsecutiveFailures<'_>> {
        if policy.counts_consecutive_failures() { self.row() } else { None }
    }

    /// The failures in a row, counted or not.
    fn row(&self) -> Option<ConsecutiveFailures<'_>> {
        self.window.last_words().map(ConsecutiveFailures::new)
    }

    /// Time since the first of the failures in a row, if there is one.
    pub(crate) fn failing_for(&self) -> Duration {
        self.row().map_or(Duration::ZERO, |row| row.lasted(self.now()))
    }

    /// For how long still an outer node opens only if all votes are bad.
    pub(crate) fn unanimous_for(&self) -> Duration {
        let votes = self.electorate().zip(self.policy().votes);
        votes.map_or(Duration::ZERO, |(electorate, config)| electorate.votes.unanimous_for(config, self.now()))
    }

    /// The settings and the window of this era of the packed state.
    #[inline(always)]
    pub(super) fn in_era(&self, era: u32) -> InEra<'_> {
        let first = InEra { shared: &self.shared, window: &self.window };
        if era == 0 { first } else { self.eras.get().map_or(first, |eras| eras.at(era, first)) }
    }

    /// Returns the current settings and window. They do not change under the lock of the state machine.
    #[inline]
    pub(super) fn now_in(&self) -> InEra<'_> {
        self.in_era(self.era())
    }

    /// Returns the number of the current settings.
    #[inline]
    pub(super) fn era(&self) -> u32 {
        self.eras.get().map_or(0, |eras| eras.current())
    }

    /// Returns the current settings.
    #[inline]
    pub(crate) fn policy(&self) -> &Policy {
        &self.now_in().shared.policy
    }

    pub(crate) fn name(&self) -> &str {
        &self.shared.policy.name
    }

    pub(crate) fn label(&self) -> &str {
        match &self.identity {
            Identity::Alone(label) => label,
            Identity::Related(related) => &related.0,
        }
    }

    /// The outer node of an inner one.
    pub(crate) fn outer(&self) -> Option<&Arc<Self>> {
        self.parent_link().map(ParentLink::outer)
    }

    fn electorate(&self) -> Option<&Arc<Electorate>> {
        match self.identity.nesting() {
            Some(Nesting::Outer(electorate)) => Some(electorate),
            Some(Nesting::Inner(_)) | None => None,
        }
    }

    /// Whether this node is around others.
    pub(crate) fn is_outer(&self) -> bool {
        self.electorate().is_some()
    }

    pub(super) fn parent_link(&self) -> Option<&ParentLink<Self>> {
        match self.identity.nesting() {
            Some(Nesting::Inner(parent_link)) => Some(parent_link),
            Some(Nesting::Outer(_)) | None => None,
        }
    }

    #[cfg(all(test, rampart_loom))]
    pub(crate) fn clock(&self) -> &crate::clock::Clock {
        &self.shared.clock
    }

    #[cfg(all(test, not(rampart_loom)))]
    pub(crate) fn while_locked(&self, run: impl FnOnce()) {
        let _engine = self.lock();
        run();
    }

    #[inline]
    pub(crate) fn now(&self) -> Moment {
        self.shared.clock.now()
    }

    /// The moment at which a time limit cuts a call.
    #[inline]
    pub(crate) fn moment_of(&self, deadline: Option<Deadline>) -> Moment {
        deadline.map_or(Moment::NEVER, |deadline| self.shared.clock.moment_of(deadline))
    }

    /// Whether a time limit cuts the call that is being dropped. Reads the clock only if there is a deadline.
    pub(crate) fn is_cut(&self, deadline: Moment) -> bool {
        cut::is_cutting() || (deadline < Moment::NEVER && self.now() >= deadline)
    }

    /// Starts a stopwatch if a setting needs the duration of calls.
    #[inline]
    pub(crate) fn begins(&self) -> Option<Stopwatch> {
        self.shared.times_calls().then(|| Stopwatch::start(self.now()))
    }

    pub(crate) fn set_mode(self: &Arc<Self>, mode: Mode) {
        self.change(|engine, _| ((), engine.set_mode(mode)));
    }

    pub(crate) fn reset(self: &Arc<Self>) {
        self.change(|engine, config| ((), Some(engine.reset(config))));
    }

    /// The state. An open node past its open time is half-open: the next call is a probe.
    pub(crate) fn state(&self) -> State {
        // The packed state does not hold an open time that ends years ahead.
        self.state_by(|| self.lock().open_until())
    }

    /// The same without the lock: an open time that ends years ahead is not over.
    pub(crate) fn state_without_lock(&self) -> State {
        self.state_by(|| None)
    }

    fn state_by(&self, open_until: impl FnOnce() -> Option<u64>) -> State {
        let packed = self.packed().kept();
        let is_due = || packed.until().or_else(open_until).is_some_and(|until| until <= self.now().millis());
        match packed.phase() {
            Phase::Live(State::Open) if packed.mode() != Mode::ForcedOpen && is_due() => State::HalfOpen,
            Phase::Live(state) => state,
            Phase::Undecided => State::Closed,
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.packed().mode()
    }

    /// Differs after every reported change.
    pub(crate) fn version(&self) -> (u32, u16) {
        self.lock().version()
    }

    /// Waits for news of this node. The caller holds the node for as long.
    pub(crate) fn wait_for(&self, news: News) -> Waiting {
        self.shared.waiters.wait(self.address(), news)
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let engine = self.lock();
        let now = self.now();
        let changed_at = engine.changed_at().unwrap_or_else(|| self.packed_trip().since(now.millis()));
        let due_in = engine.open_until().map(|until| until.saturating_sub(now.millis()));
        let InEra { shared, window } = self.now_in();
        let policy = &shared.policy;
        let counts = match (self.electorate(), policy.votes) {
            (Some(electorate), Some(config)) => electorate.votes.counts(config, engine.generation(), config.tick(now)),
            _ => window.counts(policy.window, now),
        };
        Snapshot {
            state: if due_in == Some(0) { State::HalfOpen } else { engine.state() },
            mode: engine.mode(),
            generation: engine.generation(),
            calls: counts.calls,
            failures: counts.failures,
            slow: counts.slow,
            failure_rate: counts.failure_rate(),
            slow_rate: counts.slow_rate(),
            consecutive_failures: self
                .consecutive_failures(policy)
                .map_or(0, |failures| failures.get(policy.age(Some(now)))),
            retry_after: due_in.filter(|millis| *millis > 0).map(Duration::from_millis),
            remaining_probes: engine.remaining_probes(&policy.engine, now.millis()),
            unchanged_for: Duration::from_millis(now.millis().saturating_sub(changed_at)),
            trip: Named::trip(self, self.trip_in_era()),
            open_since: self.open_since(),
            openings: engine.openings().0,
            // Under the lock, so that no window is emptied and no probe counted meanwhile.
            totals: Totals { transitions: engine.generation().into(), ..self.totals(self.eras.get()) },
        }
    }

    /// Without what a thread is just carrying out of the window, too. Takes the lock only if the settings have changed.
    pub(crate) fn totals_without_transitions(&self) -> Totals {
        // A window that takes over from another counts twice for a moment.
        let eras = self.eras.get();
        let _engine = eras.map(|_| self.lock());
        // Of what has come since, nothing.
        self.totals(eras)
    }

    fn totals(&self, eras: Option<&Eras<Self>>) -> Totals {
        let (calls, failed) = self.window.totals(self.shared.policy.window);
        let later = eras.map_or((0, 0), Eras::totals);
        let (calls, failed) = (calls.wrapping_add(later.0), failed.wrapping_add(later.1));
        let rejected = self.rejected.load(Ordering::Relaxed);
        Totals { calls, succeeded: calls.saturating_sub(failed), failed, rejected, transitions: 0 }
    }

    pub(crate) fn packed_trip(&self) -> PackedTrip {
        PackedTrip::from_bits(self.trip.load(Ordering::Acquire))
    }

    /// What opened it, and by which settings. Of those two words the second changes only while the first shows no trip.
    pub(crate) fn trip_in_era(&self) -> TripInEra {
        loop {
            let trip = self.packed_trip();
            let Some(eras) = self.eras.get() else { return TripInEra { trip, era: 0 } };
            let era = eras.tripped();
            if self.packed_trip() == trip {
                return TripInEra { trip, era };
            }
        }
    }

    /// How long it has not been closed, in whole seconds.
    pub(crate) fn open_since(&self) -> Option<Duration> {
        let trip = self.packed_trip();
        trip.get()?;
        // Read after the trip, which so is no later.
        let now = self.now().millis();
        Some(Duration::from_secs((now / 1_000).saturating_sub(trip.since(now) / 1_000)))
    }

    /// Leaves what it has counted to the totals of the layer, because it has been evicted or removed.
    pub(crate) fn retire(&self) {
        self.shared.observer.retired(self.totals_without_transitions());
    }

    /// Whether nothing is lost with this node if no call holds it.
    pub(crate) fn is_unused(&self, now: Moment) -> bool {
        let engine = self.lock();
        let InEra { shared, window } = self.now_in();
        let policy = &shared.policy;
        (engine.is_as_new(&policy.engine)
            && window.is_idle(policy.window, now, IDLE)
            && !self.remembers_a_row(policy, now))
            || engine.is_long_due(&policy.engine, now.millis())
    }

    /// Whether a row of failures outlives a window of time.
    fn remembers_a_row(&self, policy: &Policy, now: Moment) -> bool {
        let age = policy.age(Some(now));
        age.ends() && self.consecutive_failures(policy).is_some_and(|failures| failures.get(age) > 0)
    }

    /// Runs one step of the engine and publishes the change it makes.
    pub(super) fn change<T>(
        self: &Arc<Self>,
        step: impl FnOnce(&mut Engine, &EngineConfig) -> (T, Option<Change>),
    ) -> T {
        self.change_by(None, step)
    }

    /// Like [`change`](Self::change), but reports these counts instead of those of the window.
    pub(super) fn change_by<T>(
        self: &Arc<Self>,
        counts: Option<Counts>,
        step: impl FnOnce(&mut Engine, &EngineConfig) -> (T, Option<Change>),
    ) -> T {
        let mut engine = self.lock();
        let InEra { shared, window } = self.now_in();
        let (result, change) = step(&mut engine, &shared.policy.engine);
        let Some(change) = change else { return result };
        let now = self.now();
        let counts = counts.unwrap_or_else(|| window.counts(shared.policy.window, now));
        let trip = self.packed_trip().after(change, counts, now.millis());
        if change.from.0 == State::Closed {
            self.eras.get().into_iter().for_each(Eras::trip);
        }
        self.trip.store(trip.bits(), Ordering::Release);
        self.publish(&engine, change);
        let generation = engine.generation();
        drop(engine);
        // After the lock is released: wakers and subscribers may read this node.
        if rejects(change) {
            self.shared.waiters.wake(self.address(), News::Rejection);
        }
        self.shared.waiters.wake(self.address(), News::Change);
        self.shared.observer.changed(self, change, generation, counts);
        result
    }

    fn publish(&self, engine: &Engine, change: Change) {
        let packed = self.packed_of(engine);
        if change.empties_window {
            // No call may write to the window meanwhile: those of the old generation find that it has ended, and new
            // ones wait for the lock.
            self.packed.store(packed.between().bits(), Ordering::SeqCst);
            let InEra { shared, window } = self.now_in();
            window.reset(shared.policy.window, self.now());
            self.row().into_iter().for_each(ConsecutiveFailures::reset);
            self.begin_votes();
        }
        self.packed.store(packed.bits(), Ordering::SeqCst);
    }

    fn packed_of(&self, engine: &Engine) -> PackedState {
        let (era, windows) = self.eras.get().map_or((0, 0), |eras| (eras.current(), eras.windows()));
        engine.packed().with_nested(self.identity.nesting().is_some()).with_era(era, windows)
    }

    fn begin_votes(&self) {
        if let (Some(electorate), Some(config)) = (self.electorate(), self.policy().votes) {
            electorate.votes.begin(config.tick(self.now()));
        }
    }

    /// The packed state, if calls of this generation count. While the window is replaced, this waits.
    #[inline(always)]
    pub(super) fn counting(&self, generation: u32) -> Option<PackedState> {
        let packed = self.packed();
        if packed.counts(generation) { Some(packed) } else { self.decided(packed, generation) }
    }

    #[cold]
    #[inline(never)]
    fn decided(&self, mut packed: PackedState, generation: u32) -> Option<PackedState> {
        while packed.phase() == Phase::Undecided {
            drop(self.lock());
            // By now the window may be replaced again.
            packed = self.packed();
        }
        packed.counts(generation).then_some(packed)
    }

    #[inline]
    pub(super) fn packed(&self) -> PackedState {
        PackedState::from_bits(self.packed.load(Ordering::Acquire))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Engine> {
        lock(&self.engine)
    }
}

/// The state lies in atomics and under locks that stay consistent across a panic.
impl RefUnwindSafe for Node {}

impl Named for Node {
    fn name(&self) -> &str {
        self.name()
    }

    fn label(&self) -> &str {
        self.label()
    }

    fn is_partitioned(&self) -> bool {
        self.shared.is_partitioned
    }

    fn trip(&self, TripInEra { trip, era }: TripInEra) -> Option<Trip> {
        trip.get().map(|trip| Trip::new(trip, &self.in_era(era).shared.policy))
    }
}

/// Shown in errors and permits: neither the settings of the layer nor the inner nodes.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.name())
            .field("partition", &self.label())
            .field("state", &self.state())
            .field("mode", &self.mode())
            .finish_non_exhaustive()
    }
}

impl Identity {
    fn nesting(&self) -> Option<&Nesting<Node>> {
        match self {
            Self::Alone(_) => None,
            Self::Related(related) => Some(&related.1),
        }
    }
}

/// Whether calls that were admitted before may be rejected now.
fn rejects(change: Change) -> bool {
    change.to.0 == State::Open && Attempt::Retry.can_be_rejected_in(change.to.1)
}
