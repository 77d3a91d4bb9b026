use proptest::prelude::*;

use super::*;

const OK: Outcome = Outcome { failed: false, slow: false };
const FAILED: Outcome = Outcome { failed: true, slow: false };

const LANES: Lanes = Lanes { count: 2, stride: 5 };
const TOTALS: usize = 10;

fn shape(buckets: u32, watch_slow: bool) -> Shape {
    Shape { buckets, watch_slow, minimum_calls: u64::MAX }
}

fn words(buckets: u32, watch_slow: bool) -> Vec<AtomicU64> {
    let (others, first) = TimeWindow::words(shape(buckets, watch_slow), LANES);
    (0..TOTALS + others).map(|index| AtomicU64::new(if index == TOTALS { first } else { 0 })).collect()
}

/// A window of two lanes.
fn window(words: &[AtomicU64], buckets: u32, watch_slow: bool) -> TimeWindow<'_> {
    let (totals, others) = words.split_at(TOTALS);
    TimeWindow::new(totals, others, shape(buckets, watch_slow), LANES)
}

impl TimeWindow<'_> {
    fn record(self, lane: usize, tick: u64, outcome: Outcome, live: impl Fn() -> bool) -> Option<Counts> {
        self.try_record(lane, tick, outcome, live).unwrap_or_default()
    }
}

/// What the window holds now, if that speaks against the upstream.
fn suspicious(window: TimeWindow<'_>) -> Option<Counts> {
    window.counts(0).if_suspicious()
}

fn counts(calls: u64, failures: u64) -> Counts {
    Counts { calls, failures, slow: 0 }
}

/// Records, and returns the counts of the window in any case.
fn record(window: TimeWindow<'_>, tick: u64, outcome: Outcome) -> Counts {
    // Both lanes in turn.
    let lane = (window.counts(0).calls % 2) as usize;
    let seen = window.record(lane, tick, outcome, || true);
    let counts = window.counts(0);
    assert_eq!(seen, counts.if_suspicious());
    counts
}

#[test]
fn no_jump_of_the_clock_brings_old_counts_back() {
    // Whatever bits a lap has: after exactly that many laps an old bucket would look new.
    for laps in (1..=40).map(|bits| 1_u64 << bits) {
        for buckets in [1, 3, 10] {
            let words = words(buckets, false);
            let window = window(&words, buckets, false);
            window.record(0, 0, FAILED, || true);
            let tick = laps * u64::from(buckets);
            assert_eq!(window.counts(tick), counts(0, 0), "{laps} laps");
            assert_eq!(record(window, tick, OK), counts(1, 0), "{laps} laps");
        }
    }
}

#[test]
fn a_bucket_that_is_always_skipped_does_not_come_back() {
    let words = words(4, false);
    let window = window(&words, 4, false);
    window.record(0, 3, FAILED, || true);
    // Every lap but never again the fourth bucket, for longer than laps have numbers.
    for lap in 1..40_000_u64 {
        for tick in 0..3 {
            let expected = if lap == 1 { u64::from(tick < 3) } else { 0 };
            let seen = record(window, lap * 4 + tick, OK);
            assert_eq!(seen.failures, expected, "lap {lap}, tick {tick}");
        }
    }
}

#[test]
fn recording_costs_the_same_whatever_the_number_of_buckets_and_outcomes() {
    const LEN: u64 = MAX_BUCKETS as u64;
    let words = words(MAX_BUCKETS, false);
    let window = window(&words, MAX_BUCKETS, false);
    for tick in 0..LEN {
        record(window, tick, FAILED);
        record(window, tick, OK);
    }
    // All other buckets are made unreadable: a recorder that looks at one counts something else.
    let oldest = window.newest().oldest as usize;
    for (index, begin) in window.outcomes.begins.iter().enumerate() {
        if index / LANES.count != oldest {
            begin.store(begin.load(Ordering::SeqCst) ^ 0x2a_aaaa_aaaa_aaaa, Ordering::SeqCst);
        }
    }
    let asked = std::cell::Cell::new(0);
    let live = || {
        asked.set(asked.get() + 1);
        true
    };
    assert_eq!(window.record(0, LEN - 1, OK, live), Some(counts(2 * LEN + 1, LEN)));
    assert_eq!(window.record(0, LEN - 1, FAILED, live), Some(counts(2 * LEN + 2, LEN + 1)));
    assert_eq!(asked.get(), 2, "one attempt each to write one word");
    // A gap that all buckets have left in needs none of them.
    assert_eq!(window.record(0, 9 * LEN, FAILED, live), Some(counts(1, 1)));
    assert_eq!(asked.get(), 4, "one more to move on");
}

#[test]
fn a_sparse_window_holds_no_bucket_for_an_idle_tick() {
    let words = words(MAX_BUCKETS, false);
    let window = window(&words, MAX_BUCKETS, false);
    for call in 0..10_000_u64 {
        let seen = record(window, call * 100, FAILED);
        assert_eq!(seen.calls, (call + 1).min(11), "call {call}");
        let Newest { index, oldest, .. } = window.newest();
        assert_eq!((index + MAX_BUCKETS - oldest) % MAX_BUCKETS + 1, seen.calls as u32, "one bucket a call");
    }
}

#[test]
fn a_window_of_too_many_calls_forgets_its_oldest_buckets() {
    let words = words(10, false);
    let window = window(&words, 10, false);
    for tick in 0..6 {
        window.outcomes.word(0).fetch_add((CALLS_BETWEEN - 1) << 32, Ordering::SeqCst);
        let seen = window.record(0, tick, FAILED, || true);
        assert!(seen.is_some_and(|seen| seen.calls < CALLS_MAX), "tick {tick}");
    }
    assert_eq!(window.counts(5), counts(CALLS_BETWEEN + 1, 2), "those of the last two ticks");
}

#[test]
fn a_bucket_of_too_many_calls_keeps_its_rate() {
    for buckets in [1, 10] {
        let words = words(buckets, false);
        let window = window(&words, buckets, false);
        window.record(0, 7, OK, || true);
        window.outcomes.word(0).store(((CALLS_MAX - 1) << 32) | (CALLS_MAX / 4 - 1), Ordering::SeqCst);
        assert_eq!(window.record(0, 7, FAILED, || true), Some(counts(CALLS_MAX / 2, CALLS_MAX / 8)));
    }
}

#[test]
fn after_the_last_tick_the_window_stands_still() {
    let words = words(3, false);
    let window = window(&words, 3, false);
    window.record(0, TICK_MAX - 2, FAILED, || true);
    assert_eq!(record(window, u64::MAX, OK), counts(2, 1));
    assert_eq!(record(window, TICK_MAX + 1, FAILED), counts(3, 2));
    assert_eq!(record(window, u64::MAX, OK), counts(4, 2));
    assert_eq!(window.counts(u64::MAX), counts(4, 2));
    window.reset(u64::MAX);
    assert_eq!(record(window, u64::MAX, OK), counts(1, 0));
}

#[test]
fn what_comes_too_late_changes_nothing() {
    let words = words(3, true);
    let window = window(&words, 3, true);
    window.record(0, 1, FAILED, || true);
    assert_eq!(window.record(0, 1, FAILED, || false), None);
    assert_eq!(window.record(0, 9, FAILED, || false), None);
    assert_eq!(window.counts(1), counts(1, 1));
    window.reset(1);
    assert_eq!(window.counts(1), counts(0, 0));
    assert_eq!(record(window, 1, OK), counts(1, 0));
    // Its generation ends after it has counted the slow call.
    let live = std::cell::Cell::new(true);
    let asked = std::cell::Cell::new(0);
    let seen = window.record(0, 1, Outcome { failed: true, slow: true }, || {
        asked.set(asked.get() + 1);
        if asked.get() == 2 {
            live.set(false);
            window.reset(1);
        }
        live.get()
    });
    assert_eq!((asked.get(), seen), (2, None), "asked before each word");
    assert_eq!(record(window, 1, OK), counts(1, 0));
}

/// Runs others at one of the points where a recorder may be interrupted, and returns what it then sees.
fn interrupted(window: TimeWindow<'_>, tick: u64, at: u32, others: impl Fn()) -> Option<Counts> {
    let asked = std::cell::Cell::new(0);
    window.record(0, tick, FAILED, || {
        asked.set(asked.get() + 1);
        if asked.get() == at {
            others();
        }
        true
    })
}

#[test]
fn of_two_recorders_in_neighbouring_buckets_the_last_sees_both() {
    let words = words(10, false);
    let window = window(&words, 10, false);
    // In between, the other moves on to the next bucket and sees nothing of the first.
    let first = interrupted(window, 0, 1, || assert_eq!(window.record(0, 1, FAILED, || true), Some(counts(1, 1))));
    assert_eq!(first, Some(counts(2, 2)));
}

#[test]
fn a_recorder_that_slept_for_ages_spoils_no_bucket() {
    for at in 1..=5 {
        let words = words(2, false);
        let window = window(&words, 2, false);
        // More laps than half of the numbers they have.
        let end = 2 * 9_000;
        let others = || {
            for tick in 2..=end {
                window.record(0, tick, OK, || true);
            }
        };
        interrupted(window, 2, at, others);
        for tick in end + 2..end + 10 {
            let before = window.counts(tick).calls;
            assert_eq!(record(window, tick, OK).calls, before + 1, "asked {at}, tick {tick}");
        }
    }
}

/// A recorder, and those that run while it is interrupted at one of its points.
#[derive(Clone, Debug)]
struct Run {
    tick: u64,
    outcome: Outcome,
    at: u32,
    others: Vec<Run>,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let outcome = prop_oneof![3 => Just((false, false)), 2 => Just((true, false)), 1 => Just((false, true))];
    let run = (0..9_u64, outcome, 1..9_u32).prop_map(|(tick, (failed, slow), at)| Run {
        tick,
        outcome: Outcome { failed, slow },
        at,
        others: Vec::new(),
    });
    let nested = run.clone().prop_recursive(3, 12, 4, move |others| {
        (run.clone(), prop::collection::vec(others, 0..4)).prop_map(|(run, others)| Run { others, ..run })
    });
    prop::collection::vec(nested, 1..6)
}

/// What the recorders saw, in the order in which they ended.
fn run_all(window: TimeWindow<'_>, runs: &[Run], seen: &std::cell::RefCell<Vec<Option<Counts>>>) {
    for run in runs {
        let asked = std::cell::Cell::new(0);
        let counts = window.record(0, run.tick, run.outcome, || {
            asked.set(asked.get() + 1);
            if asked.get() == run.at {
                run_all(window, &run.others, seen);
            }
            true
        });
        seen.borrow_mut().push(counts);
    }
}

#[test]
fn threads_lose_nothing() {
    let words = words(1_000, true);
    let window = window(&words, 1_000, true);
    std::thread::scope(|scope| {
        for worker in 0..4_u64 {
            let window = &window;
            scope.spawn(move || {
                for call in 0..1_000 {
                    let outcome = Outcome { failed: (call + worker) % 2 == 0, slow: call % 4 == 0 };
                    window.record(0, call / 2, outcome, || true);
                }
            });
        }
    });
    assert_eq!(window.counts(499), Counts { calls: 4_000, failures: 2_000, slow: 1_000 });
    assert_eq!(window.totals(), (4_000, 2_000));
}

#[test]
fn totals_go_on_where_the_words_go_round() {
    for reset in [false, true] {
        let words = words(3, true);
        let window = window(&words, 3, true);
        for lane in [0, 1] {
            // All but one of the first round.
            window.outcomes.word(lane).store(u64::MAX, Ordering::Relaxed);
        }
        let (calls, failures) = window.totals();
        assert_eq!((calls, failures), (2 * (Total::ROUND - 1), 2 * (Total::ROUND - 1)));
        if reset {
            window.reset(0);
            assert_eq!(window.totals(), (calls, failures));
        }
        window.record(0, 0, OK, || true);
        assert_eq!(window.totals(), (calls + 1, failures));
        window.record(1, 0, FAILED, || true);
        assert_eq!(window.totals(), (calls + 2, failures + 1));
        window.record(0, 0, FAILED, || true);
        assert_eq!(window.totals(), (calls + 3, failures + 2));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn of_recorders_that_interrupt_each_other_the_last_sees_what_speaks_against(
        buckets in prop::sample::select(vec![1, 2, 3, 10, MAX_BUCKETS]),
        watch_slow: bool,
        runs in runs(),
    ) {
        let words = words(buckets, watch_slow);
        let window = window(&words, buckets, watch_slow);
        let seen = std::cell::RefCell::default();
        run_all(window, &runs, &seen);
        prop_assert_eq!(seen.borrow().last().copied().flatten(), suspicious(window));
    }
}

#[test]
fn rule_5_a_success_sees_its_own_lane_alone_once_that_holds_the_minimum() {
    let words = words(10, false);
    let window = TimeWindow { shape: Shape { minimum_calls: 3, ..shape(10, false) }, ..window(&words, 10, false) };
    window.record(1, 0, FAILED, || true);
    for calls in 2..=4 {
        assert_eq!(window.record(0, 0, OK, || true), Some(counts(calls, 1)));
    }
    assert_eq!(window.record(0, 0, OK, || true), None);
    assert_eq!(window.record(1, 0, OK, || true), Some(counts(6, 1)), "the other lane has few");
    assert_eq!(window.record(0, 0, FAILED, || true), Some(counts(7, 2)), "a failure sees all");
    assert_eq!(window.record(0, 1, OK, || true), Some(counts(8, 2)), "a bucket may have left");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn rule_5_the_outcome_that_reaches_the_rate_sees_it(
        (buckets, minimum_calls, tenths) in (1_u32..5, 1_u64..6, 1_u64..=10),
        outcomes in prop::collection::vec((0..9_u64, 0..2_usize, 0..4_u8), 0..60),
    ) {
        let words = words(buckets, true);
        let shape = Shape { minimum_calls, ..shape(buckets, true) };
        let window = TimeWindow { shape, ..window(&words, buckets, true) };
        let mut tick = 0;
        for (jump, lane, outcome) in outcomes {
            tick += jump.saturating_sub(6);
            let seen = window.record(lane, tick, Outcome { failed: outcome == 0, slow: outcome == 1 }, || true);
            let held = window.counts(tick);
            let reaches = |hits: u64| hits > 0 && hits * 10 >= tenths * held.calls;
            if held.calls >= minimum_calls && (reaches(held.failures) || reaches(held.slow)) {
                prop_assert_eq!(seen, Some(held));
                break;
            }
        }
    }
}

proptest! {
    #[test]
    fn holds_exactly_the_last_ticks(
        buckets in 1_u32..12,
        watch_slow: bool,
        outcomes in prop::collection::vec((0..30_u64, any::<bool>(), any::<bool>(), 0..40_u8), 0..400),
    ) {
        let words = words(buckets, watch_slow);
        let window = window(&words, buckets, watch_slow);
        let (mut model, mut totals) = (Vec::new(), (0, 0));
        let mut tick = 0;
        for (jump, failed, slow, reset) in outcomes {
            // Mostly within a bucket or to the next; now and then far.
            tick += match jump { 0..15 => 0, 15..22 => 1, far => (far - 21).pow(5) };
            if reset == 0 {
                window.reset(tick);
                model.clear();
            }
            let expected = |model: &[(u64, bool, bool)]| {
                let live = || model.iter().filter(|outcome| outcome.0 + u64::from(buckets) > tick);
                Counts {
                    calls: live().count() as u64,
                    failures: live().filter(|outcome| outcome.1).count() as u64,
                    slow: live().filter(|outcome| watch_slow && outcome.2).count() as u64,
                }
            };
            prop_assert_eq!(window.counts(tick), expected(&model));
            model.push((tick, failed, slow));
            let seen = window.record(0, tick, Outcome { failed, slow }, || true);
            prop_assert_eq!(seen, expected(&model).if_suspicious());
            prop_assert_eq!(window.counts(tick), expected(&model));
            totals = (totals.0 + 1, totals.1 + u64::from(failed));
            prop_assert_eq!(window.totals(), totals);
        }
    }
}
