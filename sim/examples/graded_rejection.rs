//! What a client would gain that rejects calls at random before they fail, instead of opening a breaker.
//!
//! `cargo run --release -p rampart-sim --example graded_rejection`. The formula is that of "Handling Overload", chapter
//! 21 of Site Reliability Engineering (Beyer et al., 2016): reject with the probability max(0, (requests - K × accepts)
//! / (requests + 1)). Its numbers are in `docs/DEFAULTS.md`, which says why no layer does it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use rampart_sim::scenario::{self, Scenario};
use rampart_sim::{Episode, Latency, Process, Report, Upstream, simulate};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder};
use tower_rampart::breaker::{CircuitOpen, State};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

/// Two accepted calls admit two more: the K of the book.
const K: f64 = 2.0;

const BUCKETS: u32 = 10;

fn main() {
    let seconds = Duration::from_secs;
    let down = Episode::down().between(seconds(30), seconds(40));
    let upstream = Upstream::new(250, Latency::Fixed(Duration::from_millis(100))).queue(7_500).episode(down);
    let outage = Scenario { name: "outage".to_owned(), upstream, ..scenario::storm() };
    for scenario in [scenario::storm(), outage, scenario::brown_out()] {
        let breaker = |process: Process| {
            let breaker = CircuitBreakerLayer::new_for_http().seed(process.seed);
            ServiceBuilder::new().layer(retry(process.seed)).layer(breaker).service(process.upstream)
        };
        print("the defaults", &scenario, &simulate(breaker, &scenario.load, &scenario.upstream, 1));
        for history in [120, 10, 5] {
            let graded = |process: Process| {
                let graded = GradedLayer::new(seconds(history), process.seed);
                ServiceBuilder::new().layer(retry(process.seed)).layer(graded).service(process.upstream)
            };
            let report = simulate(graded, &scenario.load, &scenario.upstream, 1);
            print(&format!("graded, {history} s"), &scenario, &report);
        }
    }
}

fn retry(seed: u64) -> RetryLayer {
    RetryLayer::new_for_http().max_attempts(4).attempt_timeout(Duration::from_secs(1)).seed(seed)
}

fn print(stack: &str, scenario: &Scenario, report: &Report) {
    let after = scenario.recovered_after(report).map_or("never".to_owned(), |after| format!("after {after:?}"));
    let [all, trouble] = [scenario.goodput(report), scenario.goodput_in_trouble(report)].map(|share| 100.0 * share);
    println!("{}, {stack}: well {after}, {all:.1} % answered, {trouble:.1} % in trouble", scenario.name);
}

/// Counts the requests and accepts of the last while, and rejects requests at random.
struct Graded {
    bucket: Duration,
    random: SmallRng,
    start: Instant,
    buckets: VecDeque<Bucket>,
}

#[derive(Default)]
struct Bucket {
    number: u128,
    requests: u32,
    accepts: u32,
}

impl Graded {
    fn current(&mut self) -> &mut Bucket {
        let number = self.start.elapsed().as_nanos() / self.bucket.as_nanos();
        self.buckets.retain(|bucket| bucket.number + u128::from(BUCKETS) > number);
        if self.buckets.back().is_none_or(|bucket| bucket.number != number) {
            self.buckets.push_back(Bucket { number, ..Bucket::default() });
        }
        let last = self.buckets.len() - 1;
        &mut self.buckets[last]
    }

    fn admits(&mut self) -> bool {
        self.current().requests += 1;
        let sum = |of: fn(&Bucket) -> u32| self.buckets.iter().map(|bucket| f64::from(of(bucket))).sum::<f64>();
        // This request is in the sum, and is the one added below the line of the formula.
        let (requests, accepts) = (sum(|bucket| bucket.requests), sum(|bucket| bucket.accepts));
        let rejected = ((requests - 1.0 - K * accepts) / requests).max(0.0);
        !self.random.random_bool(rejected)
    }
}

#[derive(Clone)]
struct GradedLayer(Arc<Mutex<Graded>>);

#[derive(Clone)]
struct GradedService<S> {
    inner: S,
    graded: Arc<Mutex<Graded>>,
}

impl GradedLayer {
    fn new(history: Duration, seed: u64) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        let graded = Graded { bucket: history / BUCKETS, random, start: Instant::now(), buckets: VecDeque::new() };
        Self(Arc::new(Mutex::new(graded)))
    }
}

impl<S> Layer<S> for GradedLayer {
    type Service = GradedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GradedService { inner, graded: Arc::clone(&self.0) }
    }
}

impl<S, Body, Answer> Service<Request<Body>> for GradedService<S>
where
    S: Service<Request<Body>, Response = Response<Answer>, Error: Into<BoxError>, Future: 'static>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let graded = Arc::clone(&self.graded);
        if !lock(&graded).admits() {
            return Box::pin(async { Err(CircuitOpen::new("graded", State::Open).into()) });
        }
        let call = self.inner.call(request);
        Box::pin(async move {
            let outcome = call.await.map_err(Into::into);
            if outcome.as_ref().is_ok_and(|response| !response.status().is_server_error()) {
                lock(&graded).current().accepts += 1;
            }
            outcome
        })
    }
}

fn lock(graded: &Mutex<Graded>) -> MutexGuard<'_, Graded> {
    graded.lock().unwrap_or_else(PoisonError::into_inner)
}
