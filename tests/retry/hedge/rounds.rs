//! What an attempt and its hedge leave to the attempts, calls and budgets after them.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::classify::{Class, Classifier, HttpClassifier, Processed, Reason, classifier_fn};
use tower_rampart::retry::{Backoff, Budget, Hedge, ReplayBody};
use tower_rampart::{BoxError, CircuitBreakerLayer};

use super::{DELAY, hedged, run};
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn rule_13_the_delay_of_a_retry_begins_with_the_retry() {
    let slow = [answer(503).taking(10 * MS), answer(200).taking(SECOND), answer(200)];
    let (_, took, sent) = run(hedged(), slow, get()).await;
    assert_eq!((took, sent), (160 * MS, vec![Duration::ZERO, 110 * MS, 160 * MS]));
    let fast = [answer(503).taking(10 * MS), answer(200).taking(20 * MS)];
    let (_, _, sent) = run(hedged(), fast, get()).await;
    assert_eq!(sent, [Duration::ZERO, 110 * MS], "answered before the delay");
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_hedge_is_sent_however_soon_the_first_attempt_is_cut() {
    let layer = layer().attempt_timeout(DELAY + MS / 2).hedge(Hedge::after(DELAY));
    let (outcome, took, sent) = run(layer, [hang(), answer(200).taking(10 * MS)], get()).await;
    assert_eq!((outcome.unwrap().status().as_u16(), took, sent), (200, 60 * MS, vec![Duration::ZERO, DELAY]));
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_call_that_waits_for_its_retry_holds_no_place_of_a_hedge() {
    for is_hedged in [false, true] {
        let upstream = Upstream::new([answer(503).header("retry-after", 30).taking(100 * MS), answer(200)]);
        let inner = ServiceBuilder::new().layer(GlobalConcurrencyLimitLayer::new(1)).service(upstream);
        let other = inner.clone();
        let call: Pin<Box<dyn Future<Output = ()>>> = match is_hedged {
            true => Box::pin(hedged().layer(inner).oneshot(get()).map(drop)),
            false => Box::pin(layer().layer(inner).oneshot(get()).map(drop)),
        };
        let start = tokio::time::Instant::now();
        let other = async {
            tokio::time::sleep(110 * MS).await;
            other.oneshot(get()).await.unwrap();
            start.elapsed()
        };
        let ((), took) = futures_util::join!(call, other);
        assert_eq!(took, 110 * MS, "hedged: {is_hedged}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_hedge_that_failed_frees_its_place_of_a_concurrent_budget() {
    let budget = Budget::concurrent(0.0, 3);
    let layer = layer().budget(budget.clone()).hedge(Hedge::after(DELAY));
    let mut call = Box::pin(layer.layer(Upstream::new([hang(), answer(503).taking(10 * MS)])).oneshot(get()));
    for (wait, free) in [(55 * MS, 2.0), (10 * MS, 3.0)] {
        tokio::time::timeout(wait, call.as_mut()).await.unwrap_err();
        assert_eq!(budget.balance(), Some(free));
    }
}

/// However many attempts ago it was: a report keeps 64.
#[tokio::test(start_paused = true)]
async fn rule_13_a_server_that_has_asked_to_wait_gets_no_hedge_after_many_attempts_either() {
    let quick = std::iter::repeat_n(answer(503), 80);
    let asks = answer(503).header("retry-after", 0);
    let steps = [asks].into_iter().chain(quick).chain([answer(200).taking(SECOND)]);
    let layer = layer().max_attempts(200).backoff(Backoff::none()).hedge(Hedge::after(DELAY));
    let (outcome, _, sent) = run(layer, steps, get()).await;
    assert_eq!((outcome.unwrap().status().as_u16(), sent.len()), (200, 82));
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_hint_also_holds_for_a_hedge_that_was_given_back() {
    let steps = [
        answer(503).header("retry-after", 2).taking(60 * MS),
        given_back(Reason::REFUSED_STREAM, Processed::No).taking(20 * MS),
        answer(200),
    ];
    let (outcome, _, sent) = run(layer().max_attempts(5).hedge(Hedge::after(DELAY)), steps, get()).await;
    outcome.unwrap();
    assert!(sent.len() == 3 && sent[2] >= 2_060 * MS, "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_hedge_is_no_probe_either_where_the_breaker_is_called_by_its_first_poll() {
    let breaker = CircuitBreakerLayer::new_for_http().open_for(2 * SECOND);
    let handle = breaker.breaker();
    let upstream = Upstream::new([answer(200).taking(4 * SECOND)]);
    let log = upstream.log();
    let client = breaker.layer(upstream);
    let inner = service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
        let client = client.clone();
        async move { client.oneshot(request).await }
    });
    let mut call = pin!(layer().hedge(Hedge::after(3 * SECOND)).layer(inner).oneshot(get()));
    assert!(poll_once(call.as_mut()).is_pending());
    (0..20).for_each(|_| handle.try_acquire().unwrap().settle(Class::Transient));
    call.await.unwrap();
    assert_eq!(log.calls(), 1);
}

/// A classifier may count, or draw a sample: one outcome, one question.
#[tokio::test(start_paused = true)]
async fn rule_13_every_outcome_is_classified_once() {
    let asked = Cell::new(0);
    let classifier = classifier_fn(|outcome: Result<&Response<Full<Bytes>>, _>| {
        asked.set(asked.get() + 1);
        HttpClassifier::new().classify(outcome)
    });
    let limited = || layer().classifier(classifier).attempt_timeout(100 * MS);
    for (steps, outcomes) in [
        (vec![reset(), answer(200)], 2),
        (vec![reset().taking(60 * MS), reset().taking(20 * MS), answer(200)], 3),
        (vec![answer(503).taking(60 * MS), answer(200).taking(20 * MS)], 2),
        (vec![hang(), hang(), answer(200)], 3),
    ] {
        asked.set(0);
        limited().hedge(Hedge::after(DELAY)).layer(Upstream::new(steps)).oneshot(get()).await.unwrap();
        assert_eq!(asked.get(), outcomes);
    }
    // The deadline ends both attempts with one outcome.
    asked.set(0);
    let layer = limited().deadline(80 * MS).hedge(Hedge::after(DELAY));
    layer.layer(Upstream::new([hang()])).oneshot(get()).await.unwrap_err();
    assert_eq!(asked.get(), 1);
}

/// Ready once; then its readiness fails, and it must be discarded. A clone is as new.
struct ReadyOnce(Upstream, u32);

impl Clone for ReadyOnce {
    fn clone(&self) -> Self {
        Self(self.0.clone(), 0)
    }
}

impl<Req> Service<Req> for ReadyOnce
where
    Upstream: Service<Req, Error = BoxError>,
{
    type Response = <Upstream as Service<Req>>::Response;
    type Error = BoxError;
    type Future = <Upstream as Service<Req>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.1 += 1;
        match self.1 {
            1 => self.0.poll_ready(cx),
            2 => Poll::Ready(Err("gone".into())),
            _ => panic!("polled after its readiness failed"),
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.0.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_service_that_fails_before_a_hedge_is_discarded() {
    let upstream = Upstream::new([answer(503).taking(60 * MS), answer(200)]);
    let log = upstream.log();
    let response = hedged().layer(ReadyOnce(upstream, 0)).oneshot(get()).await.unwrap();
    assert_eq!((response.status().as_u16(), report(&response)), (200, (2, None)));
    assert_eq!(log.gaps(), [160]);
}
