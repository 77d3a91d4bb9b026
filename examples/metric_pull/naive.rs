//! The same work as it is often done: try every error again after a fixed wait, whatever it says, and stop at nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, ServiceExt};

use super::endpoint::{ATTEMPT_TIMEOUT, Endpoint};
use super::payload;
use super::plan::{Plan, Tenant};
use super::report::{Fallback, Outcome, Pull};

const ATTEMPTS: u32 = 4;
const WAIT: Duration = Duration::from_millis(100);

/// Pulls with nothing but a client, a time limit and a loop.
#[derive(Debug)]
pub(crate) struct Naive<C> {
    plan: Arc<Plan>,
    endpoint: Arc<Endpoint>,
    client: C,
}

impl<C> Naive<C> {
    pub(crate) fn new(plan: &Arc<Plan>, endpoint: &Arc<Endpoint>, client: C) -> Arc<Self> {
        Arc::new(Self { plan: Arc::clone(plan), endpoint: Arc::clone(endpoint), client })
    }
}

impl<C> Naive<C>
where
    C: Service<Request<Empty<Bytes>>, Response = Response<Incoming>> + Clone,
{
    pub(crate) async fn pull(self: Arc<Self>, number: usize) -> Pull {
        let tenant = &self.plan.tenants()[number];
        let start = Instant::now();
        let mut attempts = 1;
        let outcome = loop {
            let outcome = self.attempt(tenant).await;
            if outcome == Outcome::Ok || attempts == ATTEMPTS {
                break outcome;
            }
            sleep(WAIT).await;
            attempts += 1;
        };
        Pull { group: tenant.group, outcome, attempts, latency: start.elapsed() }
    }

    async fn attempt(&self, tenant: &Tenant) -> Outcome {
        let call = self.client.clone().oneshot(self.endpoint.request(tenant));
        let Ok(Ok(response)) = timeout(ATTEMPT_TIMEOUT, call).await else {
            return Outcome::Exhausted(Fallback::Nothing);
        };
        match response.status() {
            StatusCode::OK => match payload::read(response.into_body(), &tenant.id).await {
                Ok(_metrics) => Outcome::Ok,
                Err(_unusable) => Outcome::Ambiguous,
            },
            StatusCode::UNAUTHORIZED => Outcome::Terminal,
            _ => Outcome::Exhausted(Fallback::Nothing),
        }
    }
}
