//! Sliding windows of outcomes that any number of threads record into without a lock.
//!
//! How both kinds stay right: a window belongs to one closed generation of its breaker. A recorder loads a word of the
//! window, *then* checks that its generation is still the current one, and only then swaps the word. A window is
//! emptied after its generation has ended, and emptying changes every word. So a recorder that loads an emptied word
//! also sees that its generation has ended, and one that checked before finds that the word has changed and starts
//! again.
//!
//! A window is replaced in the same way: it is closed once its settings no longer hold, and another takes over what it
//! held. A recorder that finds this finishes in the new one what is [left to do](Late).

mod carried;
pub(crate) mod consecutive_failures;
mod count;
mod counts;
pub(super) mod lane;
mod time;

use std::time::Duration;

use self::carried::Carried;
use self::consecutive_failures::Age;
use self::count::CountWindow;
pub(crate) use self::counts::{Counts, Late, Outcome};
pub(crate) use self::time::Shape;
use self::time::ticks::Ticks;
use self::time::{Lanes, TimeWindow};
use crate::clock::{Moment, millis_up, nanos};
use crate::settings::invalid_setting::{InvalidSetting, ensure, valid};
use crate::sync::AtomicU64;

/// The outcomes that the rates of a breaker are computed from. Slides: older outcomes never count, however many there
/// were.
///
/// ```
/// use std::time::Duration;
/// use tower_rampart::breaker::Window;
///
/// let minute = Window::time(Duration::from_secs(60)); // in ten buckets
/// let finer = Window::time(Duration::from_secs(60)).buckets(60);
/// let hundred = Window::count(100);
/// # let _ = (minute, finer, hundred);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Count(u32),
    Time { length: Duration, buckets: u32 },
}

/// A window in the form that a recorder needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowConfig {
    Count { calls: u32 },
    Time { shape: Shape, ticks: Ticks },
}

/// The window of one breaker. Its kind is kept once for all breakers of a layer, not in each.
#[derive(Debug)]
pub(crate) struct SlidingWindow(Words);

/// First the hot words, which every outcome writes, then the others.
#[derive(Debug)]
enum Words {
    /// The words of a small window lie in the breaker itself, which saves an allocation and a cache miss.
    Inline([AtomicU64; INLINE]),
    Boxed(Box<[AtomicU64]>),
    /// The hot words of each lane have cache lines of their own: for a breaker that all threads share.
    Apart(Box<[AtomicU64]>),
}

/// The words seen as a window of their kind.
enum View<'a> {
    Count(CountWindow<'a>),
    Time(TimeWindow<'a>, Ticks),
}

const DEFAULT_BUCKETS: u32 = 10;
/// Enough for ten buckets, the totals and the consecutive failures.
const INLINE: usize = 16;
/// Two cache lines, because processors fetch them in pairs.
const APART: usize = 16;
const LANES: Lanes = Lanes { count: lane::COUNT, stride: APART };
const SHORTEST_BUCKET: Duration = Duration::from_millis(1);

impl Window {
    /// The longest window of [`count`](Self::count).
    pub const MAX_CALLS: u32 = count::MAX_CALLS;
    /// The most [`buckets`](Self::buckets).
    pub const MAX_BUCKETS: u32 = time::MAX_BUCKETS;

    /// Exactly the last `calls` outcomes, however long ago. Two bits each.
    ///
    /// # Panics
    ///
    /// If `calls` is 0 or more than [`MAX_CALLS`](Self::MAX_CALLS).
    #[must_use]
    #[track_caller]
    pub fn count(calls: u32) -> Self {
        valid(Self::try_count(calls))
    }

    /// [`count`](Self::count), with an error in place of a panic.
    pub fn try_count(calls: u32) -> Result<Self, InvalidSetting> {
        ensure!(
            (1..=Self::MAX_CALLS).contains(&calls),
            "Window::count: the calls must lie between 1 and {}, but are {calls}",
            Self::MAX_CALLS
        );
        Ok(Self(Kind::Count(calls)))
    }

    /// The outcomes of the last `length`, in ten buckets, or in fewer if they were shorter than a millisecond: at any
    /// time the newest tenth is still filling, and a tenth is forgotten at once. Takes eight bytes a bucket, or 32
    /// without partitions, whatever the traffic; twice that with
    /// [`slow_calls`](crate::CircuitBreakerLayer::slow_calls). A window of more than 33 million calls forgets its
    /// oldest buckets early.
    ///
    /// # Panics
    ///
    /// If the length is below a millisecond.
    #[must_use]
    #[track_caller]
    pub fn time(length: Duration) -> Self {
        valid(Self::try_time(length))
    }

    /// [`time`](Self::time), with an error in place of a panic.
    pub fn try_time(length: Duration) -> Result<Self, InvalidSetting> {
        let fit = u32::try_from(length.as_millis()).unwrap_or(u32::MAX);
        Self::checked_time(length, DEFAULT_BUCKETS.min(fit.max(1)))
    }

    /// The same time in another number of buckets.
    ///
    /// # Panics
    ///
    /// If this is a window of [`count`](Self::count), if there are no buckets or more than
    /// [`MAX_BUCKETS`](Self::MAX_BUCKETS), or if a bucket were shorter than a millisecond.
    #[must_use]
    #[track_caller]
    pub fn buckets(self, buckets: u32) -> Self {
        valid(self.try_buckets(buckets))
    }

    /// [`buckets`](Self::buckets), with an error in place of a panic.
    pub fn try_buckets(self, buckets: u32) -> Result<Self, InvalidSetting> {
        match self.0 {
            Kind::Time { length, .. } => Self::checked_time(length, buckets),
            Kind::Count(calls) => {
                Err(InvalidSetting::new(format!("Window::buckets: a window of {calls} calls has no buckets")))
            }
        }
    }

    fn checked_time(length: Duration, buckets: u32) -> Result<Self, InvalidSetting> {
        ensure!(
            (1..=Self::MAX_BUCKETS).contains(&buckets),
            "Window::buckets: the buckets must lie between 1 and {}, but are {buckets}",
            Self::MAX_BUCKETS
        );
        ensure!(
            length >= SHORTEST_BUCKET * buckets,
            "Window::time: {length:?} is too short for buckets of {SHORTEST_BUCKET:?}, of which there are {buckets}"
        );
        Ok(Self(Kind::Time { length, buckets }))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0
    }
}

impl Default for Window {
    /// The last ten seconds, in ten buckets.
    fn default() -> Self {
        Self::time(Duration::from_secs(10))
    }
}

impl WindowConfig {
    pub(crate) fn new(kind: Kind, watch_slow: bool, minimum_calls: u64) -> Self {
        match kind {
            Kind::Count(calls) => Self::Count { calls },
            Kind::Time { length, buckets } => {
                let ticks = Ticks::of(nanos(length).div_ceil(buckets.into()));
                let shape = Shape { buckets, watch_slow, minimum_calls };
                Self::Time { shape, ticks }
            }
        }
    }

    /// How to tell that an event is older than the window, and older than `memory`.
    pub(crate) fn age(self, now: Option<Moment>, memory: Duration) -> Age {
        match self {
            Self::Count { .. } => Age { tick: 0, gone_after: u64::MAX },
            Self::Time { shape, ticks, .. } => Age {
                tick: ticks.at(now.map_or(0, Moment::nanos)),
                gone_after: ticks.at(nanos(memory)).max(shape.buckets.into()),
            },
        }
    }

    /// The tick of an event that had this one in another window; now, if that had none.
    pub(crate) fn tick_of(self, tick: u64, from: Self, now: Moment) -> u64 {
        match (from, self) {
            (_, Self::Count { .. }) => 0,
            (Self::Count { .. }, Self::Time { ticks, .. }) => ticks.at(now.nanos()),
            (Self::Time { ticks: from, .. }, Self::Time { ticks, .. }) => ticks.at(from.begin(tick)),
        }
    }

    /// Whether a window of this kind holds what one of the other holds, in the same places.
    pub(crate) fn is_same_window(self, other: Self) -> bool {
        let without_minimum = |config| match config {
            Self::Time { shape, ticks } => Self::Time { shape: Shape { minimum_calls: 0, ..shape }, ticks },
            count @ Self::Count { .. } => count,
        };
        without_minimum(self) == without_minimum(other)
    }

    /// How many words it needs besides the hot ones, and what the first of them begins with.
    fn words(self, lanes: Lanes) -> (usize, u64) {
        match self {
            Self::Count { calls } => (CountWindow::words(calls), 0),
            Self::Time { shape, .. } => TimeWindow::words(shape, lanes),
        }
    }

    /// How many hot words there are in a lane.
    #[inline(always)]
    fn hot_words(self) -> usize {
        match self {
            Self::Count { .. } => 1,
            Self::Time { shape, .. } => shape.tracks(),
        }
    }
}

impl SlidingWindow {
    /// The window of a breaker that is one of many, or of one that all calls share. With more words if that is asked
    /// for.
    pub(crate) fn new(config: WindowConfig, is_one_of_many: bool, more: usize) -> Self {
        let (hot, lanes) =
            if is_one_of_many { (config.hot_words(), Lanes::ONE) } else { (APART + LANES.count * APART, LANES) };
        let (others, first) = config.words(lanes);
        let word = |index| AtomicU64::new(if index == hot { first } else { 0 });
        let all = hot + others + more;
        Self(match is_one_of_many {
            true if all <= INLINE => Words::Inline(std::array::from_fn(word)),
            true => Words::Boxed((0..all).map(word).collect()),
            false => Words::Apart((0..all).map(word).collect()),
        })
    }

    /// The last words, which [`new`](Self::new) was asked for.
    pub(crate) fn last_words<const N: usize>(&self) -> Option<&[AtomicU64; N]> {
        match &self.0 {
            Words::Inline(words) => words.last_chunk(),
            Words::Boxed(words) | Words::Apart(words) => words.last_chunk(),
        }
    }

    /// Adds an outcome and returns the counts of the window if they include a failed or slow call; `None` if `live`
    /// returns false, because the generation has ended.
    #[inline(always)]
    pub(crate) fn try_record(
        &self,
        config: WindowConfig,
        now: Option<Moment>,
        outcome: Outcome,
        live: impl Fn() -> bool,
    ) -> Result<Option<Counts>, Late> {
        let now = now.map_or(0, Moment::nanos);
        match self.view(config) {
            View::Count(window) => window.try_record(outcome, live),
            View::Time(window, ticks) => window.try_record(self.lane(), ticks.at(now), outcome, live),
        }
    }

    /// Finishes in this window what a recorder has left undone in the `ended` one, which this one has taken over from.
    pub(crate) fn record_late(
        &self,
        config: WindowConfig,
        (ended, ended_config): (&Self, WindowConfig),
        now: Moment,
        (outcome, late): (Outcome, Late),
        live: impl Fn() -> bool,
    ) -> Result<Option<Counts>, Late> {
        let done = || Ok(self.counts(config, now).if_suspicious());
        match late {
            Late::Unrecorded { slow_counted } => {
                self.try_record(config, Some(now), Outcome { slow: outcome.slow && !slow_counted, ..outcome }, live)?;
                done()
            }
            Late::At { position } => match (ended.view(ended_config), self.view(config)) {
                (View::Count(ended), View::Count(window)) => match ended.later_than(position) {
                    Some((later, filled)) => window.record_late(later, filled, outcome, live),
                    None => done(),
                },
                // Times keep no places: its window has taken over what lay in its place.
                _ => done(),
            },
            Late::Recorded => done(),
        }
    }

    /// Fills this window, which is new or closed, from another, which is closed with that. While no call may write to
    /// either. Both keep their totals.
    pub(crate) fn take_over(&self, config: WindowConfig, from: (&Self, WindowConfig), now: Moment) {
        let at = |ticks: Ticks| ticks.at(now.nanos());
        match (from.0.view(from.1), self.view(config)) {
            (View::Count(from), View::Count(window)) => window.fill(&from.close()),
            (View::Count(from), View::Time(window, ticks)) => {
                let counts = from.close().into_iter().fold(Counts::default(), Counts::plus);
                window.fill(&[(at(ticks), counts)], at(ticks));
            }
            (View::Time(from, from_ticks), View::Time(window, ticks)) => {
                let buckets = from.close(at(from_ticks)).into_iter();
                let buckets: Vec<_> =
                    buckets.map(|(tick, counts)| (ticks.at(from_ticks.begin(tick)), counts)).collect();
                window.fill(&buckets, at(ticks));
            }
            (View::Time(from, ticks), View::Count(window)) => {
                let mut room = u64::from(window.calls());
                let mut outcomes = Vec::new();
                for (_, counts) in from.close(at(ticks)).into_iter().rev() {
                    let newest = counts.shrunk_to(counts.calls.min(room));
                    room -= newest.calls;
                    outcomes.extend(newest.outcomes());
                }
                outcomes.reverse();
                window.fill(&outcomes);
            }
        }
    }

    pub(crate) fn counts(&self, config: WindowConfig, now: Moment) -> Counts {
        match self.view(config) {
            View::Count(window) => window.counts(),
            View::Time(window, ticks) => window.counts(ticks.at(now.nanos())),
        }
    }

    /// The calls counted since it was made, and the failures among them.
    pub(crate) fn totals(&self, config: WindowConfig) -> (u64, u64) {
        match self.view(config) {
            View::Count(window) => window.totals(),
            View::Time(window, _) => window.totals(),
        }
    }

    /// Adds a call to the totals alone: a probe.
    pub(crate) fn count_apart(&self, config: WindowConfig, failed: bool) {
        let carried: Carried<'_> = match self.view(config) {
            View::Count(window) => window.carried(),
            View::Time(window, _) => window.carried,
        };
        carried.add(1, failed.into());
    }

    /// Empties the window. Only while no generation is closed, and by one at a time.
    pub(crate) fn reset(&self, config: WindowConfig, now: Moment) {
        match self.view(config) {
            View::Count(window) => window.reset(),
            View::Time(window, ticks) => window.reset(ticks.at(now.nanos())),
        }
    }

    /// Whether evicting loses nothing: the window is empty, or it is a count window that has been idle for `long`. By
    /// one caller at a time.
    pub(crate) fn is_idle(&self, config: WindowConfig, now: Moment, long: Duration) -> bool {
        let idle = match self.view(config) {
            View::Count(window) => window.idle_for(now.millis()).is_some_and(|idle| idle >= millis_up(long)),
            View::Time(..) => false,
        };
        idle || self.counts(config, now).calls == 0
    }

    /// Where this thread counts.
    #[inline(always)]
    fn lane(&self) -> usize {
        if matches!(self.0, Words::Apart(_)) { lane::of_thread() } else { 0 }
    }

    #[inline(always)]
    fn view(&self, config: WindowConfig) -> View<'_> {
        let (hot, others, lanes) = match &self.0 {
            Words::Inline(words) => split(words, config.hot_words(), Lanes::ONE),
            Words::Boxed(words) => split(words, config.hot_words(), Lanes::ONE),
            Words::Apart(words) => split(&words[APART..], LANES.count * APART, LANES),
        };
        match config {
            WindowConfig::Count { calls } => View::Count(CountWindow::new(&hot[0], others, calls)),
            WindowConfig::Time { shape, ticks, .. } => View::Time(TimeWindow::new(hot, others, shape, lanes), ticks),
        }
    }
}

#[inline(always)]
fn split(words: &[AtomicU64], hot: usize, lanes: Lanes) -> (&[AtomicU64], &[AtomicU64], Lanes) {
    let (hot, others) = words.split_at(hot);
    (hot, others, lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "the calls must lie between 1 and 1048576, but are 0")]
    fn a_window_of_no_calls_panics() {
        let _ = Window::count(0);
    }

    #[test]
    #[should_panic(expected = "999µs is too short for buckets of 1ms, of which there are 1")]
    fn a_window_below_a_millisecond_panics() {
        let _ = Window::time(Duration::from_micros(999));
    }

    #[test]
    #[should_panic(expected = "5ms is too short for buckets of 1ms, of which there are 6")]
    fn a_bucket_below_a_millisecond_panics() {
        let _ = Window::time(Duration::from_millis(5)).buckets(6);
    }

    #[test]
    #[should_panic(expected = "a window of 5 calls has no buckets")]
    fn buckets_of_a_count_window_panic() {
        let _ = Window::count(5).buckets(2);
    }
}
