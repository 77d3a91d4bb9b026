use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use rand::rngs::SmallRng;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use super::{Server, Upstream};
use crate::fleet::Fleet;
use crate::process::Process;

/// What the handlers of an upstream call: a further upstream, through a stack in each of their processes.
#[derive(Clone)]
pub(super) struct Tier {
    processes: u32,
    upstream: Box<Upstream>,
    stack: Arc<dyn Fn(Process) -> Stack + Send + Sync>,
}

/// A stack whose answers have no body, and whose errors say nothing.
pub(super) type Stack = BoxCloneSyncService<Request<Empty<Bytes>>, Response<()>, ()>;

impl Upstream {
    /// Makes the handlers call a further upstream once their server has worked on a request, and answer 503 if that call
    /// fails. They are spread over so many processes, each with a stack of its own, as in [`simulate`](crate::simulate).
    ///
    /// A handler that waits holds no server, as in an asynchronous program; and it goes on if its caller leaves.
    /// The calls of a tenant are its calls of the further upstream too.
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
    pub fn calling<M, S, B>(mut self, processes: u32, stack: M, upstream: Self) -> Self
    where
        M: Fn(Process) -> S + Send + Sync + 'static,
        S: Service<Request<Empty<Bytes>>, Response = Response<B>, Future: Send> + Clone + Send + Sync + 'static,
        B: 'static,
        S::Error: 'static,
    {
        assert!(processes > 0, "calling: there must be at least one process");
        let stack = Arc::new(move |process| {
            let service = stack(process).map_response(|response| response.map(drop)).map_err(drop);
            BoxCloneSyncService::new(service)
        });
        self.next = Some(Tier { processes, upstream: Box::new(upstream), stack });
        self
    }
}

impl Tier {
    pub(super) fn start(&self, tenants: &Arc<[HeaderValue]>, seeds: &mut SmallRng) -> Fleet<Stack> {
        let server = Server::new(&self.upstream, tenants, seeds);
        Fleet::new(self.processes, &*self.stack, server, tenants.clone(), seeds)
    }
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tier")
            .field("processes", &self.processes)
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}
