use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// The tasks that wait for a change of a node.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    ids: u64,
    wakers: Vec<(u64, Waker)>,
}

/// A place in the list, given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    waiters: &'a Waiters,
    id: Option<u64>,
}

impl Waiters {
    pub(crate) fn wait(&self) -> Waiting<'_> {
        Waiting { waiters: self, id: None }
    }

    /// Wakes all tasks, which then look for themselves what has changed.
    pub(crate) fn wake(&self) {
        // Wakers run foreign code: called after the lock is released.
        let wakers = mem::take(&mut self.lock().wakers);
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    pub(crate) fn register(&mut self, cx: &Context<'_>) {
        // Cloned before the lock is taken; the waker it replaces is dropped after.
        let mut waker = cx.waker().clone();
        let mut list = self.waiters.lock();
        let id = *self.id.get_or_insert_with(|| {
            list.ids += 1;
            list.ids
        });
        match list.wakers.iter_mut().find(|(waiting, _)| *waiting == id) {
            Some((_, known)) => mem::swap(known, &mut waker),
            None => return list.wakers.push((id, waker)),
        }
        drop(list);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let mut list = self.waiters.lock();
        let place = list.wakers.iter().position(|(waiting, _)| *waiting == id);
        let waiting = place.map(|place| list.wakers.swap_remove(place));
        drop(list);
        drop(waiting);
    }
}
