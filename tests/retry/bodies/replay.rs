//! Rule 8: bodies that are sent again.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::classify::{Class, Health, Processed, Reason};
use tower_rampart::retry::{GiveUp, ReplayBody};
use tower_rampart::{BoxError, RetryLayer};

use crate::support::*;

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("checksum".parse().unwrap(), "1f3a".parse().unwrap())])
}

fn request<B>(body: B) -> Request<B> {
    Request::put("/").body(body).unwrap()
}

/// A body of this many bytes, without a known length.
fn sized(bytes: usize) -> Chunks {
    Chunks::new((0..bytes).step_by(1_000).map(|from| Chunk::Data(vec![b'x'; 1_000.min(bytes - from)].into())))
}

#[tokio::test(start_paused = true)]
async fn rule_8_the_first_attempt_streams_with_no_delay() {
    let body = Chunks::of(["now"]).then(Chunk::Wait(SECOND)).then(Chunk::Data("later".into()));
    let upstream = Upstream::new([answer(200)]);
    let log = upstream.log();
    let call = tokio::spawn(layer().layer(upstream).oneshot(request(body)));
    settle().await;
    assert_eq!(log.bodies(), ["now"]);
    call.await.unwrap().unwrap();
    assert_eq!(log.bodies(), ["nowlater"]);
}

#[tokio::test(start_paused = true)]
async fn rule_8_a_replay_is_byte_identical_with_trailers() {
    let body = || Chunks::of(["one ", "two ", "three"]).then(Chunk::Trailers(trailers()));
    for attempts in 2..5 {
        let upstream = Upstream::new((1..attempts).map(|_| reset()).chain([answer(200)]));
        let log = upstream.log();
        send(layer().max_attempts(attempts), upstream, request(body())).await.unwrap();
        assert_eq!(log.calls(), attempts as usize);
        for seen in log.seen() {
            assert_eq!((seen.body.as_slice(), seen.trailers), (&b"one two three"[..], Some(trailers())));
            assert!(seen.ended);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_8_a_replay_is_complete_when_an_earlier_attempt_read_nothing_or_a_part() {
    for first in 0..=4 {
        for second in 0..=4 {
            let upstream = Upstream::new([reset().reading(first), reset().reading(second), answer(200)]);
            let log = upstream.log();
            let body = Chunks::of(["one ", "two ", "three"]).then(Chunk::Trailers(trailers()));
            assert_eq!(send(layer(), upstream, request(body)).await.unwrap().status(), 200);
            let last = &log.seen()[2];
            assert_eq!((last.body.as_slice(), &last.trailers), (&b"one two three"[..], &Some(trailers())));
            assert!("one two three".as_bytes().starts_with(&log.seen()[1].body));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_8_exactly_the_cap_is_replayable_and_one_byte_more_is_not() {
    for (cap, bytes, calls) in
        [(None, 65_536, 2), (None, 65_537, 1), (Some(10_000), 10_000, 2), (Some(10_000), 10_001, 1), (Some(0), 1, 1)]
    {
        let upstream = Upstream::new([reset(), answer(200)]);
        let log = upstream.log();
        let layer = match cap {
            Some(cap) => layer().max_replay_bytes(cap),
            None => layer(),
        };
        let outcome = send(layer, upstream, request(sized(bytes))).await;
        assert_eq!(log.calls(), calls, "{bytes} bytes, cap {cap:?}");
        assert_eq!(log.seen()[0].body.len(), bytes, "the attempt itself gets everything");
        assert!(log.seen()[0].ended, "without an error");
        match outcome {
            Ok(_) => assert_eq!(log.seen()[1].body, log.seen()[0].body),
            Err(error) => assert_eq!(gave_up(&error).kind(), GiveUp::BodyNotReplayable),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_8_a_body_known_to_be_larger_is_sent_once() {
    let body = || Full::new(Bytes::from(vec![b'x'; 65_537]));
    let upstream = Upstream::new([answer(503), answer(200)]);
    let log = upstream.log();
    let response = send(layer(), upstream, request(body())).await.unwrap();
    assert_eq!((response.status().as_u16(), log.calls(), log.seen()[0].exact_size), (503, 1, Some(65_537)));

    // Nothing was read of it, so nothing is lost.
    let upstream = Upstream::new([refused(), refused(), answer(200)]);
    let log = upstream.log();
    assert_eq!(send(layer(), upstream, request(body())).await.unwrap().status(), 200);
    assert_eq!((log.seen()[2].body.len(), log.seen()[2].exact_size), (65_537, Some(65_537)));
}

#[tokio::test(start_paused = true)]
async fn rule_8_a_body_that_failed_is_not_sent_again() {
    for chunk in [Chunk::Fail, Chunk::Wait(MS)] {
        let body = Chunks::of(["one"]).then(chunk).then(Chunk::Fail);
        let upstream = Upstream::new([answer(200)]);
        let log = upstream.log();
        let error = send(layer(), upstream, request(body)).await.unwrap_err();
        assert_eq!((gave_up(&error).kind(), log.calls()), (GiveUp::BodyFailed, 1));
        assert_eq!(log.seen()[0].body_error.as_deref(), Some("the body is broken"), "the error comes through as it is");
        let verdict = gave_up(&error).verdict();
        assert_eq!((verdict.class(), verdict.processed()), (Class::Terminal, Processed::Maybe));
        assert_eq!((verdict.health(), verdict.reason()), (Health::Neutral, Reason::USER));
        let source = std::error::Error::source(gave_up(&error)).unwrap();
        assert_eq!(source.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_8_a_body_that_failed_after_a_replay_is_not_sent_again() {
    let upstream = Upstream::new([reset().reading(1), answer(200), answer(200)]);
    let log = upstream.log();
    let body = Chunks::of(["one", "two"]).then(Chunk::Fail);
    let error = send(layer(), upstream, request(body)).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::BodyFailed, 2));
    assert_eq!(log.bodies(), ["one", "onetwo"]);
}

#[tokio::test(start_paused = true)]
async fn rule_8_a_body_that_panicked_is_not_polled_again() {
    let calls = AtomicBool::new(false);
    let inner = service_fn(|request: Request<ReplayBody<Chunks>>| {
        assert!(!calls.swap(true, Ordering::Relaxed), "called twice");
        async {
            // In a task of its own, as a connection is.
            let sending = tokio::spawn(request.into_body().collect());
            assert!(sending.await.unwrap_err().is_panic());
            Err::<Response<()>, BoxError>(io::Error::from(io::ErrorKind::ConnectionReset).into())
        }
    });
    let body = Chunks::of(["one"]).then(Chunk::Panic);
    let error = layer().layer(inner).oneshot(request(body)).await.unwrap_err();
    assert_eq!(gave_up(&error).kind(), GiveUp::BodyFailed);
}

#[tokio::test(start_paused = true)]
async fn rule_8_an_answer_that_came_while_the_body_was_being_sent_is_final() {
    let upstream = Upstream::new([answer(503).holding_after(1), answer(200)]);
    let log = upstream.log();
    let body = Chunks::of(["one"]).then(Chunk::Stall);
    assert_eq!(send(layer(), upstream, request(body)).await.unwrap().status(), 503);
    assert_eq!(log.calls(), 1);

    // Dropped, and so not being sent any more.
    let upstream = Upstream::new([answer(503).reading(1), answer(200)]);
    let log = upstream.log();
    assert_eq!(send(layer(), upstream, request(Chunks::of(["one", "two"]))).await.unwrap().status(), 200);
    assert_eq!(log.bodies(), ["one", "onetwo"]);

    // Held, but with nothing left to send.
    let upstream = Upstream::new([answer(503).holding_after(2), answer(200)]);
    let log = upstream.log();
    let body = Chunks::of(["one", "two"]).exact();
    assert_eq!(send(layer(), upstream, request(body)).await.unwrap().status(), 200);
    assert_eq!(log.bodies(), ["onetwo", "onetwo"]);
    assert_eq!((log.seen()[0].ended, &log.seen()[0].body_error), (true, &None), "nothing was taken from it");
}

#[tokio::test(start_paused = true)]
async fn rule_8_an_answered_connection_may_finish_sending_the_body() {
    let upstream = Upstream::new([answer(503).holding_after(1), answer(200)]);
    let log = upstream.log();
    let body = Chunks::of(["one"]).then(Chunk::Wait(SECOND)).then(Chunk::Data("two".into()));
    assert_eq!(send(layer(), upstream, request(body)).await.unwrap().status(), 503);
    tokio::time::advance(2 * SECOND).await;
    settle().await;
    assert_eq!(log.seen()[0].body_error, None);
}

#[tokio::test(start_paused = true)]
async fn rule_8_a_failed_attempt_loses_the_body_to_the_next_and_never_sees_an_end() {
    let failures = [reset().holding_after(1), hang().holding_after(1)];
    for failure in failures {
        let upstream = Upstream::new([failure, answer(200)]);
        let log = upstream.log();
        let body = Chunks::of(["one"]).then(Chunk::Wait(3 * SECOND)).then(Chunk::Data("two".into()));
        let response = send(layer().attempt_timeout(2 * SECOND), upstream, request(body)).await;
        // The second attempt is slowed down by the body, but not cut.
        assert_eq!(response.unwrap().status(), 200);
        let seen = log.seen();
        assert_eq!(seen[1].body, b"onetwo");
        let error = seen[0].body_error.as_deref();
        assert_eq!((error, seen[0].ended), (Some("another attempt has taken the request body over"), false));
    }
}

/// Without a wake, a connection task that waits for the body would wait for ever.
#[tokio::test(start_paused = true)]
async fn rule_8_a_superseded_reader_that_waits_is_woken() {
    let upstream = Upstream::new([reset().holding_after(1), hang()]);
    let log = upstream.log();
    let body = Chunks::of(["one"]).then(Chunk::Stall);
    let call = tokio::spawn(layer().layer(upstream).oneshot(request(body)));
    settle().await;
    tokio::time::advance(SECOND).await;
    settle().await;
    assert_eq!(log.calls(), 2);
    assert!(log.seen()[0].body_error.is_some());
    call.abort();
}

#[tokio::test(start_paused = true)]
async fn rule_8_the_size_stays_true_in_every_attempt() {
    for read in 0..=3 {
        let upstream = Upstream::new([reset().reading(read), reset().reading(0), answer(200)]);
        let log = upstream.log();
        let body = Chunks::of(["one ", "two ", "three"]).exact();
        send(layer(), upstream, request(body)).await.unwrap();
        assert_eq!(log.seen().iter().map(|seen| seen.exact_size).collect::<Vec<_>>(), [Some(13); 3]);
    }
    let upstream = Upstream::new([reset(), answer(200)]);
    let log = upstream.log();
    send(layer(), upstream, request(Chunks::of(["one"]))).await.unwrap();
    // The first attempt saw the end, but a replay is framed as it was.
    assert_eq!(log.seen().iter().map(|seen| seen.exact_size).collect::<Vec<_>>(), [None, None]);
}

#[tokio::test(start_paused = true)]
async fn rule_8_frames_after_the_trailers_are_passed_on_and_end_the_replaying() {
    let body = Chunks::of(["one"]).then(Chunk::Trailers(trailers())).then(Chunk::Trailers(trailers()));
    let upstream = Upstream::new([reset(), answer(200)]);
    let log = upstream.log();
    let error = send(layer(), upstream, request(body)).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), log.calls(), log.seen()[0].ended), (GiveUp::BodyNotReplayable, 1, true));
}

#[tokio::test(start_paused = true)]
async fn rule_8_an_empty_chunk_of_a_body_that_is_not_kept_loses_nothing() {
    let upstream = Upstream::new([reset().reading(1), answer(200)]);
    let log = upstream.log();
    let body = Chunks::of(["", "one", "two"]).exact();
    assert_eq!(send(layer().max_replay_bytes(5), upstream, request(body)).await.unwrap().status(), 200);
    assert_eq!(log.bodies(), ["", "onetwo"]);
}

#[tokio::test(start_paused = true)]
async fn rule_8_size_hint_and_end_match_what_remains_at_every_step() {
    let log = Mutex::new(Vec::new());
    let inner = service_fn(|request: Request<ReplayBody<Chunks>>| {
        let log = &log;
        async move {
            let mut body = pin!(request.into_body());
            let mut steps = Vec::new();
            loop {
                steps.push((body.size_hint().exact(), body.is_end_stream()));
                if body.frame().await.transpose()?.is_none() {
                    break;
                }
            }
            // After the end comes the end.
            assert!(body.frame().await.is_none() && body.frame().await.is_none());
            log.lock().unwrap().push(steps);
            Err::<Response<()>, BoxError>(io::Error::from(io::ErrorKind::ConnectionReset).into())
        }
    });
    let body = Chunks::of(["one ", "two"]).exact();
    layer().max_attempts(3).layer(inner).oneshot(request(body)).await.unwrap_err();
    let first = vec![(Some(7), false), (Some(3), false), (Some(0), true)];
    // Small chunks are kept as one.
    let replay = vec![(Some(7), false), (Some(0), true)];
    assert_eq!(*log.lock().unwrap(), [first, replay.clone(), replay]);
}

#[tokio::test(start_paused = true)]
async fn rule_8_an_empty_body_is_replayed_as_an_empty_body() {
    let inner = service_fn(|request: Request<ReplayBody<Empty<Bytes>>>| async move {
        let body = request.into_body();
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.collect().await.unwrap().to_bytes().is_empty());
        Err::<Response<()>, BoxError>(io::Error::from(io::ErrorKind::ConnectionReset).into())
    });
    let error = layer().layer(inner).oneshot(request(Empty::new())).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Exhausted, 3));
}

struct Owner(Arc<AtomicBool>, usize);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &[b'x'; 70_000][..self.1]
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends one chunk cut from a larger buffer and returns whether that buffer is dropped while the attempt continues.
async fn buffer_is_gone(layer: RetryLayer, chunk: usize, end_call: bool) -> bool {
    let gone = Arc::new(AtomicBool::new(false));
    let buffer = Bytes::from_owner(Owner(Arc::clone(&gone), 65_000));
    let body = Chunks::new([Chunk::Data(buffer.slice(..chunk)), Chunk::Wait(SECOND), Chunk::Data("end".into())]);
    drop(buffer);
    let step = if end_call { answer(200).holding_after(1) } else { hang().reading(1) };
    let mut call = pin!(layer.layer(Upstream::new([step])).oneshot(request(body)));
    assert_eq!(poll_once(call.as_mut()).is_ready(), end_call);
    // After the end of the call a task that holds the body reads on.
    settle().await;
    gone.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn rule_8_a_small_chunk_does_not_keep_a_large_buffer_alive() {
    assert!(buffer_is_gone(layer(), 1, false).await);
    assert!(buffer_is_gone(layer(), 8_191, false).await);
    assert!(!buffer_is_gone(layer(), 8_192, false).await, "kept by reference, so that this test can fail");
}

#[tokio::test(start_paused = true)]
async fn rule_8_the_copy_is_dropped_once_no_attempt_can_follow() {
    assert!(buffer_is_gone(layer().max_replay_bytes(9_999), 10_000, false).await, "over the cap");
    assert!(buffer_is_gone(layer(), 10_000, true).await, "the call is over, and only the body goes on");
    assert!(buffer_is_gone(layer().max_attempts(1), 10_000, false).await, "nothing will be replayed");
}

/// An inner future that keeps the request after it is ready, until it is dropped.
struct Keeps(#[allow(dead_code)] ReplayBody<Chunks>);

impl Future for Keeps {
    type Output = Result<Response<()>, BoxError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Response::builder().status(503).body(()).unwrap()))
    }
}

#[tokio::test(start_paused = true)]
async fn rule_8_a_body_that_only_the_finished_attempt_holds_is_not_being_sent() {
    let calls = Mutex::new(0);
    let inner = service_fn(|request: Request<ReplayBody<Chunks>>| {
        *calls.lock().unwrap() += 1;
        Keeps(request.into_body())
    });
    let response = layer().layer(inner).oneshot(request(Chunks::of(["one"]))).await.unwrap();
    assert_eq!((report(&response), *calls.lock().unwrap()), ((3, Some(GiveUp::Exhausted)), 3));
}

/// Between the end of an attempt and the start of the next, the old connection must not read the body any further.
#[tokio::test(start_paused = true)]
async fn rule_8_no_attempt_reads_the_body_during_the_wait() {
    let held = Mutex::new(None);
    let calls = Mutex::new(0);
    let bodies = Mutex::new(Vec::new());
    let inner = service_fn(|request: Request<ReplayBody<Chunks>>| {
        *calls.lock().unwrap() += 1;
        let is_first = *calls.lock().unwrap() == 1;
        let (held, bodies) = (&held, &bodies);
        async move {
            let mut body = Box::pin(request.into_body());
            if is_first {
                body.frame().await.unwrap().unwrap();
                *held.lock().unwrap() = Some(body);
                return Err::<Response<()>, BoxError>(io::Error::from(io::ErrorKind::ConnectionReset).into());
            }
            let body = body.collect().await?.to_bytes();
            bodies.lock().unwrap().push(body);
            Ok(Response::new(()))
        }
    });
    let body = Chunks::of(["one", "two", "three"]);
    let mut call = pin!(layer().max_replay_bytes(11).layer(inner).oneshot(request(body)));
    assert!(poll_once(call.as_mut()).is_pending());
    let mut old = held.lock().unwrap().take().unwrap();
    for _ in 0..3 {
        assert!(old.frame().await.unwrap().is_err());
    }
    assert!(!old.is_end_stream());
    assert_eq!(old.size_hint().exact(), None);
    call.await.unwrap();
    assert_eq!(*bodies.lock().unwrap(), ["onetwothree"]);
}
