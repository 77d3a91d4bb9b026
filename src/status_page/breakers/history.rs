use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::breaker::{Address, Cause, Event, Mode, State, Subscriber};

/// The last changes of the breakers that changed since the page was made.
///
/// It subscribes without a queue: an event in a queue would keep its breaker from being evicted until it is read.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    of: HashMap<Address, Record>,
    /// In the order of their first changes.
    addresses: VecDeque<Address>,
}

/// The last changes of one breaker, oldest first. A probe that failed is no change of its own.
#[derive(Clone, Debug, Default)]
pub(in crate::status_page) struct Record {
    /// All changes, also those that are forgotten.
    pub(in crate::status_page) changes: u64,
    pub(in crate::status_page) last: VecDeque<Transition>,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::status_page) struct Transition {
    pub(in crate::status_page) from: State,
    pub(in crate::status_page) to: State,
    pub(in crate::status_page) mode: Mode,
    pub(in crate::status_page) cause: Cause,
    pub(in crate::status_page) at: Instant,
    /// How often it has been half-open since, and opened again.
    pub(in crate::status_page) reopened: u64,
}

/// Of how many breakers changes are kept. A further one takes the place of the one that changed first.
const BREAKERS: usize = 4_096;
/// The changes that are kept of each.
const CHANGES: usize = 16;

impl History {
    pub(super) fn record(&self, address: &Address) -> Record {
        self.lock().of.get(address).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for History {
    fn changed(&self, event: Event) {
        let Event { breaker, from, to, mode, cause, generation: _ } = event;
        self.lock().add(breaker.address(), Transition { from, to, mode, cause, at: Instant::now(), reopened: 0 });
    }
}

impl Records {
    fn add(&mut self, address: Address, transition: Transition) {
        if !self.of.contains_key(&address) {
            if self.addresses.len() == BREAKERS {
                self.addresses.pop_front().and_then(|oldest| self.of.remove(&oldest));
            }
            self.addresses.push_back(address.clone());
        }
        self.of.entry(address).or_default().add(transition);
    }
}

impl Record {
    fn add(&mut self, transition: Transition) {
        self.changes += 1;
        if transition.from == State::HalfOpen && transition.to == State::Open && self.reopen() {
            return;
        }
        if self.last.len() == CHANGES {
            self.last.pop_front();
        }
        self.last.push_back(transition);
    }

    /// Counts a failed probe where the breaker opened, because an outage of minutes can have hundreds of them. False if
    /// it did not open before.
    fn reopen(&mut self) -> bool {
        let half_open = self.last.pop_back();
        match (self.last.back_mut(), half_open) {
            (Some(open), Some(half_open)) if half_open.from == State::Open && half_open.to == State::HalfOpen => {
                open.reopened += 1;
                true
            }
            (_, half_open) => {
                self.last.extend(half_open);
                false
            }
        }
    }
}
