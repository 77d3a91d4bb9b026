use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::OnVerdict;
use crate::classify::{Class, Reason, Verdict};

/// Counts verdicts by class and reason. Clones share the counts.
///
/// Counting is one atomic addition and, except for a plain success, a search among the few pairs seen so far. It never
/// locks or allocates.
///
/// ```
/// use tower_rampart::ClassifyLayer;
/// use tower_rampart::classify::{Class, Counters, Reason};
///
/// let counters = Counters::new();
/// let layer = ClassifyLayer::new_for_http().counters(&counters);
/// # let _ = layer;
/// // … later, wherever metrics are collected:
/// for (class, reason, count) in counters.iter() {
///     println!("verdicts_total{{class=\"{class}\",reason=\"{reason}\"}} {count}");
/// }
/// assert_eq!(counters.count(Class::Transient, Reason::TIMEOUT), 0);
/// ```
#[derive(Clone)]
pub struct Counters {
    counts: Arc<Counts>,
}

/// The reasons of this crate need fewer pairs; the rest is for reasons of the user.
const PAIRS: usize = 64;

struct Counts {
    success: AtomicU64,
    pairs: [Pair; PAIRS],
    // By class, once all pairs are taken.
    others: [AtomicU64; CLASSES.len()],
}

#[derive(Default)]
struct Pair {
    of: OnceLock<(Class, Reason)>,
    count: AtomicU64,
}

const CLASSES: [Class; 4] = [Class::Success, Class::Transient, Class::Terminal, Class::Ambiguous];

impl Counters {
    /// The reason that stands for all further ones once 64 pairs are taken. Only reasons of your own can take so many.
    pub const OTHER: Reason = Reason::new("other");

    /// Creates counters at zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            counts: Arc::new(Counts {
                success: AtomicU64::new(0),
                pairs: std::array::from_fn(|_| Pair::default()),
                others: std::array::from_fn(|_| AtomicU64::new(0)),
            }),
        }
    }

    /// Returns the number of verdicts of this class and reason. A plain success has the reason [`Reason::UNKNOWN`].
    #[must_use]
    pub fn count(&self, class: Class, reason: Reason) -> u64 {
        self.iter().filter(|(c, r, _)| (*c, *r) == (class, reason)).map(|(.., count)| count).sum()
    }

    /// Returns the number of verdicts of this class.
    #[must_use]
    pub fn class(&self, class: Class) -> u64 {
        self.iter().filter(|(c, ..)| *c == class).map(|(.., count)| count).sum()
    }

    /// Iterates over the pairs with a count above zero. Not a snapshot: concurrent verdicts may be missing.
    pub fn iter(&self) -> impl Iterator<Item = (Class, Reason, u64)> + '_ {
        let Counts { success, pairs, others } = &*self.counts;
        let success = std::iter::once((Class::Success, Reason::UNKNOWN, success));
        let pairs = pairs.iter().map_while(|pair| pair.of.get().map(|&(class, reason)| (class, reason, &pair.count)));
        let others = CLASSES.into_iter().zip(others).map(|(class, count)| (class, Self::OTHER, count));
        success
            .chain(pairs)
            .chain(others)
            .map(|(class, reason, count)| (class, reason, count.load(Ordering::Relaxed)))
            .filter(|(.., count)| *count > 0)
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

impl OnVerdict for Counters {
    fn on_verdict(&self, verdict: &Verdict) {
        // Relaxed: no other memory depends on a count.
        self.counts.of(verdict.class(), verdict.reason()).fetch_add(1, Ordering::Relaxed);
    }
}

impl Counts {
    fn of(&self, class: Class, reason: Reason) -> &AtomicU64 {
        if (class, reason) == (Class::Success, Reason::UNKNOWN) {
            return &self.success;
        }
        // Pairs are taken in order and never freed, so two threads that look for the same pair find the same place.
        let place = self.pairs.iter().find(|pair| *pair.of.get_or_init(|| (class, reason)) == (class, reason));
        match place {
            Some(pair) => &pair.count,
            None => &self.others[class as usize],
        }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
