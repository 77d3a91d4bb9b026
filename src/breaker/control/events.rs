use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};

use super::telemetry;
use crate::breaker::core::node::Node;
use crate::breaker::core::observer::Observer;
use crate::breaker::core::state_machine::Change;
use crate::breaker::core::window::Counts;
use crate::breaker::{Cause, CircuitBreaker, Mode, Snapshot, State};

/// Waits for the changes of one breaker, from [`CircuitBreaker::watch`].
#[derive(Debug)]
pub struct Watch {
    breaker: CircuitBreaker,
    /// The version that was last told.
    seen: u64,
}

/// The changes of all breakers of a layer, from [`Handle::subscribe`](crate::breaker::Handle::subscribe).
///
/// A queue of its own that holds as many as it was made for. Whoever reads too slowly misses the oldest ones, and never
/// holds up a call.
#[derive(Debug)]
pub struct Events {
    queue: Arc<Queue>,
}

/// A change of one breaker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// Which one. It is not forgotten while the event is kept.
    pub breaker: CircuitBreaker,
    /// What it did with calls before.
    pub from: State,
    /// What it does with them since.
    pub to: State,
    /// Who decides since.
    pub mode: Mode,
    /// What made it change.
    pub cause: Cause,
    /// The breaker's [`generation`](Snapshot::generation) since. Changes that follow each other closely on several threads
    /// may be told in another order: this one grows, and after a million begins again.
    pub generation: u32,
}

/// Reports changes to telemetry and to the queues of all subscribers.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Mutex<Vec<Weak<Queue>>>);

struct Queue {
    capacity: usize,
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    events: VecDeque<Event>,
    missed: u64,
    reader: Option<Waker>,
}

impl CircuitBreaker {
    /// Waits for its changes.
    ///
    /// ```
    /// use tower_rampart::breaker::{CircuitBreaker, State};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let breaker = CircuitBreaker::builder().build();
    /// let mut watch = breaker.watch();
    /// breaker.force_open();
    /// assert_eq!(watch.changed().await.state, State::Open);
    /// # }
    /// ```
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch { breaker: self.clone(), seen: self.node().version() }
    }
}

impl Watch {
    /// Waits until the breaker has changed since the watch was made or last told: its state, its mode, or by a reset.
    /// Several changes at once are told as one. Can be cancelled without missing any.
    pub async fn changed(&mut self) -> Snapshot {
        let Self { breaker, seen } = self;
        let node = breaker.node();
        let mut waiting = node.waiters().wait();
        *seen = poll_fn(|cx| {
            // Registered before it is looked at, so that no change falls in between.
            waiting.register(cx);
            let version = node.version();
            if version == *seen { Poll::Pending } else { Poll::Ready(version) }
        })
        .await;
        breaker.snapshot()
    }
}

impl Events {
    /// The next change. Waits for it, for ever if the layer and all its services, handles and breakers are gone.
    pub fn recv(&mut self) -> impl Future<Output = Event> + use<'_> {
        poll_fn(|cx| {
            // Wakers are other people's code: made before the lock, and let go of after it.
            let mut reader = Some(cx.waker().clone());
            let mut state = self.queue.lock();
            let event = state.events.pop_front();
            if event.is_none() {
                mem::swap(&mut state.reader, &mut reader);
            }
            drop(state);
            event.map_or(Poll::Pending, Poll::Ready)
        })
    }

    /// The next change, if there is one already.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.queue.lock().events.pop_front()
    }

    /// How many changes did not fit into the queue.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.queue.lock().missed
    }
}

impl Subscribers {
    #[track_caller]
    pub(crate) fn subscribe(&self, capacity: usize) -> Events {
        assert!(capacity >= 1, "subscribe: the capacity must be at least 1, but is {capacity}");
        let queue = Arc::new(Queue { capacity, state: Mutex::default() });
        self.lock().push(Arc::downgrade(&queue));
        Events { queue }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Queue>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer<Node> for Subscribers {
    fn changed(&self, node: &Arc<Node>, change: Change, generation: u32, counts: Counts) {
        telemetry::changed(node, change, counts);
        let queues = {
            let mut queues = self.lock();
            queues.retain(|queue| queue.strong_count() > 0);
            queues.clone()
        };
        if queues.is_empty() {
            return;
        }
        let Change { from, to, cause, empties_window: _ } = change;
        let breaker = CircuitBreaker::new(node.clone());
        let event = Event { breaker, from: from.0, to: to.0, mode: to.1, cause, generation };
        for queue in queues.iter().filter_map(Weak::upgrade) {
            queue.push(event.clone());
        }
    }

    fn overflowed(&self, node: &Arc<Node>, max_partitions: usize, calls: u64) {
        telemetry::overflowed(node, max_partitions, calls);
    }
}

impl Queue {
    fn push(&self, event: Event) {
        let reader = {
            let mut state = self.lock();
            // The events hold breakers, which must not be let go of under the lock of a queue.
            if state.events.len() < self.capacity {
                state.events.push_back(event);
                state.reader.take()
            } else {
                state.missed += 1;
                let oldest = state.events.pop_front();
                state.events.push_back(event);
                let reader = state.reader.take();
                drop(state);
                drop(oldest);
                reader
            }
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
