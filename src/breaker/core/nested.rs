//! Partitions within a partition: the inner ones tell the outer one when they open.
//!
//! Nothing is counted up and down, so that nothing can go astray when a breaker is reset, forced or forgotten: the outer
//! one looks at the inner ones when one of them opens, but not more often than the share can have been reached.

use std::sync::{Arc, Weak};

use super::nesting::{Children, NEVER, ParentLink, Taken};
use super::node::{Completion, IDLE, Node, opening_rng};
use super::packed_state::Phase;
use super::policy::Share;
use super::state_machine::{Attempt, Opening, PermitKind, Rejection};
use super::window::{Counts, WindowConfig};
use crate::breaker::{Cause, Mode, State};
use crate::classify::Health;
use crate::clock::millis_up;
use crate::sync::{Ordering, lock};

/// How an inner breaker looks to the one around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Had no calls lately.
    Idle,
    Closed,
    Open,
}

/// The right to ask for a place of a probe: nobody else has to go first.
struct Turn {
    /// What [`ParentLink::taken`] was when this was found out, so that only one of several calls at once takes a place.
    before: u64,
    cycle: u64,
}

/// One bad tenant never shuts a host.
const FEWEST_OPEN: u64 = 2;
/// Inner breakers fall idle with no opening that would tell.
const LOOK_EVERY_MILLIS: u64 = 1_000;
/// Fewer are looked at whenever one of them opens.
const MANY: u64 = 64;
const NEUTRAL: Completion = Completion::Judged(Health::Neutral, None);

impl Node {
    /// For how many milliseconds those go first that have not failed as probes; `awaited` tells of a generation whether
    /// one of them has found no place.
    pub(crate) fn turn_ends(&self, awaited: impl Fn(u32) -> bool) -> Option<(State, u64)> {
        let engine = self.lock();
        let turn = engine.turn_ends(&self.shared.policy.engine, awaited(engine.generation()))?;
        Some((engine.state(), turn.saturating_sub(self.now().millis())))
    }

    /// How it looks to the breaker around it, in this generation of that one.
    pub(crate) fn standing(&self, generation: u32) -> Standing {
        let engine = self.lock();
        let (policy, now) = (&self.shared.policy, self.now());
        let long = match policy.window {
            WindowConfig::Count { .. } => millis_up(IDLE),
            WindowConfig::Time { buckets, bucket_nanos, .. } => u64::from(buckets) * (bucket_nanos / 1_000_000),
        };
        // Changes come with calls, and who still calls an open one comes by when it is due. What is forced open or disabled
        // was changed by hand, and counts no calls.
        let news = engine.open_until().or(engine.changed_by_calls_at());
        let lately = news.is_some_and(|news| now.millis() <= news.saturating_add(long))
            || !self.window.is_idle(policy.window, now, IDLE);
        if !lately {
            return Standing::Idle;
        }
        let is_news = self.parent_link().is_some_and(|parent_link| parent_link.has_opened_in(generation));
        Standing::of_tripped(engine.state(), is_news)
    }

    #[cold]
    pub(super) fn inner_opened(self: &Arc<Self>) {
        let packed = self.packed().kept();
        let (Some(share), Some(children)) = (self.shared.policy.share, self.children()) else { return };
        if packed.phase() != Phase::Live(State::Closed) || packed.mode() == Mode::Disabled {
            return;
        }
        let now = self.now().millis();
        let Some(counts) = children.opened(share, packed.generation(), now) else { return };
        let mut rng = opening_rng();
        let opening = Opening { now, hint: None };
        self.change_by(Some(counts), |engine, config| {
            ((), engine.trip(config, packed.generation(), Cause::PartitionsOpen, opening, &mut rng))
        });
    }
}

impl Children<Node> {
    /// Inner breakers out of the registry for good that the map has yet to let go of.
    pub(crate) fn retired(&self) -> usize {
        lock(&self.members).nodes.iter().filter_map(Weak::upgrade).filter(|node| node.is_retired()).count()
    }

    /// An inner breaker has opened, as its word says already. Open ones among those with calls, if that is too many.
    pub(crate) fn opened(&self, share: Share, generation: u32, now: u64) -> Option<Counts> {
        let mut members = lock(&self.members);
        if members.spare > 0 && now < members.looked_at.saturating_add(LOOK_EVERY_MILLIS) {
            members.spare -= 1;
            return None;
        }
        let mut counts = Counts::default();
        for node in members.nodes.iter().filter_map(Weak::upgrade) {
            match node.standing(generation) {
                Standing::Idle => {}
                Standing::Closed => counts.calls += 1,
                Standing::Open => {
                    counts.calls += 1;
                    counts.failures += 1;
                }
            }
        }
        let enough = counts.calls >= share.minimum.into();
        if enough && counts.failures >= FEWEST_OPEN && counts.failure_rate() >= share.share {
            members.spare = 0;
            // Who failed as a probe in an earlier outage is not held back in this one.
            self.cycle.fetch_add(1, Ordering::Relaxed);
            return Some(counts);
        }
        // Halfway to the share is early enough for the next look; the one that reaches it is always looked at.
        let needed = ((counts.calls as f64 * share.share).floor() as u64).max(FEWEST_OPEN);
        let missing = needed.saturating_sub(counts.failures);
        members.spare = if enough && counts.calls >= MANY { missing.div_ceil(2).saturating_sub(1) } else { 0 };
        members.looked_at = now;
        None
    }
}

impl ParentLink<Node> {
    /// Whether the outer breaker would refuse a call now; counts as a refusal.
    pub(crate) fn rejection(&self, attempt: Attempt) -> Option<Rejection> {
        if self.outer().is_open_to_all() {
            return None;
        }
        let children = self.outer().children()?;
        let rejection = match self.outer().rejection_alone(attempt) {
            Some(rejection) => {
                if rejection.state == State::HalfOpen && !self.taken().is_in(children.cycle()) {
                    children.awaited_in.store(self.outer().generation().into(), Ordering::Relaxed);
                }
                rejection
            }
            None if self.outer().rejects(attempt) => self.reject(self.turn(children).err()?),
            None => return None,
        };
        Some(Rejection { by_outer: true, ..rejection })
    }

    /// The place of a probe of the outer breaker, if the call is one. An error only if it is asked `strictly`, and then
    /// it counts as a refusal.
    pub(crate) fn acquire(&self, attempt: Attempt, strictly: bool) -> Result<Option<PermitKind>, Rejection> {
        if self.outer().is_open_to_all() {
            return Ok(None);
        }
        let Some(children) = self.outer().children() else { return Ok(None) };
        let strictly = strictly && self.outer().rejects(attempt);
        let rejected = |rejection| if strictly { Err(Rejection { by_outer: true, ..rejection }) } else { Ok(None) };
        let turn = match self.turn(children) {
            Ok(turn) => turn,
            Err(_) if !strictly => return Ok(None),
            Err(wait) => return rejected(self.reject(wait)),
        };
        let acquired =
            if strictly { self.outer().acquire_alone(attempt) } else { self.outer().acquire_if_room(attempt) };
        let (generation, id, permit) = match acquired {
            Ok(permit @ PermitKind::Probe { generation, id }) => (generation, id, permit),
            Ok(PermitKind::Counted { .. } | PermitKind::Uncounted) => return Ok(None),
            Err(rejection) => return rejected(rejection),
        };
        let taken = Taken::new(turn.cycle, generation, id);
        if self.taken.compare_exchange(turn.before, taken.0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            // Another call of the same inner breaker came at the same time and was faster.
            self.outer().settle(permit, None, NEUTRAL);
            return self.acquire(attempt, strictly);
        }
        children.awaited_in.store(NEVER, Ordering::Relaxed);
        Ok(Some(permit))
    }

    /// A probe of the outer breaker has ended. Whoever has not succeeded lets those go first who have come meanwhile.
    pub(crate) fn ended(&self, probe: PermitKind, health: Health) {
        let (PermitKind::Probe { generation, id }, Some(children)) = (probe, self.outer().children()) else { return };
        let goes_on = match health {
            Health::Success => true,
            Health::Neutral => !children.is_awaited_in(generation),
            Health::Failure | Health::Throttled => false,
        };
        let taken = self.taken();
        if goes_on && taken.is_of(generation, id) {
            let _ = self.taken.compare_exchange(taken.0, NEVER, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Who has failed as a probe, or not ended in time, lets the others go first for the time of a lease: a bad tenant that
    /// calls more often than all others would else keep them shut out. In milliseconds, if it is not its turn.
    fn turn(&self, children: &Children<Node>) -> Result<Turn, (State, u64)> {
        let (taken, cycle) = (self.taken(), children.cycle());
        let turn = Turn { before: taken.0, cycle };
        if !taken.is_in(cycle) {
            return Ok(turn);
        }
        let Some((state, wait)) = self.outer().turn_ends(|generation| children.is_awaited_in(generation)) else {
            return Ok(turn);
        };
        if wait > 0 {
            return Err((state, wait));
        }
        // Nobody else has come: all may again.
        let next = cycle.wrapping_add(1);
        let _ = children.cycle.compare_exchange(cycle, next, Ordering::Relaxed, Ordering::Relaxed);
        Ok(Turn { cycle: next, ..turn })
    }

    fn reject(&self, (state, wait): (State, u64)) -> Rejection {
        self.outer().count_rejection();
        Rejection { state, wait: Some(wait), by_outer: true }
    }
}

impl Standing {
    pub(crate) fn of_tripped(state: State, is_news: bool) -> Self {
        match state {
            State::Closed => Self::Closed,
            State::Open | State::HalfOpen if is_news => Self::Open,
            State::Open | State::HalfOpen => Self::Closed,
        }
    }
}
