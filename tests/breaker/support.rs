//! Shared by the tests: a clock that the tests advance, and an inner service that does what the request asks for.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tower::{Layer, Service, ServiceExt};
use tower_rampart::breaker::partition::Unpartitioned;
use tower_rampart::breaker::{AnyRequests, CircuitOpen, State};
use tower_rampart::classify::{Classifier, HeadOnly, Health, Verdict};
use tower_rampart::{BoxError, CircuitBreakerLayer};

pub(crate) use crate::steady::steady;

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// What the upstream shall answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    Succeed,
    Fail,
    Throttle,
    Ignore,
    Panic,
    /// Succeeds after that time.
    SucceedAfter(Duration),
    FailAfter(Duration),
    Hang,
}

/// The answer: what the breaker shall learn from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer(pub(crate) Health);

/// Judges an answer by the health in it, and every error as a failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge;

impl Classifier<Answer> for Judge {
    fn classify(&self, outcome: Result<&Answer, &(dyn Error + 'static)>) -> Verdict {
        match outcome {
            Ok(Answer(health)) => Verdict::success().with_health(*health),
            Err(_) => Verdict::transient(),
        }
    }
}

/// The breakers of requests that are not HTTP.
pub(crate) type Breakers<P = Unpartitioned, C = Judge> = CircuitBreakerLayer<C, P, HeadOnly, AnyRequests>;

pub(crate) fn layer() -> Breakers {
    steady(CircuitBreakerLayer::new(Judge).name("test"))
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Upstream {
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) in_flight: Arc<AtomicUsize>,
    pub(crate) most_in_flight: Arc<AtomicUsize>,
}

struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Upstream {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }
}

impl<K: Send + 'static> Service<(K, Do)> for Upstream {
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (_, what): (K, Do)) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_flight.fetch_max(now, Ordering::SeqCst);
        let guard = InFlight(self.in_flight.clone());
        Box::pin(async move {
            let _guard = guard;
            match what {
                Do::Succeed => Ok(Answer(Health::Success)),
                Do::Fail => Err("failed".into()),
                Do::Throttle => Ok(Answer(Health::Throttled)),
                Do::Ignore => Ok(Answer(Health::Neutral)),
                Do::Panic => panic!("on demand"),
                Do::SucceedAfter(time) => {
                    tokio::time::sleep(time).await;
                    Ok(Answer(Health::Success))
                }
                Do::FailAfter(time) => {
                    tokio::time::sleep(time).await;
                    Err("failed late".into())
                }
                Do::Hang => std::future::pending().await,
            }
        })
    }
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered(Health),
    Failed(String),
    Rejected { state: State, retry_after: Option<Duration> },
}

pub(crate) fn rejected(state: State, retry_after: Duration) -> Outcome {
    Outcome::Rejected { state, retry_after: Some(retry_after) }
}

pub(crate) const OK: Outcome = Outcome::Answered(Health::Success);

pub(crate) fn outcome(result: Result<Answer, BoxError>) -> Outcome {
    match result {
        Ok(Answer(health)) => Outcome::Answered(health),
        Err(error) => match CircuitOpen::find(&*error) {
            Some(open) => Outcome::Rejected { state: open.state(), retry_after: open.retry_after() },
            None => Outcome::Failed(error.to_string()),
        },
    }
}

/// One call without a key.
pub(crate) async fn call<S>(service: &S, what: Do) -> Outcome
where
    S: Service<((), Do), Response = Answer, Error = BoxError> + Clone,
{
    call_for(service, (), what).await
}

pub(crate) async fn call_for<S, K>(service: &S, key: K, what: Do) -> Outcome
where
    S: Service<(K, Do), Response = Answer, Error = BoxError> + Clone,
{
    outcome(service.clone().oneshot((key, what)).await)
}

pub(crate) async fn calls<S>(service: &S, count: usize, what: Do)
where
    S: Service<((), Do), Response = Answer, Error = BoxError> + Clone,
{
    for _ in 0..count {
        call(service, what).await;
    }
}

/// Polls once, as a task that is then left alone.
pub(crate) async fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    let mut future = Some(future);
    std::future::poll_fn(|cx| match future.take() {
        Some(future) => Poll::Ready(future.poll(cx)),
        None => unreachable!("polled once"),
    })
    .await
}

pub(crate) async fn advance(time: Duration) {
    tokio::time::advance(time).await;
}

pub(crate) fn over<L: Layer<Upstream>>(layer: &L) -> (L::Service, Upstream) {
    let upstream = Upstream::default();
    (layer.layer(upstream.clone()), upstream)
}

/// A call that can be polled a little, and dropped.
pub(crate) fn begin<F: Future>(future: F) -> Pin<Box<F>> {
    Box::pin(future)
}
