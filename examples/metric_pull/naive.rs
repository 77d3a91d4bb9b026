//! The same work as it is often done: try every error again after a fixed wait, whatever it says, and stop at nothing.
//!
//! It serves the last good value too, so that what the layers add is all that differs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Empty;
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, ServiceExt};

use super::cache::LastGood;
use super::endpoint::{ATTEMPT_TIMEOUT, Endpoint};
use super::payload;
use super::plan::{Plan, Tenant};
use super::report::{Outcome, Pull};

const ATTEMPTS: u32 = 4;
const WAIT: Duration = Duration::from_millis(100);

/// Pulls with nothing but a client, a time limit and a loop.
#[derive(Debug)]
pub(crate) struct Naive<C> {
    plan: Arc<Plan>,
    endpoint: Arc<Endpoint>,
    client: C,
    last_good: LastGood,
}

impl<C> Naive<C> {
    pub(crate) fn new(plan: &Arc<Plan>, endpoint: &Arc<Endpoint>, client: C) -> Arc<Self> {
        let last_good = LastGood::new(plan);
        Arc::new(Self { plan: Arc::clone(plan), endpoint: Arc::clone(endpoint), client, last_good })
    }
}

impl<C, B> Naive<C>
where
    C: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone,
    B: Body<Data = Bytes>,
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
            return Outcome::Exhausted(self.last_good.age(tenant));
        };
        match response.status() {
            StatusCode::OK => match payload::read(response.into_body(), &tenant.id).await {
                Ok(metrics) => {
                    self.last_good.keep(tenant, metrics);
                    Outcome::Ok
                }
                Err(_unusable) => Outcome::Ambiguous,
            },
            StatusCode::UNAUTHORIZED => Outcome::Terminal,
            _ => Outcome::Exhausted(self.last_good.age(tenant)),
        }
    }
}
