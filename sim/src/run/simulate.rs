use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet, yield_now};
use tokio::time::{sleep, sleep_until};
use tower::Service;

use crate::report::Report;
use crate::run::fleet::Fleet;
use crate::run::load::Load;
use crate::run::process::Process;
use crate::run::schedule::Tenants;
use crate::upstream::{Server, Upstream};

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The time in the run.
    pub at: Duration,
    /// Until when calls are made. The last ones end a little later.
    pub of: Duration,
}

/// Runs a load through one stack a process, over one upstream, and waits until every call has ended.
///
/// `stack` is called once a process. Takes no real time beyond that of the work itself: the clock is paused, and jumps
/// to the next timer. With stacks that draw what is random from [`Process::seed`], the same seed gives the same report.
///
/// # Panics
///
/// If it is called within a tokio runtime, or a call of a stack panics.
pub fn simulate<M, S, B>(stack: M, load: &Load, upstream: &Upstream, seed: u64) -> Report
where
    M: Fn(Process) -> S,
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + 'static,
{
    simulate_with(stack, load, upstream, seed, |_| {})
}

/// [`simulate`], with a callback about once a second of the run.
///
/// ```
/// use rampart_sim::{Latency, Load, Process, Upstream, simulate_with};
/// use std::time::Duration;
///
/// let upstream = Upstream::new(1, Latency::Fixed(Duration::from_millis(10)));
/// let mut seconds = 0;
/// simulate_with(|process: Process| process.upstream, &Load::open(1, 10.0), &upstream, 7, |progress| {
///     seconds = progress.at.as_secs();
///     // eprint!("\r{seconds} of {} s", progress.of.as_secs());
/// });
/// assert!(seconds >= 59);
/// ```
///
/// # Panics
///
/// If it is called within a tokio runtime, or a call of a stack panics.
pub fn simulate_with<M, S, B>(
    stack: M,
    load: &Load,
    upstream: &Upstream,
    seed: u64,
    progress: impl FnMut(Progress),
) -> Report
where
    M: Fn(Process) -> S,
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + 'static,
{
    on_paused_time(run(stack, load, upstream, seed, progress))
}

/// Runs a future, and the local tasks that it spawns, under a clock that jumps to the next timer.
pub(crate) fn on_paused_time<T>(future: impl Future<Output = T>) -> T {
    #[allow(clippy::expect_used)] // A runtime without drivers fails only where no thread can be had.
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    LocalSet::new().block_on(&runtime, future)
}

async fn run<M, S, B>(
    stack: M,
    load: &Load,
    upstream: &Upstream,
    seed: u64,
    mut progress: impl FnMut(Progress),
) -> Report
where
    M: Fn(Process) -> S,
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + 'static,
{
    let mut seeds = SmallRng::seed_from_u64(seed);
    let tenants = (0..load.tenants).map(HeaderValue::from).collect();
    let server = Server::new(upstream, &tenants, &mut seeds);
    let schedule = load.schedule(SmallRng::from_rng(&mut seeds));
    let fleet = Rc::new(Fleet::new(load.processes, stack, server.clone(), tenants, &mut seeds));
    let mut calls = JoinSet::new();
    match schedule {
        Some(schedule) => {
            let mut next = Duration::ZERO;
            for arrival in schedule {
                sleep_until(server.at(arrival.at)).await;
                if arrival.at >= next {
                    next = arrival.at + Duration::from_secs(1);
                    progress(Progress { at: arrival.at, of: load.duration });
                }
                let fleet = fleet.clone();
                calls.spawn_local(async move {
                    fleet.call(arrival.process as usize, arrival.tenant).await;
                });
                forget_ended(&mut calls);
            }
        }
        None => {
            for process in 0..fleet.processes() {
                let (fleet, load) = (fleet.clone(), load.clone());
                let (tenants, mut rng) = (Tenants::of(&load), SmallRng::from_rng(&mut seeds));
                calls.spawn_local(async move {
                    while fleet.server().elapsed() < load.duration {
                        fleet.call(process, tenants.draw(&mut rng)).await;
                        sleep(load.think()).await;
                    }
                });
            }
        }
    }
    let mut pause = Duration::from_secs(1);
    while !calls.is_empty() || server.is_handling() {
        sleep(pause).await;
        yield_now().await;
        forget_ended(&mut calls);
        progress(Progress { at: server.elapsed(), of: load.duration });
        // A call without a timeout may wait for years.
        pause += pause / 10;
    }
    server.report()
}

/// Panics as a call did.
fn forget_ended(calls: &mut JoinSet<()>) {
    while let Some(ended) = calls.try_join_next() {
        if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
            resume_unwind(panic);
        }
    }
}
