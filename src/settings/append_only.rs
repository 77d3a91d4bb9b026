//! A list that never moves what it holds, so that readers borrow it without a lock.

use std::sync::OnceLock;

/// A list to which one thread at a time adds, while others read.
#[derive(Debug)]
pub(crate) struct AppendOnly<T> {
    first: OnceLock<Box<Row<T>>>,
}

/// Some of the values. Each row is twice as long as the one before, so that few rows lead to a value.
#[derive(Debug)]
struct Row<T> {
    values: Box<[OnceLock<T>]>,
    next: OnceLock<Box<Self>>,
}

impl<T> AppendOnly<T> {
    pub(crate) fn new() -> Self {
        Self { first: OnceLock::new() }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        let (row, place) = place(index);
        let mut rows = std::iter::successors(self.first.get(), |row| row.next.get());
        rows.nth(row)?.values.get(place)?.get()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..).map_while(|index| self.get(index))
    }

    /// Adds a value and returns its index. No other thread may add one meanwhile.
    pub(crate) fn push(&self, value: T) -> usize {
        let index = self.iter().count();
        let (row, place) = place(index);
        let mut link = &self.first;
        for before in 0..row {
            link = &link.get_or_init(|| Row::new(before)).next;
        }
        let _ = link.get_or_init(|| Row::new(row)).values[place].set(value);
        index
    }
}

impl<T> Row<T> {
    fn new(number: usize) -> Box<Self> {
        Box::new(Self { values: (0..1 << number).map(|_| OnceLock::new()).collect(), next: OnceLock::new() })
    }
}

/// The number of the row of an index, and the place in it.
fn place(index: usize) -> (usize, usize) {
    let row = (index + 1).ilog2();
    (row as usize, index + 1 - (1 << row))
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use super::*;

    #[test]
    fn values_stay_where_they_are() {
        let list = AppendOnly::new();
        assert_eq!((list.push(0), list.iter().next()), (0, Some(&0)));
        let first: *const usize = list.get(0).unwrap();
        (1..1_000).for_each(|value| assert_eq!(list.push(value), value));
        assert!(list.iter().copied().eq(0..1_000));
        assert_eq!((list.get(0).map(std::ptr::from_ref), list.get(1_000)), (Some(first), None));
    }
}
