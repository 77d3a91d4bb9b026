use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::runtime::Builder;
use tokio::task::{LocalSet, yield_now};
use tokio::time::{sleep, sleep_until};
use tower::{Service, ServiceExt};

use crate::Load;
use crate::load::{Kind, Schedule, Tenants};
use crate::report::{Ending, Report};
use crate::upstream::{CallTag, Server, Upstream};

/// One process of a run, for which a stack is made.
#[derive(Debug)]
pub struct Process {
    /// Counted from 0.
    pub number: u32,
    /// For what is random in the stack: another number in each process, the same in each run with the same seed.
    pub seed: u64,
    /// The service at the bottom of the stack.
    pub upstream: Server,
}

/// The stacks of all processes, and what their calls share.
struct Fleet<S> {
    stacks: Vec<S>,
    server: Server,
    /// The header of each tenant; none without tenants.
    tenants: Vec<HeaderValue>,
}

/// Runs a load through one stack a process, over one upstream, and waits until every call has ended.
///
/// `stack` is called once a process. Takes no real time beyond that of the work itself: the clock is paused, and jumps to the
/// next timer.
///
/// # Panics
///
/// If it is called within a tokio runtime.
pub fn simulate<M, S, B>(stack: M, load: &Load, upstream: &Upstream, seed: u64) -> Report
where
    M: Fn(Process) -> S,
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + 'static,
{
    #[allow(clippy::expect_used)] // A runtime without drivers fails only where no thread can be had.
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, run(stack, load, upstream, seed))
}

async fn run<M, S, B>(stack: M, load: &Load, upstream: &Upstream, seed: u64) -> Report
where
    M: Fn(Process) -> S,
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + 'static,
{
    let mut seeds = SmallRng::seed_from_u64(seed);
    let server = Server::new(upstream.clone(), SmallRng::from_rng(&mut seeds));
    let process = |number: u32| {
        let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number.into());
        stack(Process { number, seed, upstream: server.clone() })
    };
    let fleet = Rc::new(Fleet {
        stacks: (0..load.processes).map(process).collect(),
        server: server.clone(),
        tenants: (0..load.tenants).map(HeaderValue::from).collect(),
    });
    match load.kind {
        Kind::Open { per_second, arrivals } => {
            let mut schedule = Schedule::new(load, per_second, arrivals, SmallRng::from_rng(&mut seeds));
            let tenants = load.weights();
            while let Some(arrival) = schedule.next(&tenants) {
                sleep_until(server.at(arrival.at)).await;
                let fleet = fleet.clone();
                tokio::task::spawn_local(async move { fleet.call(arrival.process, arrival.tenant).await });
            }
        }
        Kind::Closed { think } => {
            for process in 0..load.processes as usize {
                let (fleet, until) = (fleet.clone(), load.duration);
                let (tenants, mut rng) = (load.weights(), SmallRng::from_rng(&mut seeds));
                tokio::task::spawn_local(async move { fleet.client(process, think, until, &tenants, &mut rng).await });
            }
        }
    }
    // Every task holds the fleet.
    while Rc::strong_count(&fleet) > 1 {
        sleep(Duration::from_secs(1)).await;
        yield_now().await;
    }
    server.with_ledger(|ledger| ledger.report())
}

impl<S> Fleet<S> {
    async fn client<B>(&self, process: usize, think: Duration, until: Duration, tenants: &Tenants, rng: &mut SmallRng)
    where
        S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone,
    {
        while self.server.elapsed() < until {
            self.call(process, tenants.draw(rng)).await;
            sleep(think).await;
        }
    }

    async fn call<B>(&self, process: usize, tenant: u32)
    where
        S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone,
    {
        let began = self.server.elapsed();
        let attempts = Arc::new(AtomicU32::new(0));
        let request = self.request(CallTag { tenant, attempts: attempts.clone() });
        self.server.with_ledger(|ledger| ledger.called(began));
        let answer = self.stacks[process].clone().oneshot(request).await;
        let ending = if answer.is_ok_and(|response| response.status().is_success()) {
            Ending::Good
        } else if attempts.load(Ordering::Relaxed) > 0 {
            Ending::Failed
        } else {
            Ending::Rejected { in_vain: self.server.would_answer(tenant) }
        };
        let took = self.server.elapsed() - began;
        self.server.with_ledger(|ledger| ledger.ended(began, took, ending));
    }

    fn request(&self, tag: CallTag) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = http::Uri::from_static("http://upstream/");
        if let Some(tenant) = self.tenants.get(tag.tenant as usize) {
            request.headers_mut().insert("x-tenant-id", tenant.clone());
        }
        request.extensions_mut().insert(tag);
        request
    }
}
