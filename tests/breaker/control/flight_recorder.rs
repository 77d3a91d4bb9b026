//! The flight recorder: what stands in a recording, and that nothing else changes.

use std::thread::ScopedJoinHandle;
use std::time::Duration;

use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{Recording, Window, partition};
use tower_rampart::classify::Verdict;

use crate::support::*;

/// The lines of the decisions, without the labels.
fn lines(recording: &Recording) -> Vec<String> {
    let text = recording.to_string();
    assert_eq!(text.parse::<Recording>().as_ref(), Ok(recording));
    text.lines().skip(2).map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_end_rejection_and_change_is_recorded_in_order() {
    let layer = layer().flight_recorder(64).window(Window::count(2)).failure_rate(1.0).success_threshold(1);
    let (service, _) = over(&layer);
    let mut late = begin(call(&service, Do::SucceedAfter(11 * SECOND)));
    assert!(poll_once(late.as_mut()).await.is_pending());
    call(&service, Do::Succeed).await;
    call(&service, Do::FailAfter(SECOND)).await;
    call(&service, Do::Throttle).await;
    call(&service, Do::Succeed).await;
    late.await;
    advance(30 * SECOND).await;
    call(&service, Do::Ignore).await;
    call(&service, Do::Succeed).await;
    layer.breaker().disable();
    call(&service, Do::Fail).await;
    let recording = layer.handle().recording();
    assert_eq!(
        lines(&recording),
        [
            "0.000000000 ended success 0.000000000 - call",
            "1.000000000 ended failure 1.000000000 - call",
            "1.000000000 ended throttled 0.000000000 - call",
            "1.000000000 changed closed open automatic failure-rate",
            "1.000000000 rejected open own - -",
            "11.000000000 ended success 11.000000000 - late",
            "41.000000000 changed open half-open automatic open-time-over",
            "41.000000000 ended neutral 0.000000000 - probe",
            "41.000000000 ended success 0.000000000 - probe",
            "41.000000000 changed half-open closed automatic probes-succeeded",
            "41.000000000 changed closed closed disabled by-hand",
            "41.000000000 ended failure 0.000000000 - uncounted",
        ]
    );
    assert_eq!((recording.name(), recording.decisions()), ("test", 12));
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_dropped_or_give_a_hint_are_recorded() {
    let layer = layer().flight_recorder(8);
    let breaker = layer.breaker();
    let permit = breaker.try_acquire().unwrap();
    advance(SECOND).await;
    drop(permit);
    breaker.try_acquire().unwrap().settle(Verdict::transient().with_retry_after(30 * SECOND));
    assert_eq!(
        lines(&layer.handle().recording()),
        ["1.000000000 ended neutral 1.000000000 - call", "1.000000000 ended failure 0.000000000 30.000000000 call"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_oldest_decisions_make_room() {
    let layer = layer().flight_recorder(5);
    let breaker = layer.breaker();
    for _ in 0..1_003 {
        advance(MS).await;
        breaker.try_acquire().unwrap().succeed();
    }
    let recording = layer.handle().recording();
    let kept: Vec<_> = recording.records().iter().map(|record| record.at.as_millis()).collect();
    assert_eq!((recording.decisions(), kept), (1_003, (996..=1_003).collect()));
}

#[tokio::test(start_paused = true)]
async fn labels_stand_in_a_recording_only_if_asked_for() {
    let layer = layer().partition_by(partition::by(|request: &(String, Do)| request.0.clone())).flight_recorder(8);
    let (service, _) = over(&layer);
    for tenant in ["acme corp", "a\nb", "", "acme corp"] {
        call_for(&service, tenant.to_owned(), Do::Succeed).await;
    }
    let partitions = |recording: &Recording| -> Vec<_> {
        assert_eq!(recording.to_string().parse::<Recording>().as_ref(), Ok(recording));
        recording.records().iter().map(|record| record.partition.to_string()).collect()
    };
    let digests = partitions(&layer.handle().recording());
    assert!(digests.iter().all(|digest| digest.len() == 17 && digest.starts_with('#')), "{digests:?}");
    assert!(digests[0] == digests[3] && digests[0] != digests[1], "{digests:?}");
    assert_eq!(partitions(&layer.handle().recording_with_labels()), ["acme corp", r"a\nb", "", "acme corp"]);
    // What has no breaker any more has no label either.
    layer.handle().remove(&"acme corp".to_owned());
    let later = partitions(&layer.handle().recording_with_labels());
    assert_eq!(later[..3], [digests[0].as_str(), r"a\nb", ""]);
}

#[tokio::test(start_paused = true)]
async fn a_layer_without_a_recorder_records_nothing() {
    let layer = layer();
    layer.breaker().try_acquire().unwrap().fail();
    let recording = layer.handle().recording();
    assert_eq!((recording.decisions(), recording.records().len()), (0, 0));
    assert_eq!(recording.to_string().parse(), Ok(recording));
}

#[tokio::test(start_paused = true)]
async fn a_recorder_changes_no_decision() {
    let decisions = |layer: Breakers| async move {
        let layer = layer.window(Window::count(20)).failure_rate(0.5).minimum_calls(5).open_for(SECOND).seed(7);
        let (service, _) = over(&layer);
        let mut seen = Vec::new();
        for call_number in 0..500_u32 {
            let what = [Do::Succeed, Do::Fail, Do::Throttle, Do::FailAfter(30 * MS), Do::Ignore];
            seen.push(call(&service, what[(call_number * call_number % 11 % 5) as usize]).await);
            advance(50 * MS).await;
        }
        (seen, layer.breaker().snapshot().totals)
    };
    let plain = decisions(layer()).await;
    assert!(plain.1.rejected > 50 && plain.1.transitions > 5, "{:?}", plain.1);
    assert_eq!(decisions(layer().flight_recorder(16)).await, plain);
}

/// Threads record, and one opens and closes the breaker, while another copies.
#[test]
fn a_recording_made_meanwhile_holds_whole_decisions_in_order() {
    let layer = CircuitBreakerLayer::new(Judge).flight_recorder(256);
    let breaker = layer.breaker();
    std::thread::scope(|scope| {
        let threads = [0, 1, 2].map(|thread| {
            let breaker = &breaker;
            scope.spawn(move || {
                for call in 0..20_000 {
                    if let Ok(permit) = breaker.try_acquire() {
                        permit.settle(Verdict::transient().with_retry_after(Duration::from_secs(thread)));
                    }
                    if call % 64 == 0 {
                        breaker.reset();
                    }
                }
            })
        });
        let mut last = 0;
        while !threads.iter().all(ScopedJoinHandle::is_finished) {
            let recording = layer.handle().recording();
            assert!(recording.decisions() >= last && recording.records().len() <= 256);
            last = recording.decisions();
        }
    });
    let recording = layer.handle().recording();
    assert!(recording.decisions() > 60_000, "{}", recording.decisions());
}
