use std::time::Duration;

use tokio::time::advance;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::breaker::{Cause, CircuitBreaker, CircuitOpen, Window, partition};
use tower_rampart::retry::{Budget, ReplayBody, RetryPolicy, RetryReport};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer, explain, retry};

type Request = http::Request<ReplayBody<String>>;

const SECRET: &str = "hunter2";

fn layer() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new_for_http()
        .name("billing")
        .window(Window::count(10))
        .failure_rate(0.3)
        .minimum_calls(4)
        .open_for(Duration::from_secs(6))
}

#[tokio::test(start_paused = true)]
async fn a_rejection_carries_what_opened_the_breaker() {
    let breaker = layer().breaker();
    for failed in [false, false, true, false, true] {
        let permit = breaker.try_acquire().unwrap();
        if failed { permit.fail() } else { permit.succeed() }
    }
    advance(Duration::from_secs(2)).await;
    let open = breaker.try_acquire().unwrap_err();
    let trip = open.trip().unwrap();
    assert_eq!((trip.cause, trip.calls, trip.bad, trip.limit), (Cause::FailureRate, 5, 2, Some(0.3)));
    assert_eq!(trip.rate(), 0.4);
    assert_eq!(
        explain(&*open).unwrap(),
        "Circuit breaker \"billing\" is open; next probe in 4s. \
         It opened because 2 of 5 calls failed (40 %, the limit is 30 %)."
    );
    assert_eq!(
        breaker.explain(),
        "Circuit breaker \"billing\" is open and has not been closed for 2s; next probe in 4s. \
         It opened because 2 of 5 calls failed (40 %, the limit is 30 %)."
    );
    // The error outlives the state.
    breaker.reset();
    assert_eq!(open.trip(), Some(trip));
    assert_eq!(breaker.snapshot().trip, None);
}

#[tokio::test(start_paused = true)]
async fn each_cause_has_its_numbers() {
    let explained = |layer: CircuitBreakerLayer, calls: u32| async move {
        let breaker = layer.breaker();
        for _ in 0..calls {
            let permit = breaker.try_acquire().unwrap();
            advance(Duration::from_secs(1)).await;
            permit.fail();
        }
        breaker.snapshot().trip.unwrap().to_string()
    };
    let row = CircuitBreakerLayer::new_for_http().consecutive_failures(3);
    assert_eq!(explained(row, 3).await, "3 calls in a row failed (3 of 3 in the window)");
    let outage = CircuitBreakerLayer::new_for_http();
    assert_eq!(explained(outage, 10).await, "at least 10 calls in a row failed (10 of 10 in the window)");
    let short = CircuitBreakerLayer::new_for_http().outage(1, Duration::ZERO);
    assert_eq!(explained(short, 1).await, "at least 1 call in a row failed (1 of 1 in the window)");
    let slow = layer().failure_rate(1.0).slow_calls(Duration::from_millis(1), 0.5).minimum_calls(1);
    let breaker = slow.breaker();
    let permit = breaker.try_acquire().unwrap();
    advance(Duration::from_secs(1)).await;
    permit.succeed();
    assert_eq!(breaker.snapshot().trip.unwrap().to_string(), "1 of 1 calls were slow (100 %, the limit is 50 %)");
}

#[tokio::test(start_paused = true)]
async fn the_votes_of_tenants_are_named_so() {
    let layer = CircuitBreakerLayer::new_for_http()
        .name("hosts")
        .minimum_calls(100)
        .consecutive_failures(100)
        .open_for(Duration::from_secs(30))
        .partition_by(partition::by(|key: &(u8, u8)| key.1))
        .nested_in(partition::by(|key: &(u8, u8)| key.0), 0.5);
    let breakers = layer.handle();
    let host = partition::Nested::Outer(1);
    breakers.get_or_insert(&partition::Nested::Inner(1, Some(0))).unwrap().try_acquire().unwrap().succeed();
    assert_eq!(
        breakers.explain(&host).unwrap(),
        "Circuit breaker \"hosts\", partition 1, has been closed for 0s. \
         0 of 1 partitions failed (0 %, the limit is 50 %). A rate needs 3 partitions in the window, 2 more than now."
    );
    for _ in 0..40 {
        for tenant in 0..4 {
            let breaker = breakers.get_or_insert(&partition::Nested::Inner(1, Some(tenant))).unwrap();
            if let Ok(permit) = breaker.try_acquire() {
                permit.fail();
            }
        }
        advance(Duration::from_secs(1)).await;
    }
    let text = breakers.explain(&host).unwrap();
    assert!(
        text.contains("It opened because") && text.contains("partitions failed (100 %, the limit is 50 %)"),
        "{text}"
    );
    let error = breakers.get(&partition::Nested::Inner(1, Some(0))).unwrap().try_acquire().unwrap_err();
    assert!(error.trip().is_some(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_young_host_names_how_long_all_of_its_votes_must_be_bad() {
    let layer = CircuitBreakerLayer::new_for_http()
        .name("hosts")
        .consecutive_failures(1)
        .partition_by(partition::by(|key: &(u8, u8)| key.1))
        .nested_in(partition::by(|key: &(u8, u8)| key.0), 0.5);
    let breakers = layer.handle();
    let vote =
        |tenant| breakers.get_or_insert(&partition::Nested::Inner(1, Some(tenant))).unwrap().try_acquire().unwrap();
    let explained = || breakers.explain(&partition::Nested::Outer(1)).unwrap();
    (0..3).for_each(|tenant| vote(tenant).fail());
    assert_eq!(
        explained(),
        "Circuit breaker \"hosts\", partition 1, has been closed for 0s. \
         3 of 3 partitions failed (100 %, the limit is 50 %). For the next 61s it opens only if all of them keep failing."
    );
    advance(Duration::from_secs(61)).await;
    (3..6).for_each(|tenant| vote(tenant).succeed());
    assert_eq!(
        explained(),
        "Circuit breaker \"hosts\", partition 1, has been closed for 61s. \
         0 of 3 partitions failed (0 %, the limit is 50 %)."
    );
}

#[tokio::test(start_paused = true)]
async fn a_breaker_explains_each_of_its_states() {
    let layer = layer().partition_by(partition::extension::<u64>());
    let breakers = layer.handle();
    assert_eq!(breakers.explain(&7), None);
    let breaker = breakers.get_or_insert(&7).unwrap();
    for failed in [true, false, false, false] {
        let permit = breaker.try_acquire().unwrap();
        if failed { permit.fail() } else { permit.succeed() }
    }
    let explained = || breakers.explain(&7).unwrap();
    assert_eq!(
        explained(),
        "Circuit breaker \"billing\", partition 7, has been closed for 0s. \
         1 of 4 calls failed (25 %, the limit is 30 %) and 0 calls in a row failed (an outage is 10 over 2s)."
    );
    breaker.try_acquire().unwrap().fail();
    for _ in 0..2 {
        advance(Duration::from_secs(6)).await;
        breaker.try_acquire().unwrap().fail();
    }
    assert_eq!(
        explained(),
        "Circuit breaker \"billing\", partition 7, is open, has not been closed for 12s and has opened 3 times; \
         next probe in 6s. It opened because 2 of 5 calls failed (40 %, the limit is 30 %)."
    );
    advance(Duration::from_secs(6)).await;
    assert!(explained().contains("is half-open, has not been closed for 18s and has opened 3 times; it admits 3 more"));
    breaker.force_open();
    advance(Duration::from_secs(1)).await;
    assert_eq!(
        explained(),
        "Circuit breaker \"billing\", partition 7, is open and has not been closed for 1s. It was forced open."
    );
    breaker.disable();
    assert_eq!(
        explained(),
        "Circuit breaker \"billing\", partition 7, is disabled. It admits every call and counts none."
    );
}

#[tokio::test(start_paused = true)]
async fn a_closed_breaker_names_what_it_has_seen_against_each_limit_the_nearest_first() {
    let layer = CircuitBreakerLayer::new_for_http()
        .name("billing")
        .failure_rate(0.5)
        .minimum_calls(20)
        .slow_calls(Duration::from_secs(1), 0.25)
        .consecutive_failures(5)
        .outage(10, Duration::from_secs(4));
    let breaker = layer.breaker();
    let record = |failed: bool| {
        let permit = breaker.try_acquire().unwrap();
        if failed { permit.fail() } else { permit.succeed() }
    };
    (0..4).for_each(|_| record(false));
    let slow = breaker.try_acquire().unwrap();
    advance(Duration::from_secs(2)).await;
    slow.succeed();
    record(true);
    advance(Duration::from_secs(1)).await;
    (0..2).for_each(|_| record(true));
    advance(Duration::from_millis(500)).await;
    assert_eq!(
        breaker.explain(),
        "Circuit breaker \"billing\" has been closed for 3s. 3 calls in a row failed (the limit is 5), \
         3 of 8 calls failed (37.5 %, the limit is 50 %), 1 of 8 calls were slow (12.5 %, the limit is 25 %) and \
         3 calls in a row failed, the first 1.5s ago (an outage is 10 over 4s). \
         A rate needs 20 calls in the window, 12 more than now."
    );
    (0..12).for_each(|_| record(false));
    breaker.observe();
    assert_eq!(
        breaker.explain(),
        "Circuit breaker \"billing\" has been closed for 3s, in the mode \"observe only\". \
         3 of 20 calls failed (15 %, the limit is 50 %), 1 of 20 calls were slow (5 %, the limit is 25 %), \
         0 calls in a row failed (the limit is 5) and 0 calls in a row failed (an outage is 10 over 4s)."
    );
    let breaker = CircuitBreakerLayer::new_for_http().window(Window::count(1)).no_outage().breaker();
    assert_eq!(
        breaker.explain(),
        "Circuit breaker \"default\" has been closed for 0s. 0 of 0 calls failed (0 %, the limit is 90 %). \
         A rate needs 1 call in the window, 1 more than now."
    );
}

#[tokio::test(start_paused = true)]
async fn a_closed_breaker_goes_by_its_newest_settings() {
    let layer = CircuitBreakerLayer::new_for_http().name("billing").window(Window::count(10)).no_outage();
    let (breaker, breakers) = (layer.breaker(), layer.handle());
    breaker.try_acquire().unwrap().fail();
    let settings = CircuitBreaker::builder().window(Window::count(10)).minimum_calls(2).consecutive_failures(4);
    breakers.reconfigure(&settings).unwrap();
    breaker.try_acquire().unwrap().succeed();
    breaker.try_acquire().unwrap().fail();
    assert_eq!(
        breaker.explain(),
        "Circuit breaker \"billing\" has been closed for 0s. 2 of 3 calls failed (66.7 %, the limit is 90 %) and \
         1 call in a row failed (the limit is 4)."
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_given_up_names_its_attempts() {
    let policy = RetryPolicy::new().max_attempts(3).backoff(Duration::from_millis(200)).budget(Budget::unlimited());
    let mut kinds = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::TimedOut].into_iter().cycle();
    let error = retry::call(&policy, || {
        let error = std::io::Error::new(kinds.next().unwrap(), SECRET);
        async { Err::<(), _>(error) }
    });
    let text = explain(&error.await.unwrap_err()).unwrap();
    assert_eq!(
        text,
        "Gave up after 3 attempts: no attempts left (connection reset). \
         The sends ended with reset, timeout and reset, after waits of 400ms."
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_an_open_circuit_ended_names_the_breaker() {
    let breaker = layer().consecutive_failures(1).partition_by(partition::header("x-tenant-id")).redact_labels(true);
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new_for_http().backoff(Duration::from_millis(200)))
        .layer(breaker)
        .service(service_fn(|_: Request| async { Ok::<_, BoxError>(http::Response::builder().status(503).body(())?) }));
    let uri = format!("http://user:{SECRET}@host/{SECRET}?{SECRET}");
    let request = http::Request::get(uri).header("x-tenant-id", SECRET).body(SECRET.to_owned()).unwrap();
    let error = client.oneshot(request).await.unwrap_err();
    let text = explain(&*error).unwrap();
    let start = "Gave up after 2 attempts: the circuit is open. Circuit breaker \"billing\", partition #";
    assert!(text.starts_with(start), "{text}");
    assert!(text.ends_with("It opened because 1 call in a row failed (1 of 1 in the window)."), "{text}");
    assert!(!text.contains(SECRET), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_response_that_was_given_up_is_explained_by_its_report() {
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new_for_http().backoff(Duration::from_millis(1)).max_attempts(7))
        .service(service_fn(|_: Request| async { Ok::<_, BoxError>(http::Response::builder().status(502).body(())?) }));
    let response = client.oneshot(http::Request::new(String::new())).await.unwrap();
    assert_eq!(
        RetryReport::of(&response).unwrap().explain(),
        "Gave up after 7 attempts: no attempts left. \
         The sends ended with 3 other outcomes, status 502, status 502, status 502 and status 502, after waits of 6ms."
    );
}

#[test]
fn an_error_of_others_is_not_explained() {
    assert_eq!(explain(&std::io::Error::other("reset")), None);
    let made = CircuitOpen::new("billing", tower_rampart::breaker::State::Open);
    assert_eq!(explain(&made).unwrap(), "Circuit breaker \"billing\" is open.");
}
