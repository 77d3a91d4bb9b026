use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use rand::RngExt;
use rand::rngs::SmallRng;
use tower::{Service, ServiceExt};

use crate::run::ledger::Ending;
use crate::run::process::Process;
use crate::upstream::{CallTag, Server};

/// Processes that call one server, each through its own stack.
pub(crate) struct Fleet<S> {
    stacks: Vec<S>,
    server: Server,
    /// The header of each tenant; none without tenants.
    tenants: Arc<[HeaderValue]>,
}

impl<S> Fleet<S> {
    pub(crate) fn new(
        processes: u32,
        stack: impl Fn(Process) -> S,
        server: Server,
        tenants: Arc<[HeaderValue]>,
        seeds: &mut SmallRng,
    ) -> Self {
        let mut process = |number| stack(Process { number, seed: seeds.random(), upstream: server.clone() });
        let stacks = (0..processes).map(&mut process).collect();
        Self { stacks, server, tenants }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn processes(&self) -> usize {
        self.stacks.len()
    }

    /// Makes one call, and returns whether it was answered well.
    pub(crate) async fn call<B>(&self, process: usize, tenant: u32) -> bool
    where
        S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone,
    {
        let began = self.server.elapsed();
        let attempts = Arc::new(AtomicU32::new(0));
        let request = self.request(CallTag { tenant, attempts: attempts.clone() });
        self.server.with_ledger(|ledger| ledger.called(began, tenant));
        let answer = self.stacks[process].clone().oneshot(request).await;
        let ending = if answer.is_ok_and(|response| response.status().is_success()) {
            Ending::Good
        } else if attempts.load(Ordering::Relaxed) > 0 {
            Ending::Failed
        } else {
            Ending::Rejected { in_vain: self.server.would_answer(tenant) }
        };
        let took = self.server.elapsed() - began;
        self.server.with_ledger(|ledger| ledger.ended(began, took, tenant, ending));
        ending == Ending::Good
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
