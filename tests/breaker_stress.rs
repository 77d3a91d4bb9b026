//! Real threads that do everything at once to a few breakers. However their calls end, no permit stays out and every
//! breaker recovers. Alone in its binary, because it replaces the panic hook.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Iter};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tower::{Layer, Service, ServiceExt};
use tower_rampart::breaker::partition::{self, Keyed, Nested, Partition};
use tower_rampart::breaker::{Abandoned, CircuitOpen, Handle, Mode, State, Window};
use tower_rampart::classify::{Class, HttpClassifier, WholeBody};
use tower_rampart::retry::Deadline;
use tower_rampart::{BoxError, CircuitBreakerLayer};

const THREADS: u64 = 4;
const STEPS: u64 = 10_000;
const KEYS: u64 = 40;
/// Fewer than there are keys, so that keys come and go, and some share an overflow breaker.
const PLACES: usize = 16;
const OPEN_FOR: Duration = Duration::from_millis(5);
/// Longer than the test: a probe that is lost is not forgotten.
const LEASE: Duration = Duration::from_secs(1_000_000);

const MODES: [Mode; 5] =
    [Mode::Automatic, Mode::ForcedOpen, Mode::Disabled, Mode::ObserveOnly, Mode::RejectRetriesOnly];

#[derive(Clone, Copy)]
enum Do {
    Answer(u16),
    FailInBody,
    Panic,
    Hang,
}

type Sent = Request<(u64, Do)>;
type Answer = StreamBody<Iter<std::vec::IntoIter<Result<Frame<Bytes>, io::Error>>>>;
type Breakers<P> = CircuitBreakerLayer<HttpClassifier, P, WholeBody>;

/// Answers as the request asks, once it is ready.
#[derive(Clone)]
struct Upstream {
    is_ready: bool,
}

impl Service<Sent> for Upstream {
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.is_ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, request: Sent) -> Self::Future {
        Box::pin(async move {
            let data = || Ok(Frame::data(Bytes::from_static(b"data")));
            let (status, frames) = match request.body().1 {
                Do::Answer(status) => (status, vec![data(), data()]),
                Do::FailInBody => (200, vec![data(), Err(io::Error::other("reset"))]),
                Do::Panic => panic!("on demand"),
                Do::Hang => std::future::pending().await,
            };
            Ok(Response::builder().status(status).body(StreamBody::new(stream::iter(frames))).unwrap())
        })
    }
}

/// Counts, and panics every third time.
#[derive(Default)]
struct Touchy(AtomicUsize);

impl Touchy {
    fn touch(&self) {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) % 3 != 0, "on demand");
    }
}

impl Wake for Touchy {
    fn wake(self: Arc<Self>) {
        self.touch();
    }
}

impl tracing::Subscriber for Touchy {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn event(&self, _: &tracing::Event<'_>) {
        self.touch();
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// One thread: its calls, watchers and subscribers, of which the latest few are still there.
struct Worker<P: Keyed> {
    layer: Breakers<P>,
    breakers: Handle<P::Key>,
    keys: Arc<Keys<P::Key>>,
    rng: StdRng,
    touchy: Arc<Touchy>,
    kept: VecDeque<Box<dyn Kept>>,
}

/// The key of a tenant, and of what it is nested in.
struct Keys<K> {
    of: fn(u64) -> K,
    outer: fn(u64) -> K,
}

/// Can be polled on, and dropped.
trait Kept {
    fn poll(&mut self, cx: &mut Context<'_>) -> bool;
}

impl<F: Future + ?Sized> Kept for Pin<Box<F>> {
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        self.as_mut().poll(cx).is_ready()
    }
}

impl<P> Worker<P>
where
    P: Partition<Sent> + Clone + 'static,
    P::Key: Hash + Eq + Clone + Debug,
{
    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
            if self.kept.len() > 8 {
                self.kept.pop_front();
            }
        }
    }

    fn step(&mut self) {
        let tenant = self.rng.random_range(0..KEYS);
        let key = if self.rng.random_range(0..8) == 0 { (self.keys.outer)(tenant) } else { (self.keys.of)(tenant) };
        match self.rng.random_range(0..24) {
            0..4 => self.call(tenant, Do::Answer(200), true),
            4..7 => self.call(tenant, Do::Answer(503), true),
            7 => self.call(tenant, Do::FailInBody, true),
            8 => self.call(tenant, Do::Panic, true),
            9..11 => self.call(tenant, Do::Hang, true),
            11 => self.call(tenant, Do::Hang, false),
            12 => self.permit(&key),
            13 => self.watch(&key),
            14 => self.subscribe(),
            15 => advance(OPEN_FOR / 2),
            16 => advance(2 * OPEN_FOR),
            17 => self.poll_kept(),
            18 => {
                self.breakers.set_mode(&key, MODES[self.rng.random_range(0..MODES.len())]);
            }
            19..21 => {
                self.breakers.automatic(&key);
            }
            21 => self.breakers.reset(&key),
            22 => {
                self.breakers.remove(&key);
            }
            _ => self.breakers.overflow_partition(&key).reset(),
        }
    }

    /// Polls a call for the first time. Then it has ended, is dropped, or is kept; a body is read, dropped or kept.
    fn call(&mut self, tenant: u64, what: Do, is_ready: bool) {
        let mut request = Request::new((tenant, what));
        if self.rng.random() {
            // Dropped before its end, it is cut.
            request.extensions_mut().insert(Deadline::within(Duration::ZERO));
        }
        let mut call = Box::pin(self.layer.layer(Upstream { is_ready }).oneshot(request));
        let waker = Waker::from(self.touchy.clone());
        let mut cx = Context::from_waker(&waker);
        match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut cx))) {
            Ok(Poll::Pending) if self.rng.random() => self.kept.push_back(Box::new(call)),
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(Ok(response))) => {
                let mut body = Box::pin(response.into_body());
                let read = self.rng.random_range(0..4);
                for _ in 0..read {
                    let _ = body.as_mut().poll_frame(&mut cx);
                }
                if self.rng.random() {
                    self.kept.push_back(Box::new(Box::pin(poll_fn(move |cx| body.as_mut().poll_frame(cx).map(drop)))));
                }
            }
            Ok(Poll::Ready(Err(error))) => assert!(CircuitOpen::find(&*error).is_some(), "{error}"),
            Err(_) => assert!(matches!(what, Do::Panic), "the panic of another"),
        }
    }

    fn permit(&mut self, key: &P::Key) {
        let Some(breaker) = self.breakers.get_or_insert(key) else { return };
        let Ok(permit) = breaker.try_acquire() else { return };
        match self.rng.random_range(0..4) {
            0 => drop(permit),
            1 => permit.settle(Class::Transient),
            2 => permit.settle(Class::Success),
            _ => {
                let call = AssertUnwindSafe(move || {
                    let _permit = permit;
                    panic!("on demand");
                });
                assert!(catch_unwind(call).is_err());
            }
        }
    }

    fn watch(&mut self, key: &P::Key) {
        let Some(mut watch) = self.breakers.get(key).map(|breaker| breaker.watch()) else { return };
        self.keep(async move { watch.changed().await });
    }

    fn subscribe(&mut self) {
        let mut events = self.breakers.subscribe(2);
        self.keep(async move { events.recv().await });
    }

    fn keep(&mut self, future: impl Future + 'static) {
        self.kept.push_back(Box::new(Box::pin(future)));
        self.poll_kept();
    }

    fn poll_kept(&mut self) {
        let waker = Waker::from(self.touchy.clone());
        self.kept.retain_mut(|kept| !kept.poll(&mut Context::from_waker(&waker)));
    }
}

/// Moves the clock that all threads share.
fn advance(time: Duration) {
    let mut advance = Box::pin(tokio::time::advance(time));
    let _ = advance.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

fn quiet_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref() != Some(&"on demand") {
            default(info);
        }
    }));
}

fn layer() -> Breakers<impl Partition<Sent, Key = u64> + Clone + Send + Sync + 'static> {
    CircuitBreakerLayer::new_for_http()
        .window(Window::count(4))
        .consecutive_failures(3)
        .abandoned(Abandoned::FailureAfter(Duration::ZERO))
        .open_for(OPEN_FOR)
        .half_open_max_calls(1)
        .success_threshold(2)
        .probe_lease(LEASE)
        .max_partitions(PLACES)
        .partition_by(partition::by(|request: &Sent| request.body().0))
        .judge_body()
}

/// Runs the threads; then `recover` closes every breaker, and `fresh` new keys take all places.
fn stress<P>(layer: &Breakers<P>, keys: Keys<P::Key>, recover: fn(&Handle<P::Key>), fresh: usize)
where
    P: Partition<Sent> + Clone + Send + Sync + 'static,
    P::Key: Hash + Eq + Clone + Debug + Send + Sync,
{
    quiet_panics();
    let keys = Arc::new(keys);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _clock = runtime.enter();
    let breakers = layer.handle();
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            let (layer, breakers, keys) = (layer.clone(), breakers.clone(), keys.clone());
            let clock = runtime.handle().clone();
            scope.spawn(move || {
                let _clock = clock.enter();
                let touchy = Arc::<Touchy>::default();
                let rng = StdRng::seed_from_u64(seed);
                let worker = Worker { layer, breakers, keys, rng, touchy, kept: VecDeque::new() };
                tracing::subscriber::with_default(Touchy::default(), || worker.run());
            });
        }
    });
    assert!(breakers.len() <= PLACES, "{}", breakers.len());
    assert!(breakers.overflowed() > 0, "there was room for all");

    breakers.set_mode_all(Mode::Automatic);
    recover(&breakers);
    for breaker in breakers.iter() {
        assert_eq!(breaker.state(), State::Closed, "{breaker:?}");
    }

    // No permit is out: each partition gives its place to a new key.
    breakers.reset_all();
    assert!(breakers.iter().all(|breaker| breaker.snapshot().calls == 0));
    advance(LEASE / 1_000);
    // An insertion looks at eight of the sixteen places.
    let insert = |id| breakers.get_or_insert(&(keys.of)(id)).or_else(|| breakers.get_or_insert(&(keys.of)(id)));
    let fresh: Vec<_> = (KEYS..).take(fresh).map(insert).collect();
    assert!(fresh.iter().all(Option::is_some), "a partition is still in use");
    assert!((0..KEYS).all(|id| breakers.get(&(keys.of)(id)).is_none()));
}

/// No probe slot is taken: each breaker admits the next call as soon as its open time is over, and recovers. Two
/// successes may complete a window of failures, and the next two are probes.
fn recover_by_probes(breakers: &Handle<u64>) {
    for breaker in breakers.iter() {
        for _ in 0..4 {
            advance(2 * OPEN_FOR);
            breaker.try_acquire().unwrap().settle(Class::Success);
        }
    }
}

#[test]
fn no_permit_stays_out_and_every_breaker_recovers() {
    stress(&layer(), Keys { of: |id| id, outer: |id| id }, recover_by_probes, PLACES);
}

#[test]
fn no_permit_stays_out_of_nested_breakers() {
    const HOSTS: u64 = 3;
    let layer = layer().nested_in(partition::by(|request: &Sent| request.body().0 % HOSTS), 0.5);
    let keys = Keys { of: |id| Nested::Inner(id % HOSTS, Some(id)), outer: |id| Nested::Outer(id % HOSTS) };
    stress(&layer, keys, Handle::reset_all, PLACES - HOSTS as usize);
}
