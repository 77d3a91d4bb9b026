//! Rule 6: what a cut means to the layers inside, and to the request that is cut.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use http::{Extensions, Request, Response};
use http_body_util::Full;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::breaker::State;
use tower_rampart::classify::{
    Class, Counters, ErrorClassifier, HttpClassifier, Processed, Reason, Verdict, classifier_fn,
};
use tower_rampart::retry::{AttemptDeadline, Backoff, Deadline, GiveUp, Hedge, ReplayBody, TimedOut};
use tower_rampart::{BoxError, CircuitBreakerLayer, ClassifyLayer, RetryLayer};

use crate::support::*;

type Body = Full<bytes::Bytes>;

#[tokio::test(start_paused = true)]
async fn rule_6_an_upstream_that_hangs_opens_a_default_breaker_and_is_counted() {
    let counters = Counters::new();
    let breaker = CircuitBreakerLayer::new_for_http();
    let handle = breaker.breaker();
    let upstream = Upstream::new([hang()]);
    let log = upstream.log();
    let stack = ServiceBuilder::new()
        .layer(layer().max_attempts(1).attempt_timeout(SECOND))
        .layer(breaker)
        .layer(ClassifyLayer::new(HttpClassifier::new()).counters(&counters))
        .service(upstream);
    for _ in 0..10 {
        let error = stack.clone().oneshot(get()).await.unwrap_err();
        assert!(TimedOut::find(&*error).is_some());
    }
    assert_eq!((handle.state(), log.calls()), (State::Open, 10));
    assert_eq!(counters.count(Class::Transient, Reason::TIMEOUT), 10);
}

#[tokio::test(start_paused = true)]
async fn rule_6_layers_inside_see_a_cut_by_the_deadline_too() {
    let breaker = CircuitBreakerLayer::new_for_http();
    let handle = breaker.breaker();
    let stack = ServiceBuilder::new().layer(layer().deadline(SECOND)).layer(breaker).service(Upstream::new([hang()]));
    for _ in 0..10 {
        assert_eq!(gave_up(&stack.clone().oneshot(get()).await.unwrap_err()).kind(), GiveUp::Deadline);
    }
    assert_eq!(handle.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_caller_who_leaves_before_the_limit_counts_as_neutral() {
    let breaker = CircuitBreakerLayer::new_for_http();
    let handle = breaker.breaker();
    let stack = ServiceBuilder::new()
        .layer(layer().attempt_timeout(2 * SECOND).deadline(3 * SECOND))
        .layer(breaker)
        .service(Upstream::new([hang()]));
    for _ in 0..20 {
        tokio::time::timeout(SECOND, stack.clone().oneshot(get())).await.unwrap_err();
    }
    assert_eq!((handle.state(), handle.snapshot().calls), (State::Closed, 0));
}

/// A request type without extensions.
#[tokio::test(start_paused = true)]
async fn rule_6_layers_inside_see_a_hang_for_requests_of_every_type() {
    let classifier = classifier_fn(|_: Result<&(), _>| Verdict::transient());
    let breaker = CircuitBreakerLayer::new(classifier);
    let handle = breaker.breaker();
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(classifier).max_attempts(1).attempt_timeout(SECOND))
        .layer(breaker)
        .service(service_fn(|_: u32| std::future::pending::<Result<(), BoxError>>()));
    for _ in 0..10 {
        stack.clone().oneshot(7).await.unwrap_err();
    }
    assert_eq!(handle.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_hang_in_readiness_opens_a_breaker_and_proves_that_nothing_was_sent() {
    let breaker = CircuitBreakerLayer::new_for_http();
    let handle = breaker.breaker();
    let upstream = Upstream::new([answer(200)]);
    let log = upstream.log();
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let mut holder = limit.layer(upstream.clone());
    let _place = ServiceExt::<Request<Body>>::ready(&mut holder).await.unwrap();
    let retry = layer().max_attempts(2).attempt_timeout(SECOND);
    let stack = ServiceBuilder::new().layer(retry).layer(breaker).layer(&limit).service(upstream);
    for _ in 0..5 {
        let error = stack.clone().oneshot(post("5 euros")).await.unwrap_err();
        // A POST, retried because it was never sent.
        assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Exhausted, 2));
        assert_eq!(gave_up(&error).verdict().processed(), Processed::No);
    }
    assert_eq!((handle.state(), log.calls()), (State::Open, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_post_that_waited_for_readiness_is_retried() {
    let upstream = Upstream::new([answer(201)]);
    let log = upstream.log();
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let mut holder = limit.layer(upstream.clone());
    ServiceExt::<Request<Body>>::ready(&mut holder).await.unwrap();
    let stack = ServiceBuilder::new()
        .layer(layer().attempt_timeout(SECOND))
        .layer(CircuitBreakerLayer::new_for_http())
        .layer(&limit)
        .service(upstream);
    let call = tokio::spawn(stack.oneshot(post("5 euros")));
    tokio::time::sleep(1_500 * MS).await;
    drop(holder);
    let response = call.await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), report(&response)), (201, (2, None)));
    assert_eq!(log.bodies(), ["5 euros"]);
}

/// The first call of the inner layer may have been processed; that the second waits for readiness proves nothing.
/// The permit comes free at the very moment at which the time of the second call is over.
#[tokio::test(start_paused = true)]
async fn rule_6_nothing_is_sent_once_its_time_is_over() {
    for layer in [layer().deadline(SECOND), layer().max_attempts(1).attempt_timeout(SECOND)] {
        let upstream = Upstream::new([hang()]);
        let log = upstream.log();
        let stack = ServiceBuilder::new()
            .layer(layer)
            .layer(CircuitBreakerLayer::new_for_http())
            .layer(GlobalConcurrencyLimitLayer::new(1))
            .service(upstream);
        let calls = [stack.clone().oneshot(get()), stack.oneshot(post("5 euros"))].map(tokio::spawn);
        for (call, processed) in calls.into_iter().zip([Processed::Maybe, Processed::No]) {
            let error = call.await.unwrap().unwrap_err();
            assert_eq!(gave_up(&error).verdict().processed(), processed);
        }
        assert_eq!((log.calls(), log.elapsed()), (1, SECOND));
    }
}

/// The wait, the transparent retry and the hedge of an inner layer come at the very moment at which the outer layer cuts
/// its attempt.
#[tokio::test(start_paused = true)]
async fn rule_6_an_inner_layer_sends_nothing_once_its_time_is_over() {
    let inner = || layer().backoff(Backoff::fixed(100 * MS));
    let given_back = given_back(Reason::REFUSED_STREAM, Processed::No).taking(100 * MS);
    for (case, step, processed, hedges) in [
        ("a wait", answer(503), Processed::Maybe, false),
        ("a transparent retry", given_back, Processed::No, false),
        ("a hedge", hang(), Processed::Maybe, true),
    ] {
        for limited in [false, true] {
            let inner = if limited { inner().attempt_timeout(110 * MS) } else { inner() };
            let upstream = Upstream::new([step.clone()]);
            let log = upstream.log();
            let outer = layer().max_attempts(1).attempt_timeout(100 * MS);
            let error = if hedges {
                let inner = inner.hedge(Hedge::after(100 * MS)).layer(upstream);
                outer.layer(inner).oneshot(get()).await.unwrap_err()
            } else {
                outer.layer(inner.layer(upstream)).oneshot(get()).await.unwrap_err()
            };
            assert_eq!((log.calls(), log.elapsed()), (1, 100 * MS), "{case}, limited: {limited}");
            assert_eq!(gave_up(&error).verdict().processed(), processed, "{case}, limited: {limited}");
        }
    }
    // Likewise with bodies that are cloned.
    let upstream = Upstream::new([answer(503)]);
    let log = upstream.log();
    let outer = layer().max_attempts(1).attempt_timeout(100 * MS).clone_bodies();
    outer.layer(inner().clone_bodies().layer(upstream)).oneshot(get()).await.unwrap_err();
    assert_eq!(log.calls(), 1, "cloned");
}

/// The outer layer has dropped its attempt, but not the call that a task makes with the request.
#[tokio::test(start_paused = true)]
async fn rule_6_an_inner_layer_that_is_not_cut_goes_on() {
    let upstream = Upstream::new([answer(503)]);
    let log = upstream.log();
    let inner = layer().backoff(Backoff::fixed(100 * MS)).layer(upstream);
    let calls = std::sync::Mutex::new(Vec::new());
    let detached = service_fn(|request| {
        calls.lock().unwrap().push(tokio::spawn(inner.clone().oneshot(request)));
        pending::<Result<Response<Body>, BoxError>>()
    });
    let outer = layer().max_attempts(1).attempt_timeout(100 * MS).clone_bodies();
    outer.layer(detached).oneshot(get()).await.unwrap_err();
    let call = calls.lock().unwrap().pop().unwrap();
    assert_eq!(report(&call.await.unwrap().unwrap()), (3, Some(GiveUp::Exhausted)));
    assert_eq!(log.gaps(), [100, 100]);
}

/// No layer cuts such a call, and it must not wait for that.
#[tokio::test(start_paused = true)]
async fn rule_6_without_a_retry_layer_a_breaker_sends_what_became_ready_too_late() {
    let upstream = Upstream::new([answer(200).taking(SECOND)]);
    let log = upstream.log();
    let stack = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::new_for_http())
        .layer(GlobalConcurrencyLimitLayer::new(1))
        .service(upstream);
    let late = || {
        let mut request = get();
        request.extensions_mut().insert(Deadline::within(SECOND));
        request
    };
    for call in [stack.clone().oneshot(late()), stack.oneshot(late())].map(tokio::spawn) {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!((log.calls(), log.elapsed()), (2, 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn rule_6_an_outer_layer_counts_the_attempts_of_an_inner_one_as_sent() {
    let upstream = Upstream::new([answer(503), answer(200)]);
    let log = upstream.log();
    let calls = Arc::new(AtomicUsize::new(0));
    // Ready for one call, and then never again.
    let once = service_fn({
        let calls = calls.clone();
        move |request: Request<ReplayBody<ReplayBody<Body>>>| {
            calls.fetch_add(1, Ordering::Relaxed);
            upstream.clone().oneshot(request)
        }
    });
    let gated = Gated { inner: once, calls };
    let stack = ServiceBuilder::new()
        .layer(layer().max_attempts(2).attempt_timeout(SECOND))
        .layer(layer().max_attempts(2).idempotent(|_| true))
        .layer(CircuitBreakerLayer::new_for_http())
        .service(gated);
    let error = stack.oneshot(post("5 euros")).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), log.calls()), (GiveUp::NotIdempotent, 1));
    assert_eq!(gave_up(&error).verdict().processed(), Processed::Maybe);
}

/// As a client that follows redirects does it: the POST was answered with 303, and the GET that follows waits.
#[tokio::test(start_paused = true)]
async fn rule_6_a_waiting_second_request_proves_nothing_about_the_first() {
    // Also below another retry layer, whose own time limit asks what was sent.
    for inner_retry in [false, true] {
        let upstream = Upstream::new([answer(303)]);
        let log = upstream.log();
        let limit = GlobalConcurrencyLimitLayer::new(1);
        let mut holder = limit.layer(upstream.clone());
        let _place = ServiceExt::<Request<ReplayBody<Body>>>::ready(&mut holder).await.unwrap();
        let breaker = CircuitBreakerLayer::new_for_http().layer(limit.layer(upstream.clone()));
        let inner = service_fn(move |request: Request<ReplayBody<Body>>| {
            let (upstream, breaker) = (upstream.clone(), breaker.clone());
            async move {
                upstream.oneshot(request).await?;
                if inner_retry {
                    layer().attempt_timeout(9 * SECOND).layer(breaker).oneshot(get()).await
                } else {
                    breaker.oneshot(get()).await
                }
            }
        });
        let error = layer().attempt_timeout(SECOND).layer(inner).oneshot(post("5 euros")).await.unwrap_err();
        assert_eq!((gave_up(&error).kind(), log.calls()), (GiveUp::NotIdempotent, 1), "{inner_retry}");
        assert_eq!(gave_up(&error).verdict().processed(), Processed::Maybe);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_post_that_waits_below_an_inner_retry_without_limits_is_unsent_too() {
    let upstream = Upstream::new([answer(201)]);
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let mut holder = limit.layer(upstream.clone());
    let _place = ServiceExt::<Request<Body>>::ready(&mut holder).await.unwrap();
    let stack = ServiceBuilder::new()
        .layer(layer().max_attempts(2).attempt_timeout(SECOND))
        .layer(layer())
        .layer(CircuitBreakerLayer::new_for_http())
        .layer(&limit)
        .service(upstream);
    let error = stack.oneshot(post("5 euros")).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Exhausted, 2));
    assert_eq!(gave_up(&error).verdict().processed(), Processed::No);
}

/// A call that a service makes beside its request, which it sends itself.
type Beside = Pin<Box<dyn Future<Output = ()> + Send>>;

#[tokio::test(start_paused = true)]
async fn rule_6_a_call_beside_a_request_does_not_prove_that_it_was_not_sent() {
    for (name, beside) in [
        ("another retry layer", in_another_retry_layer as fn(&Extensions) -> Beside),
        ("a hedged layer", in_a_hedged_layer),
        ("a breaker", in_a_breaker),
        ("a breaker that has a copy of the request", in_a_breaker_with),
    ] {
        let limited = || layer().attempt_timeout(SECOND);
        assert_eq!(sends(limited(), beside).await, 1, "{name}");
        assert_eq!(sends(ServiceBuilder::new().layer(limited()).layer(layer()), beside).await, 1, "{name}, nested");
        // The outer layer believes the error of the inner one.
        let inner = limited().max_attempts(1);
        assert_eq!(sends(ServiceBuilder::new().layer(layer()).layer(inner), beside).await, 1, "{name}, limited inside");
        let inner = layer().deadline(SECOND);
        assert_eq!(
            sends(ServiceBuilder::new().layer(layer()).layer(inner), beside).await,
            1,
            "{name}, with a deadline"
        );
        assert_eq!(sends((limited(), QueueLayer), beside).await, 1, "{name}, behind a queue");
    }
}

/// Nothing shows of such a request that it is the attempt.
#[tokio::test(start_paused = true)]
async fn rule_6_a_request_without_extensions_is_never_known_to_be_unsent() {
    let sent = AtomicUsize::new(0);
    let inner = service_fn(|_: u32| {
        let beside = CircuitBreakerLayer::new(ErrorClassifier).layer(never_ready()).call(get());
        sent.fetch_add(1, Ordering::Relaxed);
        async {
            pending::<()>().await;
            beside.await.map(|_| ())
        }
    });
    let layer = RetryLayer::new(ErrorClassifier).idempotent(|_: &u32| false).attempt_timeout(SECOND);
    layer.layer(inner).oneshot(7).await.unwrap_err();
    assert_eq!(sent.into_inner(), 1);
}

/// Returns how often a POST is sent by a service that makes another call beside it and gets no answer.
async fn sends<L>(layer: L, beside: fn(&Extensions) -> Beside) -> usize
where
    L: Layer<SendsBeside>,
    L::Service: Service<Request<Body>, Error = BoxError>,
{
    let sent = Arc::new(AtomicUsize::new(0));
    let service = layer.layer(SendsBeside { beside, sent: Arc::clone(&sent) });
    assert!(service.oneshot(post("5 euros")).await.is_err());
    sent.load(Ordering::Relaxed)
}

#[derive(Clone)]
struct SendsBeside {
    beside: fn(&Extensions) -> Beside,
    sent: Arc<AtomicUsize>,
}

impl<B> Service<Request<B>> for SendsBeside {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<()>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let beside = (self.beside)(request.extensions());
        self.sent.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            pending::<()>().await;
            beside.await;
            Ok(Response::new(()))
        })
    }
}

/// Calls the inner service in another task, as a buffer does.
#[derive(Clone)]
struct QueueLayer;

#[derive(Clone)]
struct Queue<S>(S);

impl<S> Layer<S> for QueueLayer {
    type Service = Queue<S>;

    fn layer(&self, inner: S) -> Queue<S> {
        Queue(inner)
    }
}

impl<S, B> Service<Request<B>> for Queue<S>
where
    S: Service<Request<B>, Response = Response<()>, Error = BoxError, Future: Send> + Clone + Send + 'static,
    B: Send + 'static,
{
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<()>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = tokio::spawn(self.0.clone().oneshot(request));
        Box::pin(async { answer.await? })
    }
}

fn in_another_retry_layer(_: &Extensions) -> Beside {
    let call = layer().layer(never_ready()).call(get());
    Box::pin(async { drop(call.await) })
}

fn in_a_hedged_layer(_: &Extensions) -> Beside {
    let call = layer().hedge(Hedge::after(MS)).layer(never_ready()).call(get());
    Box::pin(async { drop(call.await) })
}

fn in_a_breaker(_: &Extensions) -> Beside {
    let call = CircuitBreakerLayer::new_for_http().layer(never_ready()).call(get());
    Box::pin(async { drop(call.await) })
}

fn in_a_breaker_with(extensions: &Extensions) -> Beside {
    let mut copy = get();
    *copy.extensions_mut() = extensions.clone();
    let call = CircuitBreakerLayer::new_for_http().layer(never_ready()).call(copy);
    Box::pin(async { drop(call.await) })
}

fn never_ready<Req>() -> Gated<impl Service<Req, Response = Response<()>, Error = Infallible, Future: Send> + Clone> {
    let inner = service_fn(|_| std::future::ready(Ok(Response::new(()))));
    Gated { inner, calls: Arc::new(AtomicUsize::new(1)) }
}

#[derive(Clone)]
struct Gated<S> {
    inner: S,
    calls: Arc<AtomicUsize>,
}

impl<S, Req> Service<Req> for Gated<S>
where
    S: Service<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.calls.load(Ordering::Relaxed) > 0 { Poll::Pending } else { self.inner.poll_ready(cx) }
    }

    fn call(&mut self, request: Req) -> S::Future {
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_every_attempt_carries_the_limits_of_the_layer() {
    let seen = std::sync::Mutex::new(Vec::new());
    let inner = service_fn(|request: Request<ReplayBody<Body>>| {
        let call = request.extensions().get().map(|deadline: &Deadline| deadline.remaining().as_millis());
        let attempt = request.extensions().get().map(|deadline: &AttemptDeadline| deadline.remaining().as_millis());
        seen.lock().unwrap().push((call.unwrap(), attempt.unwrap()));
        async {
            tokio::time::sleep(100 * MS).await;
            Ok::<_, BoxError>(Response::builder().status(503).body(()).unwrap())
        }
    });
    let layer = layer().attempt_timeout(2 * SECOND).deadline(10 * SECOND);
    layer.layer(inner).oneshot(get()).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|(_, attempt)| *attempt == 2_000), "{seen:?}");
    // 100 ms for each attempt, then 100 and 200 of waiting.
    for ((call, _), expected) in seen.iter().zip([10_000, 9_800, 9_500]) {
        assert!((expected - 3..=expected).contains(call), "{seen:?}");
    }
}

/// The moment at which an attempt is cut is the earlier of those of all layers outside.
#[tokio::test(start_paused = true)]
async fn rule_6_an_inner_layer_leaves_the_attempt_timeout_of_an_outer_one_if_that_is_earlier() {
    for (inner_limit, expected) in [(5_000, [2_000, 1_900]), (1_500, [1_500, 1_500])] {
        let seen = std::sync::Mutex::new(Vec::new());
        let inner = service_fn(|request: Request<ReplayBody<ReplayBody<Body>>>| {
            let attempt = request.extensions().get().map(|deadline: &AttemptDeadline| deadline.remaining().as_millis());
            seen.lock().unwrap().push(attempt.unwrap());
            async { Ok::<_, BoxError>(Response::builder().status(503).body(()).unwrap()) }
        });
        let both = ServiceBuilder::new()
            .layer(layer().max_attempts(1).attempt_timeout(2 * SECOND))
            .layer(layer().max_attempts(2).attempt_timeout(inner_limit * MS));
        both.service(inner).oneshot(get()).await.unwrap();
        let seen = seen.into_inner().unwrap();
        assert!(
            seen.len() == 2 && seen.iter().zip(expected).all(|(seen, most)| (most - 3..=most).contains(seen)),
            "{seen:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_call_that_ends_before_its_attempt_gives_its_permit_back_at_once() {
    let limit = ConcurrencyLimitLayer::new(1);
    let stack = ServiceBuilder::new().layer(layer()).layer(&limit).service(Upstream::new([answer(200)]));
    let mut request = get();
    request.extensions_mut().insert(Deadline::within(SECOND));
    let mut first = stack.clone();
    let mut late = Box::pin(ServiceExt::<Request<Body>>::ready(&mut first).await.unwrap().call(request));
    tokio::time::advance(SECOND).await;
    assert!(late.as_mut().await.is_err());
    // The holder still has the only place, and no call waits for it.
    let response = tokio::time::timeout(SECOND, stack.oneshot(get())).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    drop(late);
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_wait_that_only_just_fits_the_deadline_does_not_lose_the_answer() {
    use tower_rampart::retry::Backoff;
    for (wait, status) in [(999_500, 503), (998_500, 503), (990_000, 200)] {
        let upstream = Upstream::new([answer(503), answer(200)]);
        let wait = std::time::Duration::from_micros(wait);
        let layer = layer().backoff(Backoff::fixed(wait)).deadline(SECOND);
        assert_eq!(send(layer, upstream, get()).await.unwrap().status().as_u16(), status, "{wait:?}");
    }
    // Nor for an attempt that has less time than the last answer took.
    let upstream = Upstream::new([answer(503).taking(400 * MS), answer(200).taking(400 * MS)]);
    let layer = layer().backoff(Backoff::fixed(300 * MS)).deadline(SECOND);
    let response = send(layer, upstream, get()).await.unwrap();
    assert_eq!((response.status().as_u16(), report(&response)), (503, (1, Some(GiveUp::Deadline))));
}
