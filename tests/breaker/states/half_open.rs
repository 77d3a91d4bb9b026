use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tower_rampart::breaker::{CircuitBreaker, Mode, State, Window};
use tower_rampart::classify::Class;
use tower_rampart::retry::{Backoff, Jitter};

use crate::support::*;

/// Opens with the first failure.
fn quick() -> Breakers {
    layer().window(Window::count(1)).open_for(10 * SECOND)
}

#[tokio::test(start_paused = true)]
async fn rule_1_open_half_open_closed() {
    let layer = quick().half_open_max_calls(3).success_threshold(2);
    let (service, upstream) = over(&layer);
    call(&service, Do::Fail).await;
    advance(10 * SECOND - MS).await;
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, MS));
    advance(MS).await;
    assert_eq!(call(&service, Do::Succeed).await, OK);
    assert_eq!(layer.breaker().state(), State::HalfOpen);
    assert_eq!(call(&service, Do::Succeed).await, OK);
    assert_eq!(layer.breaker().state(), State::Closed);
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn rule_1_whole_milliseconds_are_exact_wherever_they_begin() {
    for offset in [0, 1, 499, 500, 999] {
        let layer = quick().half_open_max_calls(1).success_threshold(1);
        let (service, _) = over(&layer);
        advance(Duration::from_micros(offset)).await;
        call(&service, Do::Fail).await;
        assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, 10 * SECOND), "{offset} µs");
        advance(10 * SECOND).await;
        assert_eq!(call(&service, Do::Succeed).await, OK, "{offset} µs");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_failed_or_throttled_probe_opens_again() {
    for what in [Do::Fail, Do::Throttle] {
        let layer = quick();
        let (service, _) = over(&layer);
        call(&service, Do::Fail).await;
        advance(10 * SECOND).await;
        call(&service, Do::Succeed).await;
        call(&service, what).await;
        assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, 10 * SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_the_open_time_escalates_and_begins_anew_after_closing() {
    let growing = Backoff::exponential(SECOND, 5 * SECOND).jitter(Jitter::None);
    let layer = quick().open_for(growing).half_open_max_calls(1).success_threshold(1);
    let (service, _) = over(&layer);
    for expected in [1, 2, 4, 5, 5] {
        assert_eq!(call(&service, Do::Fail).await, Outcome::Failed("failed".into()));
        assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, expected * SECOND));
        advance(expected * SECOND).await;
    }
    assert_eq!(call(&service, Do::Succeed).await, OK);
    call(&service, Do::Fail).await;
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, SECOND));
}

#[tokio::test(start_paused = true)]
async fn rule_1_jitter_keeps_at_least_half_of_the_open_time() {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let layer = quick().open_for(Backoff::exponential(SECOND, 60 * SECOND));
        let (service, _) = over(&layer);
        call(&service, Do::Fail).await;
        let Some(wait) = layer.breaker().snapshot().retry_after else { panic!("is open") };
        assert!((SECOND / 2..=SECOND).contains(&wait), "{wait:?}");
        seen.insert(wait);
    }
    assert!(seen.len() > 10, "a fleet does not probe together: {seen:?}");

    let breaker = quick().open_for(Backoff::exponential(SECOND, 60 * SECOND)).breaker();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        breaker.reset();
        breaker.try_acquire().unwrap().settle(Class::Transient);
        seen.insert(breaker.snapshot().retry_after);
    }
    assert!(seen.len() > 10, "nor at equal times after each outage: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_custom_open_time_is_given_the_openings_and_the_last_open_time() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let breaker = Arc::new(OnceLock::<CircuitBreaker>::new());
    let open_for = Backoff::custom({
        let (seen, breaker) = (seen.clone(), breaker.clone());
        move |openings, verdict, last| {
            // No lock is held: it may look at the very breaker.
            let state = breaker.get().map(CircuitBreaker::state);
            seen.lock().unwrap().push((openings, verdict.is_none(), last, state));
            (openings + 1) * SECOND
        }
    });
    let layer = quick().open_for(open_for).half_open_max_calls(1).success_threshold(1);
    breaker.set(layer.breaker()).unwrap();
    // The setting and the layer look at the first time.
    seen.lock().unwrap().clear();
    let (service, _) = over(&layer);
    for expected in [1, 2, 3] {
        call(&service, Do::Fail).await;
        assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, expected * SECOND));
        advance(expected * SECOND).await;
    }
    let expected = [
        (0, true, None, Some(State::Closed)),
        (1, true, Some(SECOND), Some(State::HalfOpen)),
        (2, true, Some(2 * SECOND), Some(State::HalfOpen)),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(call(&service, Do::Succeed).await, OK);
    call(&service, Do::Fail).await;
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, SECOND), "begins anew after closing");
}

#[test]
fn rule_1_jitter_of_a_custom_open_time_keeps_at_least_half_of_it() {
    let open_for = |jitter| Backoff::custom(|_, _, _| 2 * SECOND).jitter(jitter);
    for (jitter, from, to) in [
        (Jitter::None, 2_000, 2_000),
        (Jitter::Full, 1_000, 2_000),
        (Jitter::Equal, 1_000, 2_000),
        (Jitter::Proportional(0.2), 1_600, 2_400),
        (Jitter::Proportional(1.0), 2_000, 4_000),
        (Jitter::OnTop(0.5), 2_000, 3_000),
        (Jitter::Decorrelated, 1_000, 2_000),
    ] {
        let breaker = quick().open_for(open_for(jitter)).breaker();
        let mut times = Vec::new();
        for _ in 0..200 {
            breaker.reset();
            breaker.try_acquire().unwrap().settle(Class::Transient);
            times.extend(breaker.snapshot().retry_after.map(|time| time.as_millis()));
        }
        let (least, most) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
        let slack = (to - from) / 10;
        // Time goes on meanwhile, for less than a tenth of a second.
        assert!((from - 100.min(from)..=from + slack).contains(&least), "{jitter:?}: {least}");
        assert!((to - slack - 100..=to).contains(&most), "{jitter:?}: {most}");
    }
}

#[test]
fn rule_1_a_custom_open_time_that_panics_opens_nothing() {
    let fails = Arc::new(AtomicBool::new(false));
    let open_for = Backoff::custom({
        let fails = fails.clone();
        move |_, _, _| if fails.load(Ordering::Relaxed) { panic!("no time") } else { SECOND }
    });
    let breaker = quick().open_for(open_for).breaker();
    fails.store(true, Ordering::Relaxed);
    let permit = breaker.try_acquire().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| permit.settle(Class::Transient))).is_err());
    assert_eq!(breaker.state(), State::Closed);
    fails.store(false, Ordering::Relaxed);
    breaker.try_acquire().unwrap().settle(Class::Transient);
    assert_eq!(breaker.state(), State::Open, "works as before");
}

#[tokio::test(start_paused = true)]
async fn rule_1_controls_by_hand() {
    let layer = quick();
    let (service, upstream) = over(&layer);
    let breaker = layer.breaker();

    breaker.force_open();
    advance(1_000 * SECOND).await;
    let expected = Outcome::Rejected { state: State::Open, retry_after: None };
    assert_eq!(call(&service, Do::Succeed).await, expected, "it waits for no time");
    assert_eq!((breaker.state(), breaker.mode()), (State::Open, Mode::ForcedOpen));

    breaker.disable();
    calls(&service, 10, Do::Fail).await;
    assert_eq!((breaker.state(), breaker.snapshot().calls), (State::Closed, 0));

    breaker.automatic();
    call(&service, Do::Fail).await;
    assert_eq!(breaker.state(), State::Open);

    breaker.reset();
    assert_eq!((breaker.state(), breaker.snapshot().totals.rejected), (State::Closed, 1), "a reset keeps the totals");
    assert_eq!(call(&service, Do::Succeed).await, OK);
    assert_eq!(upstream.calls(), 12);
}

#[tokio::test(start_paused = true)]
async fn rule_1_observing_reports_and_never_rejects() {
    let layer = quick().mode(Mode::ObserveOnly).half_open_max_calls(1).success_threshold(1);
    let (service, upstream) = over(&layer);
    let breaker = layer.breaker();
    calls(&service, 20, Do::Fail).await;
    assert_eq!(breaker.state(), State::Open, "what it would be");
    assert_eq!(upstream.calls(), 20);
    advance(10 * SECOND).await;
    assert_eq!(call(&service, Do::Succeed).await, OK);
    assert_eq!(breaker.state(), State::Closed, "it goes on as if it were automatic");

    // Taken at its word while it is open.
    call(&service, Do::Fail).await;
    breaker.automatic();
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn rule_2_late_news_of_an_earlier_generation_changes_nothing() {
    let layer = quick().half_open_max_calls(1).success_threshold(1);
    let (service, _) = over(&layer);
    // Two calls of the closed time, still under way when it opens.
    let mut success = begin(call(&service, Do::SucceedAfter(5 * SECOND)));
    let mut failure = begin(call(&service, Do::FailAfter(60 * SECOND)));
    assert!(poll_once(success.as_mut()).await.is_pending() && poll_once(failure.as_mut()).await.is_pending());
    call(&service, Do::Fail).await;
    assert_eq!(success.await, OK);
    assert_eq!(layer.breaker().state(), State::Open, "closes nothing");

    advance(10 * SECOND).await;
    assert_eq!(call(&service, Do::Succeed).await, OK);
    assert_eq!(layer.breaker().state(), State::Closed);
    assert_eq!(failure.await, Outcome::Failed("failed late".into()));
    assert_eq!((layer.breaker().state(), layer.breaker().snapshot().calls), (State::Closed, 0), "opens nothing");
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_call_of_a_million_resets_ago_changes_nothing() {
    let breaker = quick().breaker();
    let late = breaker.try_acquire().unwrap();
    for _ in 0..1 << 20 {
        breaker.reset();
    }
    late.settle(Class::Transient);
    assert_eq!((breaker.state(), breaker.snapshot().generation), (State::Closed, 1 << 20));
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_late_probe_of_an_earlier_outage_closes_nothing() {
    let layer = quick().half_open_max_calls(2).success_threshold(1);
    let (service, _) = over(&layer);
    call(&service, Do::Fail).await;
    advance(10 * SECOND).await;
    let mut late = begin(call(&service, Do::SucceedAfter(15 * SECOND)));
    assert!(poll_once(late.as_mut()).await.is_pending());
    call(&service, Do::Fail).await; // the second probe opens it again
    advance(10 * SECOND).await;
    let mut hung = begin(call(&service, Do::Hang)); // half-open again
    assert!(poll_once(hung.as_mut()).await.is_pending());
    assert_eq!(late.await, OK);
    assert_eq!(layer.breaker().state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn rule_4_no_more_probes_at_once_than_set() {
    let layer = quick().half_open_max_calls(3).success_threshold(3);
    let (service, upstream) = over(&layer);
    call(&service, Do::Fail).await;
    advance(10 * SECOND).await;
    let mut all: Vec<_> = (0..64).map(|_| begin(call(&service, Do::SucceedAfter(SECOND)))).collect();
    let mut rejections = 0;
    for one in &mut all {
        if let std::task::Poll::Ready(outcome) = poll_once(one.as_mut()).await {
            assert_eq!(outcome, rejected(State::HalfOpen, 30 * SECOND), "until the first lease ends");
            rejections += 1;
        }
    }
    assert_eq!((rejections, upstream.in_flight()), (61, 3));
}

#[tokio::test(start_paused = true)]
async fn rule_4_hung_probes_lose_their_places_when_the_lease_ends() {
    let layer = quick().half_open_max_calls(2).success_threshold(2).probe_lease(5 * SECOND);
    let (service, _) = over(&layer);
    call(&service, Do::Fail).await;
    advance(10 * SECOND).await;
    let mut hung: Vec<_> = (0..2).map(|_| begin(call(&service, Do::Hang))).collect();
    for one in &mut hung {
        assert!(poll_once(one.as_mut()).await.is_pending());
    }
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::HalfOpen, 5 * SECOND));
    advance(5 * SECOND).await;
    assert_eq!(call(&service, Do::Succeed).await, OK);
    assert_eq!(call(&service, Do::Succeed).await, OK);
    assert_eq!(layer.breaker().state(), State::Closed);
    // And dropping them afterwards changes nothing.
    drop(hung);
    assert_eq!(layer.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_late_success_of_the_same_round_still_counts() {
    let layer = quick().half_open_max_calls(1).success_threshold(1).probe_lease(SECOND);
    let (service, _) = over(&layer);
    call(&service, Do::Fail).await;
    advance(10 * SECOND).await;
    let mut late = begin(call(&service, Do::SucceedAfter(20 * SECOND)));
    assert!(poll_once(late.as_mut()).await.is_pending());
    advance(SECOND).await;
    let mut other = begin(call(&service, Do::Hang));
    assert!(poll_once(other.as_mut()).await.is_pending());
    assert_eq!(late.await, OK);
    assert_eq!(layer.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn rule_1_more_successes_than_calls_at_once_come_one_after_the_other() {
    let layer = quick().half_open_max_calls(1).success_threshold(4);
    let (service, upstream) = over(&layer);
    call(&service, Do::Fail).await;
    advance(10 * SECOND).await;
    for _ in 0..3 {
        assert_eq!(call(&service, Do::Succeed).await, OK);
        assert_eq!(layer.breaker().state(), State::HalfOpen);
    }
    let mut fourth = begin(call(&service, Do::SucceedAfter(SECOND)));
    assert!(poll_once(fourth.as_mut()).await.is_pending());
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::HalfOpen, 30 * SECOND), "one at a time");
    assert_eq!(fourth.await, OK);
    assert_eq!((layer.breaker().state(), upstream.calls()), (State::Closed, 5));
}

#[tokio::test(start_paused = true)]
async fn rule_4_sparse_probes_close_it() {
    let layer = quick().half_open_max_calls(3).success_threshold(3).probe_lease(SECOND);
    let (service, upstream) = over(&layer);
    call(&service, Do::Fail).await;
    for _ in 0..3 {
        advance(3_600 * SECOND).await;
        assert_eq!(call(&service, Do::Succeed).await, OK);
    }
    assert_eq!((layer.breaker().state(), upstream.calls()), (State::Closed, 4));
}

#[tokio::test(start_paused = true)]
async fn rule_4_cancelled_and_ignored_probes_free_their_places_at_once() {
    let layer = quick().half_open_max_calls(1).success_threshold(1);
    let (service, _) = over(&layer);
    call(&service, Do::Fail).await;
    advance(10 * SECOND).await;
    for round in 0..1_000 {
        let mut cancelled = begin(call(&service, Do::Hang));
        assert!(poll_once(cancelled.as_mut()).await.is_pending(), "round {round}");
        drop(cancelled);
        assert_eq!(call(&service, Do::Ignore).await, Outcome::Answered(tower_rampart::classify::Health::Neutral));
    }
    assert_eq!(layer.breaker().state(), State::HalfOpen);
    assert_eq!(call(&service, Do::Succeed).await, OK);
    assert_eq!(layer.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_mode_that_is_left_begins_anew() {
    for mode in [Mode::ForcedOpen, Mode::Disabled] {
        let breaker = quick().breaker();
        breaker.set_mode(mode);
        let before = breaker.snapshot();
        advance(SECOND).await;
        breaker.automatic();
        let after = breaker.snapshot();
        assert_ne!(before.generation, after.generation, "{mode}");
        assert_eq!(after.unchanged_for, Duration::ZERO, "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_without_calls_reads_as_half_open_when_it_is_due() {
    let layer = quick();
    let (service, _) = over(&layer);
    let mut events = layer.handle().subscribe(10);
    call(&service, Do::Fail).await;
    let breaker = layer.breaker();
    let read = || (breaker.state(), breaker.snapshot().state, breaker.snapshot().retry_after);
    assert_eq!(read(), (State::Open, State::Open, Some(10 * SECOND)));
    advance(10 * SECOND - MS).await;
    assert_eq!(read(), (State::Open, State::Open, Some(MS)));
    for wait in [MS, 3_600 * SECOND] {
        advance(wait).await;
        assert_eq!(read(), (State::HalfOpen, State::HalfOpen, None));
        assert_eq!((breaker.snapshot().generation, format!("{breaker:?}").contains("HalfOpen")), (1, true));
    }
    assert_eq!(events.try_recv().map(|event| event.to), Some(State::Open));
    assert!(events.try_recv().is_none(), "the change comes with the call");
    assert_eq!(call(&service, Do::Succeed).await, OK);
    assert_eq!(events.try_recv().map(|event| (event.from, event.to)), Some((State::Open, State::HalfOpen)));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_for_years_reads_as_half_open_after_them() {
    let years = 50 * 365 * 24 * 3_600 * SECOND;
    let layer = quick().open_for(years);
    let (service, _) = over(&layer);
    call(&service, Do::Fail).await;
    let breaker = layer.breaker();
    advance(years - MS).await;
    assert_eq!((breaker.state(), breaker.snapshot().state), (State::Open, State::Open));
    advance(MS).await;
    assert_eq!((breaker.state(), breaker.snapshot().state), (State::HalfOpen, State::HalfOpen));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_was_forced_open_is_never_due() {
    let layer = quick();
    let (service, _) = over(&layer);
    call(&service, Do::Fail).await;
    let breaker = layer.breaker();
    breaker.force_open();
    advance(3_600 * SECOND).await;
    let snapshot = breaker.snapshot();
    assert_eq!((breaker.state(), snapshot.state, snapshot.retry_after), (State::Open, State::Open, None));
    breaker.observe();
    assert_eq!(breaker.state(), State::Closed);
    call(&service, Do::Fail).await;
    advance(10 * SECOND).await;
    assert_eq!(breaker.state(), State::HalfOpen, "also if it only observes");
}
