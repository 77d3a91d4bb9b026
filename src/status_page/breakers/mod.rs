//! The breakers on the page, of layers with keys of different types.

mod history;
mod id;
mod walk;

use std::fmt;
use std::sync::{Arc, Weak};

use self::history::History;
pub(super) use self::history::{Record, Transition};
pub(super) use self::id::Id;
use self::id::Ids;
pub(super) use self::walk::Walk;
use crate::breaker::{CircuitBreaker, Handle, Recording, Subscriber};

/// The layers on the page, and what their breakers went through.
#[derive(Default)]
pub(super) struct Watched {
    layers: Vec<Arc<dyn Layer>>,
    ids: Ids,
    history: Arc<History>,
}

/// A breaker on the page.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) id: Id,
    pub(super) breaker: CircuitBreaker,
}

/// A handle, whatever its keys are.
pub(super) trait Layer: Send + Sync {
    fn name(&self) -> &str;

    fn overflowed(&self) -> u64;

    fn address(&self) -> usize;

    /// `None` without a flight recorder.
    fn recording(&self) -> Option<Recording>;

    fn has_recorder(&self) -> bool;

    fn breakers_below(&self, end: usize, count: usize) -> (usize, Vec<(CircuitBreaker, u32)>);

    fn report_to(&self, subscriber: Weak<dyn Subscriber>);
}

impl Watched {
    /// Adds a layer, unless it is there already.
    pub(super) fn add(&mut self, layer: Arc<dyn Layer>) {
        if self.layers.iter().any(|known| known.address() == layer.address()) {
            return;
        }
        let history: Weak<History> = Arc::downgrade(&self.history);
        layer.report_to(history);
        self.layers.push(layer);
    }

    pub(super) fn layers(&self) -> &[Arc<dyn Layer>] {
        &self.layers
    }

    pub(super) fn has_recorder(&self, layer: usize) -> bool {
        self.layers.get(layer).is_some_and(|layer| layer.has_recorder())
    }

    /// Returns what the flight recorder of a layer holds, if there are both.
    pub(super) fn recording(&self, layer: usize) -> Option<Recording> {
        self.layers.get(layer)?.recording()
    }

    /// Returns a page of the breakers of a layer, and the place to go on below; `None` if there is no such layer.
    fn page(&self, layer: usize, end: usize, count: usize) -> Option<(usize, Vec<Listed>)> {
        let (first, breakers) = self.layers.get(layer)?.breakers_below(end, count);
        let listed = |(breaker, key_hash)| Listed { id: self.ids.of(layer, &breaker, key_hash), breaker };
        Some((first, breakers.into_iter().map(listed).collect()))
    }

    /// What is known of the past of a breaker.
    pub(super) fn record(&self, breaker: &CircuitBreaker) -> Record {
        self.history.record(&breaker.address())
    }
}

/// The same layers with a history of its own, because layers that are added to the one are not those of the other.
impl Clone for Watched {
    fn clone(&self) -> Self {
        let mut new = Self::default();
        self.layers.iter().for_each(|layer| new.add(layer.clone()));
        new
    }
}

impl<K: Send + Sync> Layer for Handle<K> {
    fn name(&self) -> &str {
        self.name()
    }

    fn overflowed(&self) -> u64 {
        self.overflowed()
    }

    fn address(&self) -> usize {
        self.address()
    }

    fn recording(&self) -> Option<Recording> {
        self.has_recorder().then(|| self.recording())
    }

    fn has_recorder(&self) -> bool {
        self.has_recorder()
    }

    fn breakers_below(&self, end: usize, count: usize) -> (usize, Vec<(CircuitBreaker, u32)>) {
        self.breakers_below(end, count)
    }

    fn report_to(&self, subscriber: Weak<dyn Subscriber>) {
        self.report_to(subscriber);
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.layers.iter().map(|layer| layer.name())).finish()
    }
}
