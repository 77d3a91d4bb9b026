use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use rand::rngs::SmallRng;
use tower::Service;

use crate::report::Report;
use crate::run::fleet::Fleet;
use crate::run::process::Process;
use crate::upstream::{Next, Running, Server, Upstream};

/// The processes of handlers that call a further upstream.
struct Tier<M> {
    processes: u32,
    stack: M,
    upstream: Upstream,
}

struct RunningTier<S> {
    fleet: Fleet<S>,
    /// Counts the calls, which go to one process after the other.
    calls: AtomicUsize,
}

impl Upstream {
    /// Makes the handlers call a further upstream once their server has worked on a request, and answer 503 if that
    /// call fails. Requests go in turn to so many processes, each of which has a stack of its own, as in
    /// [`simulate`](crate::simulate). A call of a tenant stays one of that tenant.
    ///
    /// A handler that waits holds no server, as in an asynchronous program, and it goes on if its caller leaves.
    ///
    /// ```
    /// use rampart_sim::{Episode, Latency, Load, Process, Upstream, simulate};
    /// use std::time::Duration;
    /// use tower::ServiceBuilder;
    /// use tower_rampart::RetryLayer;
    ///
    /// let retry = |process: Process| {
    ///     let layer = RetryLayer::new_for_http().max_attempts(3).no_budget().seed(process.seed);
    ///     ServiceBuilder::new().layer(layer).service(process.upstream)
    /// };
    /// let work = || Latency::Fixed(Duration::from_millis(10));
    /// let database = Upstream::new(10, work()).episode(Episode::errors(1.0));
    /// let backend = Upstream::new(10, work()).calling(5, retry, database);
    /// let report = simulate(retry, &Load::open(10, 0.1), &backend, 7);
    ///
    /// let database = report.next.as_ref().expect("the report of the database");
    /// assert_eq!((report.attempts, database.attempts), (3 * report.calls, 9 * report.calls));
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no process.
    #[must_use]
    pub fn calling<M, S, B>(self, processes: u32, stack: M, upstream: Self) -> Self
    where
        M: Fn(Process) -> S + Send + Sync + 'static,
        S: Service<Request<Empty<Bytes>>, Response = Response<B>, Future: Send> + Clone + Send + Sync + 'static,
        B: 'static,
    {
        assert!(processes > 0, "calling: there must be at least one process");
        self.with_next(Tier { processes, stack, upstream })
    }
}

impl<M, S, B> Next for Tier<M>
where
    M: Fn(Process) -> S + Send + Sync,
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Future: Send> + Clone + Send + Sync + 'static,
    B: 'static,
{
    fn start(&self, tenants: &Arc<[HeaderValue]>, seeds: &mut SmallRng) -> Box<dyn Running> {
        let server = Server::new(&self.upstream, tenants, seeds);
        let fleet = Fleet::new(self.processes, &self.stack, server, tenants.clone(), seeds);
        Box::new(RunningTier { fleet, calls: AtomicUsize::new(0) })
    }
}

impl<S, B> Running for RunningTier<S>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Future: Send> + Clone + Send + Sync + 'static,
    B: 'static,
{
    fn call(&self, tenant: u32) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        let process = self.calls.fetch_add(1, Ordering::Relaxed) % self.fleet.processes();
        Box::pin(self.fleet.call(process, tenant))
    }

    fn would_answer(&self, tenant: u32) -> bool {
        self.fleet.server().would_answer(tenant)
    }

    fn is_handling(&self) -> bool {
        self.fleet.server().is_handling()
    }

    fn report(&self) -> Report {
        self.fleet.server().report()
    }
}

impl<M> fmt::Debug for Tier<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tier")
            .field("processes", &self.processes)
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}
