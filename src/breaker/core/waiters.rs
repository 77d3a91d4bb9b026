use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Waker};

use crate::isolated::isolated;
use crate::sync::{Mutex, lock};

/// The tasks that wait for news of the nodes of one level. A node without such a task takes no memory here.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Lists>);

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum News {
    Change,
    /// A change after which the node rejects calls.
    Rejection,
}

#[derive(Debug, Default)]
struct Lists {
    /// How many lists were made so far.
    made: u64,
    /// By the address of the node.
    of_nodes: HashMap<(usize, News), List>,
}

/// The tasks that wait for one kind of news of one node.
#[derive(Debug)]
struct List {
    /// No other list has the same number: tells whether a place is of this list.
    number: u64,
    wakers: Vec<Option<Waker>>,
    vacant: Vec<usize>,
}

/// A task that waits for news of a node. Does not keep the node in use.
#[derive(Debug)]
pub(crate) struct Waiting {
    waiters: Arc<Waiters>,
    key: (usize, News),
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    list: u64,
    index: usize,
}

impl Waiters {
    /// Waits for news of the node at this address, once it is [registered](Waiting::register).
    pub(crate) fn wait(self: &Arc<Self>, node: usize, news: News) -> Waiting {
        Waiting { waiters: self.clone(), key: (node, news), place: None }
    }

    /// Wakes the tasks that wait for such news of this node. They look for themselves what has changed.
    pub(crate) fn wake(&self, node: usize, news: News) {
        let list = lock(&self.0).of_nodes.remove(&(node, news));
        let wakers = list.into_iter().flat_map(|list| list.wakers).flatten();
        wakers.for_each(|waker| isolated(|| waker.wake()));
    }
}

impl Waiting {
    /// Registers the task, or replaces its waker. News from here on wakes it once.
    pub(crate) fn register(&mut self, cx: &Context<'_>) {
        if self.known(&mut lock(&self.waiters.0)).is_some_and(|waker| waker.will_wake(cx.waker())) {
            return;
        }
        // Wakers run foreign code: cloned before the lock is taken, and dropped after it is released.
        let mut waker = cx.waker().clone();
        let mut lists = lock(&self.waiters.0);
        match self.known(&mut lists) {
            Some(known) => mem::swap(known, &mut waker),
            None => return self.place = Some(lists.insert(self.key, waker)),
        }
        drop(lists);
    }

    fn known<'a>(&self, lists: &'a mut Lists) -> Option<&'a mut Waker> {
        let (list, place) = lists.list(self)?;
        list.wakers[place.index].as_mut()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut lists = lock(&self.waiters.0);
        let Some((list, place)) = lists.list(self) else { return };
        let waker = list.wakers[place.index].take();
        list.vacant.push(place.index);
        if list.vacant.len() == list.wakers.len() {
            lists.of_nodes.remove(&self.key);
        }
        drop(lists);
        drop(waker);
    }
}

impl Lists {
    /// The list of a task that has not been woken since it registered.
    fn list(&mut self, waiting: &Waiting) -> Option<(&mut List, Place)> {
        let place = waiting.place?;
        let list = self.of_nodes.get_mut(&waiting.key)?;
        (list.number == place.list).then_some((list, place))
    }

    fn insert(&mut self, key: (usize, News), waker: Waker) -> Place {
        let list = self.of_nodes.entry(key).or_insert_with(|| {
            self.made += 1;
            List { number: self.made, wakers: Vec::new(), vacant: Vec::new() }
        });
        let index = list.vacant.pop().unwrap_or_else(|| {
            list.wakers.push(None);
            list.wakers.len() - 1
        });
        list.wakers[index] = Some(waker);
        Place { list: list.number, index }
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use super::*;

    const NODE: usize = 7;

    fn lists(waiters: &Waiters) -> Vec<(usize, usize)> {
        let lists = lock(&waiters.0);
        lists.of_nodes.values().map(|list| (list.wakers.len(), list.vacant.len())).collect()
    }

    #[test]
    fn a_task_that_registers_again_keeps_its_place() {
        let waiters = Arc::new(Waiters::default());
        let cx = Context::from_waker(Waker::noop());
        let mut tasks: Vec<_> = (0..10_000).map(|_| waiters.wait(NODE, News::Change)).collect();
        for _ in 0..3 {
            for (index, task) in tasks.iter_mut().enumerate() {
                task.register(&cx);
                assert_eq!(task.place.map(|place| place.index), Some(index));
            }
        }
        assert_eq!(lists(&waiters), [(10_000, 0)]);
        waiters.wake(NODE, News::Change);
        assert_eq!(lists(&waiters), []);
        tasks.iter_mut().rev().for_each(|task| task.register(&cx));
        assert_eq!(tasks[0].place, Some(Place { list: 2, index: 9_999 }));
    }

    #[test]
    fn a_place_is_used_again_and_the_last_task_leaves_nothing() {
        let waiters = Arc::new(Waiters::default());
        let cx = Context::from_waker(Waker::noop());
        let registered = || {
            let mut task = waiters.wait(NODE, News::Rejection);
            task.register(&cx);
            task
        };
        let [stays, mut goes] = [registered(), registered()];
        for _ in 0..100 {
            goes = registered();
        }
        assert_eq!(lists(&waiters), [(3, 1)]);
        drop(stays);
        drop(goes);
        assert_eq!(lists(&waiters), []);
    }

    #[test]
    fn a_place_of_an_earlier_list_is_not_touched() {
        let waiters = Arc::new(Waiters::default());
        let cx = Context::from_waker(Waker::noop());
        let [mut woken, mut later] = [(); 2].map(|()| waiters.wait(NODE, News::Change));
        woken.register(&cx);
        waiters.wake(NODE, News::Change);
        later.register(&cx);
        drop(woken);
        assert_eq!(lists(&waiters), [(1, 0)]);
    }
}
