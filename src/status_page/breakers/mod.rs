//! The breakers on the page, of layers with keys of different types.

mod history;
mod id;
mod walk;

use std::fmt;
use std::sync::{Arc, Weak};

use self::history::History;
pub(super) use self::history::{Record, Transition};
pub(super) use self::id::Id;
pub(super) use self::walk::Walk;
use crate::breaker::{CircuitBreaker, Handle};

/// The layers on the page, and what their breakers went through.
#[derive(Clone, Default)]
pub(super) struct Watched {
    layers: Vec<Arc<dyn Layer>>,
    history: Arc<History>,
}

/// A handle, whatever its keys are.
pub(super) trait Layer: Send + Sync {
    fn name(&self) -> &str;

    fn overflowed(&self) -> u64;

    fn breakers_below(&self, end: usize, count: usize) -> (usize, Vec<CircuitBreaker>);
}

impl Watched {
    pub(super) fn add<K: Send + Sync + 'static>(&mut self, handle: Handle<K>) {
        let history: Weak<History> = Arc::downgrade(&self.history);
        handle.report_to(history);
        self.layers.push(Arc::new(handle));
    }

    pub(super) fn layers(&self) -> &[Arc<dyn Layer>] {
        &self.layers
    }

    pub(super) fn id(&self, breaker: &CircuitBreaker) -> Id {
        self.history.ids().of(breaker)
    }

    /// What is known of the past of a breaker.
    pub(super) fn record(&self, id: Id) -> Record {
        self.history.record(id)
    }
}

impl<K: Send + Sync> Layer for Handle<K> {
    fn name(&self) -> &str {
        self.name()
    }

    fn overflowed(&self) -> u64 {
        self.overflowed()
    }

    fn breakers_below(&self, end: usize, count: usize) -> (usize, Vec<CircuitBreaker>) {
        self.breakers_below(end, count)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.layers.iter().map(|layer| layer.name())).finish()
    }
}
