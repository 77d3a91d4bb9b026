//! A bounded ring that many threads write without a lock.

use crate::sync::{AtomicU64, Ordering, fence};

/// Three words of the caller's, and 16 bits.
pub(super) type Packed = ([u64; 3], u16);

#[derive(Debug)]
pub(super) struct Ring {
    slots: Box<[Slot]>,
    /// The number of the next entry.
    next: AtomicU64,
}

/// One entry, under a sequence lock: a reader that finds the tag changed has read a mixture, and drops it.
///
/// Half a cache line, and never across two.
#[derive(Debug, Default)]
#[repr(align(32))]
struct Slot {
    words: [AtomicU64; 3],
    /// The number of the entry plus one, and its 16 bits.
    tag: AtomicU64,
}

const EMPTY: u64 = 0;
/// A thread is writing.
const BUSY: u64 = u64::MAX;

impl Ring {
    /// Keeps at least so many entries: the next power of two.
    pub(super) fn new(entries: usize) -> Self {
        let slots = entries.next_power_of_two();
        Self { slots: (0..slots).map(|_| Slot::default()).collect(), next: AtomicU64::new(0) }
    }

    /// The number of entries since the start.
    pub(super) fn pushed(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Overwrites the oldest entry.
    ///
    /// A thread that is overtaken by a whole round while it writes keeps its slot, and the entry of the other is lost:
    /// two that write at once would leave a mixture.
    pub(super) fn push(&self, (words, bits): Packed) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(slot) = self.slot(number) else { return };
        let tag = tag(number, bits);
        let found = slot.tag.load(Ordering::Relaxed);
        // Newer than this one, or just being written.
        if found > tag {
            return;
        }
        if slot.tag.compare_exchange(found, BUSY, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return;
        }
        // A reader that sees one of these words then finds the slot busy, or the new tag.
        fence(Ordering::Release);
        for (slot, word) in slot.words.iter().zip(words) {
            slot.store(word, Ordering::Relaxed);
        }
        slot.tag.store(tag, Ordering::Release);
    }

    /// Returns the entries, oldest first.
    pub(super) fn read(&self) -> Vec<Packed> {
        let mut entries: Vec<_> = self.slots.iter().filter_map(Slot::read).collect();
        entries.sort_unstable_by_key(|(tag, _)| *tag);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    fn slot(&self, number: u64) -> Option<&Slot> {
        let last = self.slots.len() as u64 - 1;
        self.slots.get(usize::try_from(number & last).ok()?)
    }
}

impl Slot {
    /// Returns the entry with its tag, unless the slot is empty or written meanwhile.
    fn read(&self) -> Option<(u64, Packed)> {
        let tag = self.tag.load(Ordering::Acquire);
        if matches!(tag, EMPTY | BUSY) {
            return None;
        }
        let words = [0, 1, 2].map(|word: usize| self.words[word].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        #[expect(clippy::cast_possible_truncation, reason = "the lower 16 bits")]
        let entry = (words, tag as u16);
        (self.tag.load(Ordering::Relaxed) == tag).then_some((tag, entry))
    }
}

/// 48 bits of a number last for nine years at a million entries a second; after that the ring takes no more.
fn tag(number: u64, bits: u16) -> u64 {
    (number + 1) << 16 | u64::from(bits)
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use super::*;

    fn firsts(ring: &Ring) -> Vec<u64> {
        ring.read().into_iter().map(|([first, ..], _)| first).collect()
    }

    #[test]
    fn rule_1_an_entry_has_32_bytes_and_the_newest_overwrites_the_oldest() {
        assert_eq!(size_of::<Slot>(), 32);
        let ring = Ring::new(5);
        assert!(ring.read().is_empty());
        for number in 0..8 {
            ring.push(([number; 3], 7));
        }
        assert_eq!(firsts(&ring), [0, 1, 2, 3, 4, 5, 6, 7]);
        for number in 8..1_003 {
            ring.push(([number; 3], 7));
        }
        assert_eq!(firsts(&ring), [995, 996, 997, 998, 999, 1_000, 1_001, 1_002]);
        assert_eq!((ring.pushed(), ring.read()[0]), (1_003, ([995; 3], 7)));
    }

    #[test]
    fn a_thread_that_stopped_while_it_wrote_keeps_its_slot() {
        let ring = Ring::new(2);
        ring.slots[0].tag.store(BUSY, Ordering::Relaxed);
        (0..4).for_each(|number| ring.push(([number; 3], 0)));
        assert_eq!(firsts(&ring), [3]);
        // It ends, with its old number.
        ring.slots[0].tag.store(tag(0, 0), Ordering::Relaxed);
        (4..6).for_each(|number| ring.push(([number; 3], 0)));
        assert_eq!(firsts(&ring), [4, 5]);
    }
}

#[cfg(all(test, rampart_loom))]
mod loom_tests {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    /// Two threads write a ring of one entry while a third reads it.
    #[test]
    fn loom_an_entry_of_the_ring_is_whole_or_absent() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound.get_or_insert(2);
        model.check(|| {
            let ring = Arc::new(Ring::new(1));
            let writers = [1, 2].map(|number: u16| {
                let ring = ring.clone();
                thread::spawn(move || ring.push(([number.into(); 3], number)))
            });
            for ([first, second, third], bits) in ring.read() {
                assert!(first == u64::from(bits) && second == first && third == first);
            }
            for writer in writers {
                assert!(writer.join().is_ok());
            }
            let left = ring.read();
            assert!(left == [([1; 3], 1)] || left == [([2; 3], 2)], "{left:?}");
        });
    }
}
