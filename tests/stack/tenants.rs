//! What a bad tenant costs the others, with all defaults: the numbers of `docs/TENANTS.md`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::breaker::{State, partition};
use tower_rampart::retry::{Budget, ReplayBody};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Tenant {
    Bad,
    Good,
}
use Tenant::{Bad, Good};

/// Calls of either tenant that reached the upstream.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    bad: usize,
    good: usize,
}

type Log = Arc<Mutex<Seen>>;

/// Answers the bad tenant with `status`, the good one with 200.
fn upstream(
    status: u16,
    log: &Log,
) -> impl Service<Request<ReplayBody<String>>, Response = Response<()>, Error = std::io::Error, Future: Send> + Clone + use<>
{
    let log = log.clone();
    service_fn(move |request: Request<ReplayBody<String>>| {
        let is_bad = request.extensions().get() == Some(&Bad);
        let mut log = log.lock().unwrap();
        *(if is_bad { &mut log.bad } else { &mut log.good }) += 1;
        let status = if is_bad { status } else { 200 };
        async move { Ok(Response::builder().status(status).body(()).unwrap()) }
    })
}

fn of(tenant: Tenant) -> Request<String> {
    Request::get("/").extension(tenant).body(String::new()).unwrap()
}

/// Makes `calls` calls, of which `bad` in ten are the bad tenant's. Returns how many of the good one's were answered.
async fn run<Client>(client: &Client, calls: usize, bad: usize) -> usize
where
    Client: Service<Request<String>, Response = Response<()>, Error = BoxError> + Clone,
{
    let mut answered = 0;
    for call in 0..calls {
        let tenant = if call % 10 < bad { Bad } else { Good };
        let result = client.clone().oneshot(of(tenant)).await;
        answered += usize::from(tenant == Good && result.is_ok_and(|response| response.status() == 200));
    }
    answered
}

#[tokio::test(start_paused = true)]
async fn a_bad_tenant_with_a_breaker_and_a_budget_of_its_own_costs_the_others_nothing() {
    for status in [429, 503] {
        let log = Log::default();
        let breaker = CircuitBreakerLayer::new_for_http().partition_by(partition::extension::<Tenant>());
        let breakers = breaker.handle();
        let client = ServiceBuilder::new()
            .layer(RetryLayer::new_for_http().budget_by(partition::extension::<Tenant>(), Budget::ratio(0.2)))
            .layer(breaker)
            .service(upstream(status, &log));
        assert_eq!(run(&client, 2_000, 5).await, 1_000, "{status}");
        let bad = breakers.get(&Bad).unwrap().snapshot();
        assert_eq!((bad.state, breakers.state(&Good)), (State::Open, State::Closed));
        let seen = log.lock().unwrap();
        assert!(seen.good == 1_000 && seen.bad < 100, "{status}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_breaker_for_all_stays_closed_for_one_bad_tenant_of_two_and_opens_if_it_calls_most() {
    for (bad, state) in [(5, State::Closed), (9, State::Open)] {
        let log = Log::default();
        let breaker = CircuitBreakerLayer::new_for_http();
        let handle = breaker.breaker();
        let client =
            ServiceBuilder::new().layer(RetryLayer::new_for_http()).layer(breaker).service(upstream(429, &log));
        let answered = run(&client, 1_000, bad).await;
        assert_eq!(handle.state(), state, "{bad} in ten");
        assert_eq!(answered == 1_000 - 100 * bad, state == State::Closed, "{bad} in ten: {answered}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_calls_hang_leaves_the_connections_to_the_others_once_its_breaker_opens() {
    let breaker = CircuitBreakerLayer::new_for_http().partition_by(partition::extension::<Tenant>());
    let breakers = breaker.handle();
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new_for_http().max_attempts(1).attempt_timeout(Duration::from_secs(2)))
        .layer(breaker)
        .concurrency_limit(5)
        .service(service_fn(|request: Request<ReplayBody<String>>| async move {
            if request.extensions().get() == Some(&Bad) {
                std::future::pending::<()>().await;
            }
            Ok::<_, std::io::Error>(Response::new(()))
        }));
    // Five at once hold all of the connections.
    for round in 0..2 {
        let hanging: Vec<_> = (0..5).map(|_| tokio::spawn(client.clone().oneshot(of(Bad)))).collect();
        tokio::task::yield_now().await;
        assert_eq!(breakers.state(&Bad), State::Closed, "round {round}");
        for call in hanging {
            assert!(call.await.unwrap().is_err());
        }
    }
    assert_eq!(breakers.state(&Bad), State::Open, "after ten cut calls");
    let start = tokio::time::Instant::now();
    assert!(client.clone().oneshot(of(Bad)).await.is_err());
    assert!(client.oneshot(of(Good)).await.is_ok());
    assert_eq!(start.elapsed(), Duration::ZERO);
}
