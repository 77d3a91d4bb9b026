use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};

use crate::breaker::core::node::Node;
use crate::breaker::core::state_machine::Change;
use crate::breaker::core::waiters::News;
use crate::breaker::{Cause, CircuitBreaker, Mode, Snapshot, State};
use crate::isolated::isolated;

/// Waits for the changes of one breaker, from [`CircuitBreaker::watch`].
#[derive(Debug)]
pub struct Watch {
    breaker: CircuitBreaker,
    /// The version last returned.
    seen: (u32, u16),
}

/// The changes of all breakers of a layer, from [`Handle::subscribe`](crate::breaker::Handle::subscribe).
///
/// Each subscription has a bounded queue of its own. A slow reader misses the oldest changes, and never delays a call.
#[derive(Debug)]
pub struct Events {
    queue: Arc<Queue>,
}

/// A change of one breaker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The breaker. It is not evicted while the event exists.
    pub breaker: CircuitBreaker,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// The mode after.
    pub mode: Mode,
    /// What caused the change.
    pub cause: Cause,
    /// The breaker's [`generation`](Snapshot::generation) after the change. Events of changes that follow each other
    /// closely on several threads may arrive in another order: the generation grows, and wraps after four billion
    /// changes.
    pub generation: u32,
}

/// All subscribers to the changes of a layer.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Mutex<Vec<Weak<dyn Subscriber>>>);

/// Receives every change, from the thread that made it and outside all locks. A breaker is not evicted while an event
/// of it is kept.
pub(crate) trait Subscriber: Send + Sync {
    fn changed(&self, event: Event);
}

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
    /// Waits until the state or the mode changes, or the breaker is reset. Counts from the last return, or from when
    /// the watch was made. Several changes at once return once, also if the last one undoes the others. Cancel safe.
    ///
    /// Changes of other breakers do not wake it.
    pub async fn changed(&mut self) -> Snapshot {
        let Self { breaker, seen } = self;
        let node = breaker.node();
        let mut waiting = node.wait_for(News::Change);
        *seen = poll_fn(|cx| {
            // Registers before it reads the version, so that no change is missed in between.
            waiting.register(cx);
            let version = node.version();
            if version == *seen { Poll::Pending } else { Poll::Ready(version) }
        })
        .await;
        breaker.snapshot()
    }
}

impl Events {
    /// Returns the next change. Waits for ever if the layer and all its services, handles and breakers are gone.
    pub fn recv(&mut self) -> impl Future<Output = Event> + use<'_> {
        poll_fn(|cx| {
            // Wakers run foreign code: cloned before the lock is taken, dropped after it is released.
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

    /// Returns the next change if there is one already.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.queue.lock().events.pop_front()
    }

    /// Returns the number of changes that did not fit into the queue.
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
        self.add(Arc::<Queue>::downgrade(&queue));
        Events { queue }
    }

    pub(crate) fn add(&self, subscriber: Weak<dyn Subscriber>) {
        let mut subscribers = self.lock();
        subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        subscribers.push(subscriber);
    }

    /// Reports a change to all of them.
    pub(crate) fn notify(&self, node: &Arc<Node>, change: Change, generation: u32) {
        let subscribers = {
            let mut subscribers = self.lock();
            subscribers.retain(|subscriber| subscriber.strong_count() > 0);
            subscribers.clone()
        };
        if subscribers.is_empty() {
            return;
        }
        let Change { from, to, cause, empties_window: _ } = change;
        let breaker = CircuitBreaker::new(node.clone());
        let event = Event { breaker, from: from.0, to: to.0, mode: to.1, cause, generation };
        for subscriber in subscribers.iter().filter_map(Weak::upgrade) {
            subscriber.changed(event.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn Subscriber>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Queue {
    fn changed(&self, event: Event) {
        let mut state = self.lock();
        let is_full = state.events.len() == self.capacity;
        state.missed += u64::from(is_full);
        let oldest = if is_full { state.events.pop_front() } else { None };
        state.events.push_back(event);
        let reader = state.reader.take();
        // The events hold breakers, which must not be dropped under the lock of a queue.
        drop(state);
        drop(oldest);
        if let Some(reader) = reader {
            isolated(|| reader.wake());
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
