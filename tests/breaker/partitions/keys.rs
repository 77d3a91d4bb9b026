use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::future::ready;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderValue, Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{Handle, Mode, State, Window, partition};
use tower_rampart::classify::HttpClassifier;

use crate::support::*;

type ById = partition::By<fn(&(u64, Do)) -> u64, u64>;

fn by_id() -> ById {
    partition::by((|request: &(u64, Do)| request.0) as fn(&(u64, Do)) -> u64)
}

#[tokio::test(start_paused = true)]
async fn every_breaker_of_a_key_is_listed_with_it() {
    let layer = keyed();
    let (service, _) = over(&layer);
    for id in [7, 8, 9] {
        call_for(&service, id, Do::Succeed).await;
    }
    let breakers = layer.handle();
    breakers.default_partition().force_open();
    let mut keys: Vec<_> = breakers.iter_keyed().map(|(key, breaker)| (key, breaker.partition().to_owned())).collect();
    keys.sort_unstable();
    assert_eq!(keys, [(7, "7".into()), (8, "8".into()), (9, "9".into())]);
    assert_eq!(breakers.iter().count(), 4, "and the default breaker");
}

#[tokio::test(start_paused = true)]
async fn a_breaker_is_removed_whatever_its_state_and_calls_in_flight_change_nothing() {
    let layer = keyed();
    let (service, upstream) = over(&layer);
    let breakers = layer.handle();
    let mut in_flight = begin(call_for(&service, 7, Do::FailAfter(SECOND)));
    assert!(poll_once(in_flight.as_mut()).await.is_pending());
    let held = breakers.get(&7).unwrap();
    for _ in 0..4 {
        call_for(&service, 7, Do::Fail).await;
    }
    assert_eq!(breakers.state(&7), State::Open);

    assert!(breakers.remove(&7) && !breakers.remove(&7));
    assert_eq!((breakers.len(), breakers.get(&7).is_none(), breakers.state(&7)), (0, true, State::Closed));
    let mut events = breakers.subscribe(10);
    for _ in 0..3 {
        call_for(&service, 7, Do::Fail).await;
    }
    assert_eq!(in_flight.await, Outcome::Failed("failed late".into()));
    let new = breakers.get(&7).unwrap().snapshot();
    assert_eq!((new.state, new.calls, new.generation, upstream.calls()), (State::Closed, 3, 0, 8));
    assert_eq!((held.mode(), held.snapshot().calls), (Mode::Disabled, 0));
    for _ in 0..10 {
        held.try_acquire().unwrap().settle(tower_rampart::classify::Verdict::transient());
    }
    assert!(events.try_recv().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_removed_host_takes_its_tenants_along() {
    use partition::Nested;

    let layer = layer()
        .partition_by(partition::by(|request: &((u64, u64), Do)| request.0.1))
        .nested_in(partition::by(|request: &((u64, u64), Do)| request.0.0), 0.5);
    let (service, _) = over(&layer);
    for key in [(1, 7), (1, 8), (2, 7)] {
        call_for(&service, key, Do::Succeed).await;
    }
    let breakers = layer.handle();
    assert!(breakers.remove(&Nested::Inner(1, Some(7))));
    assert_eq!(breakers.len(), 4);
    call_for(&service, (1, 7), Do::Succeed).await;
    assert!(breakers.remove(&Nested::Outer(1)));
    let mut left: Vec<_> = breakers.iter().map(|breaker| breaker.partition().to_owned()).collect();
    left.sort_unstable();
    assert_eq!(left, ["2", "2/7"]);
    call_for(&service, (1, 7), Do::Fail).await;
    assert_eq!(breakers.get(&Nested::Inner(1, Some(7))).unwrap().snapshot().calls, 1);
}

#[test]
fn removals_race_with_calls_and_evictions_and_lose_nothing() {
    use partition::Nested;

    let layer = crate::nested::hierarchy::nested().max_partitions(16);
    let (service, upstream) = over(&layer);
    let breakers = layer.handle();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let service = &service;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                runtime.block_on(async {
                    for call in 0..5_000 {
                        let what = if call % 11 == 0 { Do::Fail } else { Do::Succeed };
                        call_for(service, (call % 5, (call * 7 + thread) % 5), what).await;
                    }
                });
            });
        }
        for call in 0..5_000 {
            breakers.remove(&Nested::Inner(call % 5, Some(call % 3)));
            if call % 7 == 0 {
                breakers.remove(&Nested::Outer(call % 5));
            }
            assert!(breakers.len() <= 16);
        }
    });
    assert_eq!(upstream.in_flight(), 0);
    for (key, _) in breakers.iter_keyed() {
        breakers.remove(&key);
    }
    assert!(breakers.is_empty());
}

fn keyed() -> Breakers<ById> {
    layer().window(Window::count(4)).open_for(10 * SECOND).partition_by(by_id())
}

#[tokio::test(start_paused = true)]
async fn one_throttled_tenant_does_not_stop_the_others() {
    let layer = keyed();
    let (service, _) = over(&layer);
    for _ in 0..4 {
        call_for(&service, 7, Do::Throttle).await;
        call_for(&service, 8, Do::Succeed).await;
    }
    assert_eq!((layer.handle().state(&7), layer.handle().state(&8)), (State::Open, State::Closed));
    assert_eq!(call_for(&service, 7, Do::Succeed).await, rejected(State::Open, 10 * SECOND));
    assert_eq!(call_for(&service, 8, Do::Succeed).await, OK);
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_a_million_keys_stay_within_the_cap_and_no_open_breaker_is_forgotten() {
    let layer =
        keyed().window(Window::time(10 * SECOND)).minimum_calls(1).max_partitions(1_000).open_for(3_600 * SECOND);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    for id in 0..100 {
        call_for(&service, id, Do::Fail).await;
    }
    for id in 100..1_000_000 {
        call_for(&service, id, Do::Succeed).await;
        if id % 50_000 == 0 {
            advance(5 * SECOND).await;
        }
        assert!(breakers.len() <= 1_000);
    }
    for id in 0..100 {
        assert_eq!(breakers.state(&id), State::Open, "{id}");
    }
    assert!(breakers.overflowed() > 0);
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_what_is_idle_makes_room_and_what_is_not_stays() {
    let layer = keyed().window(Window::time(10 * SECOND)).max_partitions(4);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    call_for(&service, 1, Do::Succeed).await; // will be idle
    call_for(&service, 2, Do::Succeed).await; // will have a call under way
    let mut under_way = begin(call_for(&service, 2, Do::Hang));
    assert!(poll_once(under_way.as_mut()).await.is_pending());
    let held = breakers.get_or_insert(&3).unwrap(); // held by a user
    breakers.force_open(&4); // is open
    assert_eq!(breakers.len(), 4);

    // Nothing is idle yet: the fifth shares.
    call_for(&service, 5, Do::Succeed).await;
    assert_eq!((breakers.len(), breakers.overflowed()), (4, 1));
    assert!(breakers.get(&5).is_none());

    advance(10 * SECOND).await;
    call_for(&service, 5, Do::Succeed).await;
    let left: Vec<_> = (1..=5).filter(|id| breakers.get(id).is_some()).collect();
    assert_eq!(left, [2, 3, 4, 5]);
    drop((held, under_way));
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_a_streak_or_a_count_window_is_forgotten_only_with_time() {
    let layer = keyed().consecutive_failures(3).max_partitions(1);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    call_for(&service, 1, Do::Fail).await;
    for _ in 0..9 {
        advance(60 * SECOND).await;
        call_for(&service, 2, Do::Succeed).await;
        assert!(breakers.get(&1).is_some());
    }
    advance(120 * SECOND).await;
    call_for(&service, 2, Do::Succeed).await;
    assert!(breakers.get(&1).is_none() && breakers.get(&2).is_some());
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_a_busy_count_window_is_never_forgotten() {
    // Exactly as many calls between two looks as the window holds: it looks as before, but is not idle.
    let layer = keyed().max_partitions(1);
    let (service, _) = over(&layer);
    for _ in 0..30 {
        for _ in 0..4 {
            call_for(&service, 1, Do::Succeed).await;
        }
        advance(60 * SECOND).await;
        call_for(&service, 2, Do::Succeed).await;
        assert!(layer.handle().get(&1).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_the_overflow_breaker_works_and_is_seen() {
    let layer = keyed().max_partitions(1);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    breakers.force_open(&1);
    for id in 2..=5 {
        call_for(&service, id, Do::Fail).await;
    }
    let shared = |id| breakers.overflow_partition(&id).partition().to_owned();
    let labels: HashSet<_> = breakers.iter().map(|breaker| breaker.partition().to_owned()).collect();
    assert_eq!(labels, std::iter::once("1".to_owned()).chain((2..=5).map(shared)).collect());
    let calls: u64 = breakers.iter().map(|breaker| breaker.snapshot().calls).sum();
    assert_eq!((breakers.overflowed(), calls), (4, 4));
    assert!(!breakers.force_open(&9), "there is no room to remember it");
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_threads_that_come_and_go_lose_no_call() {
    // Keys are forgotten and found again all the time, while a failure is never lost: the window is far longer.
    let layer = keyed().window(Window::time(3_600 * SECOND)).minimum_calls(1_000_000).max_partitions(64);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    std::thread::scope(|scope| {
        for worker in 0..4_u64 {
            let service = service.clone();
            scope.spawn(move || {
                for round in 0..2_000_u64 {
                    let key = (round * 7 + worker) % 48;
                    futures_executor::block_on(call_for(&service, key, Do::Fail));
                }
            });
        }
    });
    let failures: u64 = breakers.iter().map(|breaker| breaker.snapshot().failures).sum();
    assert_eq!((failures, breakers.overflowed()), (8_000, 0));
}

fn answer(_: Request<()>) -> std::future::Ready<Result<Response<()>, Infallible>> {
    ready(Ok(Response::new(())))
}

async fn labels_after<P>(partition: P, requests: Vec<Request<()>>) -> Vec<String>
where
    P: partition::Partition<Request<()>> + Clone,
{
    let layer = CircuitBreakerLayer::<HttpClassifier>::new_for_http().partition_by(partition);
    let service = layer.layer(service_fn(answer));
    for request in requests {
        service.clone().oneshot(request).await.unwrap();
    }
    let mut labels: Vec<_> = layer.handle().iter().map(|breaker| breaker.partition().to_owned()).collect();
    labels.sort();
    labels
}

fn get(uri: &str) -> http::request::Builder {
    Request::get(uri)
}

#[tokio::test]
async fn partition_rule_3_no_key_means_the_default_partition() {
    let without = get("/").body(()).unwrap();
    assert_eq!(labels_after(partition::header("x-tenant-id"), vec![without]).await, ["(default)"]);
    let junk = get("/").header("host", HeaderValue::from_bytes(b"\xff").unwrap()).body(()).unwrap();
    assert_eq!(labels_after(partition::host(), vec![get("/").body(()).unwrap(), junk]).await, ["(default)"]);
    assert_eq!(labels_after(partition::extension::<u32>(), vec![get("/").body(()).unwrap()]).await, ["(default)"]);
    let some = partition::by_optional(|request: &Request<()>| request.uri().query().map(str::len));
    let requests = vec![get("/?a").body(()).unwrap(), get("/").body(()).unwrap()];
    assert_eq!(labels_after(some, requests).await, ["(default)", "1"]);
}

#[tokio::test]
async fn partition_rule_3_labels_can_be_redacted() {
    let layer = CircuitBreakerLayer::new_for_http().partition_by(partition::header("x-tenant-id")).redact_labels(true);
    let request = get("/").header("x-tenant-id", "hunter2").body(()).unwrap();
    layer.layer(service_fn(answer)).oneshot(request).await.unwrap();
    let labels: Vec<_> = layer.handle().iter().map(|breaker| breaker.partition().to_owned()).collect();
    assert!(matches!(&labels[..], [label] if label.starts_with('#') && !label.contains("hunter2")), "{labels:?}");
}

#[tokio::test]
async fn headers_of_any_bytes_make_keys() {
    let tenants: [&[u8]; 4] = [b"a", b"A", b"\xc3\xbc", b"\xff\xfe"];
    let requests = tenants
        .map(|tenant| get("/").header("X-Tenant-Id", HeaderValue::from_bytes(tenant).unwrap()).body(()).unwrap());
    let labels = labels_after(partition::header("x-tenant-id"), requests.into()).await;
    assert_eq!(labels, ["A", r"\xc3\xbc", r"\xff\xfe", "a"]);
}

#[tokio::test]
async fn a_header_is_found_among_others_and_its_first_value_counts() {
    let requests = vec![
        get("/").header("a", "b").header("x-tenant-id", "one").header("x-tenant-id", "two").body(()).unwrap(),
        get("/").header("x-tenant-id", "one").header("a", "c").body(()).unwrap(),
        get("/").header("a", "b").body(()).unwrap(),
    ];
    let labels = labels_after(partition::header("x-tenant-id"), requests).await;
    assert_eq!(labels, ["(default)", "one"]);
}

#[tokio::test]
async fn hosts_come_from_the_uri_else_from_the_header_in_any_case() {
    let requests = vec![
        get("http://One.example/a").body(()).unwrap(),
        get("http://one.EXAMPLE/b?c").header("host", "ignored.example").body(()).unwrap(),
        get("/relative").header("host", "one.example").body(()).unwrap(),
        get("http://one.example:8080/").body(()).unwrap(),
    ];
    assert_eq!(labels_after(partition::host(), requests).await, ["one.example", "one.example:8080"]);
}

#[tokio::test]
async fn a_host_header_finds_the_breaker_of_its_key_whatever_stands_before_the_at_sign() {
    let headers: [(&[u8], bool); 11] = [
        (b"api.example", true),
        (b"API.EXAMPLE", true),
        (b"user:password@API.example", true),
        (b"a b@api.example", false),
        (b" @api.example", false),
        (b"<>@API.example", false),
        (b"a/b@api.example", false),
        (b"http://user@api.example", false),
        (b"a@b@api.example", true),
        (b"]@api.example", false),
        (b"\xff@api.example", false),
    ];
    for (header, names_it) in headers {
        let layer = CircuitBreakerLayer::<HttpClassifier>::new_for_http().partition_by(partition::host());
        let breakers = layer.handle();
        let api = partition::Host::from(Authority::from_static("api.example"));
        breakers.force_open(&api);
        let request = get("/").header("host", HeaderValue::from_bytes(header).unwrap()).body(()).unwrap();
        let key = partition::Partition::key(&partition::host(), &request);
        let is_rejected = layer.layer(service_fn(answer)).oneshot(request).await.is_err();
        let text = header.escape_ascii();
        assert_eq!((key.is_some(), key == Some(api), is_rejected), (names_it, names_it, names_it), "{text}");
        assert_eq!(breakers.len(), 1, "{text}");
    }
}

#[tokio::test]
async fn extensions_make_keys() {
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Tenant(u32);
    let requests =
        vec![get("/").extension(Tenant(7)).body(()).unwrap(), get("/").extension(Tenant(7)).body(()).unwrap()];
    assert_eq!(labels_after(partition::extension::<Tenant>(), requests).await, ["Tenant(7)"]);
}

#[tokio::test]
async fn hosts_never_carry_credentials() {
    let requests = vec![
        get("http://user:hunter2@one.example:81/").body(()).unwrap(),
        get("http://one.example:81/").body(()).unwrap(),
        get("/").header("host", "user:hunter2@one.example:81").body(()).unwrap(),
    ];
    assert_eq!(labels_after(partition::host(), requests).await, ["one.example:81"]);
}

/// A key whose `Debug` asks the breakers of its own layer.
#[derive(Clone)]
struct Asking(u64, Arc<OnceLock<Handle<Asking>>>);

impl PartialEq for Asking {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Asking {}

impl Hash for Asking {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let breakers = self.1.get().unwrap();
        if self.0 < 5 {
            let next = Self(self.0 + 1, self.1.clone());
            assert!(breakers.get_or_insert(&next).is_some());
        }
        write!(f, "{}", self.0)
    }
}

#[test]
fn a_key_that_uses_the_handle_while_it_is_labelled_causes_no_deadlock() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let layer = layer().partition_by(partition::by(|request: &Asking| request.clone()));
        let cell = Arc::new(OnceLock::new());
        cell.set(layer.handle()).unwrap();
        assert!(layer.handle().get_or_insert(&Asking(1, cell)).is_some());
        done.send(layer.handle().len())
    });
    // It ends at once or never.
    assert_eq!(is_done.recv_timeout(Duration::from_secs(60)), Ok(5));
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_what_begins_forced_open_is_forgotten_too() {
    let layer = keyed().window(Window::time(10 * SECOND)).mode(Mode::ForcedOpen).max_partitions(1);
    let (service, _) = over(&layer);
    for id in 0..3 {
        call_for(&service, id, Do::Succeed).await;
        assert!(layer.handle().get(&id).is_some(), "{id}");
        advance(10 * SECOND).await;
    }
    assert_eq!(layer.handle().overflowed(), 0);
}
