//! Rule 4: readiness.

use std::future::{Ready, ready};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_rampart::classify::{Classifier, Processed, Reason, Verdict, classifier_fn};
use tower_rampart::retry::{Backoff, GiveUp, TimedOut};
use tower_rampart::{BoxError, RetryLayer};

use crate::support::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Ready(u32),
    Called(u32),
}

/// Fails every call. Every instance has a number and logs its events.
struct Numbered {
    number: u32,
    shared: Arc<Mutex<(u32, Vec<Event>)>>,
    /// The result of `poll_ready`, by the number of polls over all instances.
    ready: fn(usize) -> Poll<Result<(), io::ErrorKind>>,
}

impl Numbered {
    fn new(ready: fn(usize) -> Poll<Result<(), io::ErrorKind>>) -> Self {
        Self { number: 0, shared: Arc::default(), ready }
    }

    fn events(&self) -> impl Fn() -> Vec<Event> + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.lock().unwrap().1.clone()
    }
}

impl Clone for Numbered {
    fn clone(&self) -> Self {
        let mut shared = self.shared.lock().unwrap();
        shared.0 += 1;
        Self { number: shared.0, shared: Arc::clone(&self.shared), ready: self.ready }
    }
}

impl Service<()> for Numbered {
    type Response = ();
    type Error = io::Error;
    type Future = Ready<Result<(), io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared.lock().unwrap();
        shared.1.push(Event::Ready(self.number));
        (self.ready)(shared.1.iter().filter(|event| matches!(event, Event::Ready(_))).count()).map_err(Into::into)
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.shared.lock().unwrap().1.push(Event::Called(self.number));
        ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

fn plain() -> RetryLayer<impl Classifier<()> + Clone, tower_rampart::retry::CloneRequests> {
    let classifier = classifier_fn(|outcome: Result<&(), _>| match outcome {
        Ok(()) => Verdict::success(),
        Err(error) => Verdict::of_error(error),
    });
    RetryLayer::new(classifier).backoff(Backoff::fixed(100 * MS)).no_budget()
}

#[tokio::test(start_paused = true)]
async fn rule_4_the_very_instance_that_was_ready_is_called() {
    let inner = Numbered::new(|_| Poll::Ready(Ok(())));
    let events = inner.events();
    let mut service = plain().layer(inner);
    service.ready().await.unwrap().call(()).await.unwrap_err();
    service.ready().await.unwrap().call(()).await.unwrap_err();
    let events = events();
    assert_eq!(events.len(), 12);
    for pair in events.chunks(2) {
        let [Event::Ready(ready), Event::Called(called)] = *pair else { panic!("{events:?}") };
        assert_eq!(ready, called, "{events:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_retry_waits_until_the_service_is_ready() {
    let inner = Numbered::new(|asked| if asked == 2 { Poll::Pending } else { Poll::Ready(Ok(())) });
    let events = inner.events();
    let mut call = pin!(plain().max_attempts(2).layer(inner).oneshot(()));
    assert!(poll_once(call.as_mut()).is_pending());
    tokio::time::advance(101 * MS).await;
    assert!(poll_once(call.as_mut()).is_pending());
    assert_eq!(events(), [Event::Ready(0), Event::Called(0), Event::Ready(0)]);
    assert!(poll_once(call.as_mut()).is_ready());
    assert_eq!(events()[3..], [Event::Ready(0), Event::Called(0)]);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_readiness_error_is_final() {
    let mut service = plain().layer(Numbered::new(|_| Poll::Ready(Err(io::ErrorKind::NotConnected))));
    let error = service.ready().await.err().unwrap();
    assert_eq!(error.downcast::<io::Error>().unwrap().kind(), io::ErrorKind::NotConnected);

    let inner = Numbered::new(|asked| Poll::Ready(if asked == 1 { Ok(()) } else { Err(io::ErrorKind::NotConnected) }));
    let events = inner.events();
    let error = plain().max_attempts(9).layer(inner).oneshot(()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::NotReady, 1));
    assert_eq!(events(), [Event::Ready(0), Event::Called(0), Event::Ready(0)]);
    let source = std::error::Error::source(gave_up(&error)).unwrap();
    assert_eq!(source.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::NotConnected);
}

/// What the error of readiness means for a call in flight does not matter: this attempt was never made.
#[tokio::test(start_paused = true)]
async fn rule_5_a_service_that_is_not_ready_was_not_called() {
    for (first, processed) in [(Processed::No, Processed::No), (Processed::Maybe, Processed::Maybe)] {
        let classifier = classifier_fn(move |outcome: Result<&(), &(dyn std::error::Error + 'static)>| match outcome {
            Err(error) if Verdict::of_error(error).reason() == Reason::RESET => {
                Verdict::transient().with_processed(first)
            }
            _ => Verdict::transient(),
        });
        let inner =
            Numbered::new(|asked| Poll::Ready(if asked == 1 { Ok(()) } else { Err(io::ErrorKind::NotConnected) }));
        let layer = RetryLayer::new(classifier).backoff(Backoff::fixed(100 * MS)).no_budget();
        let error = layer.layer(inner).oneshot(()).await.unwrap_err();
        assert_eq!(gave_up(&error).kind(), GiveUp::NotReady);
        assert_eq!(
            (gave_up(&error).report().processed(), gave_up(&error).verdict().processed()),
            (processed, processed)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn rule_4_and_6_the_deadline_ends_the_wait_for_readiness() {
    let inner = Numbered::new(|asked| if asked == 1 { Poll::Ready(Ok(())) } else { Poll::Pending });
    let start = tokio::time::Instant::now();
    let error = plain().deadline(SECOND).layer(inner).oneshot(()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Deadline, 1));
    assert_eq!(start.elapsed(), SECOND);
    // Nothing was cut: the last thing that happened is the source.
    let source = std::error::Error::source(gave_up(&error)).unwrap();
    assert_eq!(source.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::ConnectionReset);
    assert!(TimedOut::find(&*error).is_none());
}

#[tokio::test(start_paused = true)]
async fn rule_4_and_6_a_service_that_gets_ready_after_the_deadline_is_not_called() {
    let inner = Numbered::new(|asked| if asked == 2 { Poll::Pending } else { Poll::Ready(Ok(())) });
    let events = inner.events();
    let mut call = pin!(plain().deadline(SECOND).layer(inner).oneshot(()));
    assert!(poll_once(call.as_mut()).is_pending());
    tokio::time::advance(101 * MS).await;
    assert!(poll_once(call.as_mut()).is_pending());
    tokio::time::advance(SECOND).await;
    let Poll::Ready(Err(error)) = poll_once(call.as_mut()) else { panic!("the deadline has passed") };
    assert_eq!(gave_up(&error).kind(), GiveUp::Deadline);
    assert_eq!(events().iter().filter(|event| matches!(event, Event::Called(_))).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_dropped_response_is_not_fabricated_while_the_service_gets_ready() {
    let upstream = Upstream::new([answer(503)]);
    let limit = ConcurrencyLimitLayer::new(1);
    let stack = ServiceBuilder::new().layer(layer().deadline(SECOND)).layer(&limit).service(upstream);
    let mut other = stack.clone();
    let call = tokio::spawn(stack.oneshot(get()));
    settle().await;
    // While the call waits for its retry, another call takes the only place for good.
    let _place = ServiceExt::<Request<Full<Bytes>>>::ready(&mut other).await.unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Deadline, 1));
    assert_eq!(gave_up(&error).verdict().code(), Some(503));
    assert_eq!(Verdict::of_error(&*error), gave_up(&error).verdict());
    assert!(TimedOut::find(&*error).is_some());
}

/// The deadline that bounds the wait for readiness does not stand in for the limit of the attempt that follows.
#[tokio::test(start_paused = true)]
async fn rule_4_and_6_an_attempt_that_had_to_wait_for_readiness_has_its_own_limit() {
    let upstream = Upstream::new([answer(503), hang()]);
    let log = upstream.log();
    let layer = layer().max_attempts(2).attempt_timeout(SECOND).deadline(60 * SECOND);
    let stack = ServiceBuilder::new().layer(layer).layer(ConcurrencyLimitLayer::new(1)).service(upstream);
    let mut other = stack.clone();
    let call = tokio::spawn(stack.oneshot(get()));
    settle().await;
    ServiceExt::<Request<Full<Bytes>>>::ready(&mut other).await.unwrap();
    tokio::time::sleep(5 * SECOND).await;
    drop(other);
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(TimedOut::find(&*error).unwrap().attempt_timeout(), Some(SECOND));
    assert_eq!((log.calls(), log.elapsed().as_secs()), (2, 6));
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_wait_holds_no_place_of_a_concurrency_limit() {
    let upstream = Upstream::new([answer(503), answer(200), answer(200)]);
    let log = upstream.log();
    let stack = ServiceBuilder::new().layer(layer()).layer(ConcurrencyLimitLayer::new(1)).service(upstream);
    let first = tokio::spawn(stack.clone().oneshot(get()));
    settle().await;
    assert_eq!(log.calls(), 1);
    assert_eq!(stack.clone().oneshot(get()).await.unwrap().status(), 200);
    assert_eq!((log.calls(), log.elapsed().as_millis()), (2, 0));
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_hundred_calls_share_two_places() {
    // Every odd attempt fails.
    let upstream = Upstream::new((0..400).map(|n| answer(if n % 2 == 0 { 503 } else { 200 }).taking(10 * MS)));
    let log = upstream.log();
    let stack =
        ServiceBuilder::new().layer(layer().max_attempts(50)).layer(ConcurrencyLimitLayer::new(2)).service(upstream);
    let calls: Vec<_> = (0..100).map(|_| tokio::spawn(stack.clone().oneshot(get()))).collect();
    let mut attempts = 0;
    for call in calls {
        let response = call.await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        attempts += tower_rampart::retry::RetryReport::of(&response).map_or(1, |report| report.attempts());
    }
    assert_eq!(log.calls(), attempts as usize);
}

#[tokio::test]
#[should_panic(expected = "polled after its end")]
async fn polling_a_completed_future_panics() {
    let mut service = plain().max_attempts(1).layer(Numbered::new(|_| Poll::Ready(Ok(()))));
    let mut call = pin!(service.ready().await.unwrap().call(()));
    let _: Result<(), BoxError> = call.as_mut().await;
    let _ = poll_once(call);
}

#[tokio::test(start_paused = true)]
async fn rule_4_and_5_a_deadline_between_attempts_reports_the_earlier_ones() {
    for (first, processed) in [(Processed::Maybe, Processed::Maybe), (Processed::No, Processed::No)] {
        let asked = AtomicU32::new(0);
        let classifier = classifier_fn(|_: Result<&(), _>| match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Verdict::transient().with_processed(first),
            _ => Verdict::transient().with_processed(Processed::No),
        });
        let inner = Numbered::new(|asked| if asked <= 2 { Poll::Ready(Ok(())) } else { Poll::Pending });
        let error = plain().classifier(classifier).deadline(SECOND).layer(inner).oneshot(()).await.unwrap_err();
        assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Deadline, 2));
        assert_eq!(gave_up(&error).verdict().processed(), processed);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_call_keeps_its_readiness_until_it_begins_or_is_dropped() {
    let upstream = Upstream::new([answer(200)]);
    let log = upstream.log();
    let stack = ServiceBuilder::new().layer(layer()).layer(ConcurrencyLimitLayer::new(1)).service(upstream);
    let (mut one, mut other) = (stack.clone(), stack);
    let ask = |service: &mut _| poll_once(pin!(ServiceExt::<Request<Full<Bytes>>>::ready(service))).is_ready();

    assert!(ask(&mut one));
    let call = one.call(get());
    assert!(!ask(&mut other) && !ask(&mut one), "the place is the call's");
    assert_eq!(log.calls(), 0);
    drop(call);
    assert!(ask(&mut other), "the place is free again");
    let call = other.call(get());
    assert_eq!(call.await.unwrap().status(), 200);
    assert_eq!(log.calls(), 1);
    assert!(ask(&mut one) && !ask(&mut other));
}
