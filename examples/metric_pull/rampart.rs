//! The pull through the three layers: the part of this example to read.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Empty;
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_rampart::breaker::{Abandoned, CircuitOpen, Handle, Window, partition};
use tower_rampart::classify::{Class, Verdict};
use tower_rampart::retry::{Backoff, Budget, ReplayBody, RetryError, RetryReport};
use tower_rampart::{BoxError, CircuitBreakerLayer, ClassifyLayer, RetryLayer};

use super::cache::LastGood;
use super::dead_letter::DeadLetters;
use super::endpoint::{ATTEMPT_TIMEOUT, Endpoint, TENANT_HEADER};
use super::failure::Failure;
use super::payload::{self, Unusable};
use super::plan::{Plan, Tenant};
use super::report::{Outcome, Pull};

/// One stack for all tenants. The header tells their breakers and their retry budgets apart.
///
/// A shared budget can be spent by the tenants that are down before a healthy one needs it. The price is that each
/// tenant brings a budget, and so more retries in all. For forty tenants either will do; for a thousand, it shows.
///
/// The settings fit tenants that are pulled ten times a second.
pub(crate) fn stack<C, B>(plan: &Plan, client: C) -> (impl Client<B> + use<C, B>, Handle<HeaderValue>)
where
    C: Service<Request<ReplayBody<Empty<Bytes>>>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync,
{
    let breaker = CircuitBreakerLayer::new_for_http()
        .name("billing-api")
        .partition_by(partition::header(TENANT_HEADER))
        // Every tenant may need a breaker of its own, and there are no others.
        .max_partitions(plan.tenants().len())
        .window(Window::time(Duration::from_secs(10)))
        // A tenant that fails every second time is worth its retries; one that fails 7 times in 10 is not.
        .failure_rate(0.7)
        .minimum_calls(10)
        // A tenant that is down fails every call: that is plain before ten of them have failed.
        .consecutive_failures(5)
        // The retry layer cuts attempts short from outside, which this layer sees as calls that are dropped. By the
        // time they had taken it knows that the upstream hung, and not that the caller lost interest.
        .abandoned(Abandoned::FailureAfter(ATTEMPT_TIMEOUT / 2))
        // A tenant that is well again is noticed after at most a second and a half.
        .open_for(Backoff::exponential(Duration::from_millis(500), Duration::from_millis(1_500)))
        // A throttled tenant says itself when to ask again.
        .honor_retry_after(Duration::from_secs(2))
        .half_open_max_calls(2)
        .success_threshold(2);
    let breakers = breaker.handle();
    let retry = RetryLayer::new_for_http()
        .max_attempts(4)
        .backoff(Backoff::exponential(Duration::from_millis(100), Duration::from_secs(5)))
        .attempt_timeout(ATTEMPT_TIMEOUT)
        // `Retry-After: 1` does not fit: the last good value now is better than fresh metrics in a second.
        .deadline(Duration::from_secs(1))
        // A single process pulls: there is no fleet whose savings add up to a storm.
        .budget_by(partition::header(TENANT_HEADER), Budget::ratio(0.2).ttl(Duration::from_secs(60)))
        .max_partitions(plan.tenants().len());
    let stack = ServiceBuilder::new().layer(retry).layer(breaker).layer(ClassifyLayer::new_for_http()).service(client);
    (stack, breakers)
}

/// What the layers make of a client, in short.
pub(crate) trait Client<B>:
    Service<Request<Empty<Bytes>>, Response = Response<B>, Error = BoxError, Future: Send> + Clone + Send + Sync
{
}

impl<C, B> Client<B> for C where
    C: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = BoxError, Future: Send> + Clone + Send + Sync
{
}

/// Pulls, validates, and falls back.
#[derive(Debug)]
pub(crate) struct Rampart<C> {
    plan: Arc<Plan>,
    endpoint: Arc<Endpoint>,
    dead_letters: Arc<DeadLetters>,
    client: C,
    last_good: LastGood,
}

impl<C> Rampart<C> {
    pub(crate) fn new(
        plan: &Arc<Plan>,
        endpoint: &Arc<Endpoint>,
        dead_letters: &Arc<DeadLetters>,
        client: C,
    ) -> Arc<Self> {
        Arc::new(Self {
            plan: Arc::clone(plan),
            endpoint: Arc::clone(endpoint),
            dead_letters: Arc::clone(dead_letters),
            client,
            last_good: LastGood::new(plan),
        })
    }

    /// Kept for a human. To ask again would not tell which of two answers is the true one.
    fn bury(&self, tenant: &Tenant, unusable: &Unusable) -> Result<Outcome, Failure> {
        self.dead_letters.write(&tenant.id, unusable).map(|()| Outcome::Ambiguous)
    }
}

impl<C> Rampart<C> {
    /// One pull of the tenant with this number.
    ///
    /// # Errors
    ///
    /// If a dead letter cannot be written; nothing that the upstream does is an error here.
    pub(crate) async fn pull<B>(self: Arc<Self>, number: usize) -> Result<Pull, Failure>
    where
        C: Client<B>,
        B: Body<Data = Bytes>,
    {
        let tenant = &self.plan.tenants()[number];
        let start = Instant::now();
        let answer = self.client.clone().oneshot(self.endpoint.request(tenant)).await;
        let (attempts, outcome) = match answer {
            Ok(response) => (
                RetryReport::of(&response).map_or(1, RetryReport::attempts),
                self.judge_response(tenant, response).await?,
            ),
            Err(error) => {
                (RetryError::find(&*error).map_or(1, RetryError::attempts), self.judge_error(tenant, &*error)?)
            }
        };
        Ok(Pull { group: tenant.group, outcome, attempts, latency: start.elapsed() })
    }

    async fn judge_response<B>(&self, tenant: &Tenant, response: Response<B>) -> Result<Outcome, Failure>
    where
        B: Body<Data = Bytes>,
    {
        let verdict = Verdict::of(&response);
        Ok(match verdict.class() {
            Class::Success => match payload::read(response.into_body(), &tenant.id).await {
                Ok(metrics) => {
                    self.last_good.keep(tenant, metrics);
                    Outcome::Ok
                }
                Err(unusable) => self.bury(tenant, &unusable)?,
            },
            Class::Transient => Outcome::Exhausted(self.last_good.age(tenant)),
            Class::Terminal => Outcome::Terminal,
            Class::Ambiguous => self.bury(tenant, &Unusable::unread(verdict.reason()))?,
        })
    }

    fn judge_error(&self, tenant: &Tenant, error: &(dyn Error + 'static)) -> Result<Outcome, Failure> {
        // First of all: an open circuit is terminal by its verdict, as no retry would help, but it is not the
        // upstream's word.
        if CircuitOpen::find(error).is_some() {
            return Ok(Outcome::CircuitOpen(self.last_good.age(tenant)));
        }
        let verdict = Verdict::of_error(error);
        Ok(match verdict.class() {
            Class::Ambiguous => self.bury(tenant, &Unusable::unread(verdict.reason()))?,
            Class::Terminal => Outcome::Terminal,
            Class::Success | Class::Transient => Outcome::Exhausted(self.last_good.age(tenant)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Answer, Arrival, Group};
    use super::super::tally::Tally;
    use super::*;

    /// Three tenants that are down spend more retries than a budget holds, and a fourth, healthy one still has its own.
    #[tokio::test(flavor = "multi_thread")]
    async fn tenants_that_are_down_do_not_spend_the_retries_of_the_healthy() {
        let plan = Arc::new(Plan::new(1, 40, Duration::from_secs(5)));
        let tally = Arc::new(Tally::new(&plan, Duration::from_secs(1)));
        let endpoint = Arc::new(Endpoint::open(&plan, &tally, None).await.unwrap());
        let path = std::env::temp_dir().join(format!("metric-pull-budgets-{}.jsonl", std::process::id()));
        let dead_letters = Arc::new(DeadLetters::create(&path).unwrap());
        std::fs::remove_file(path).unwrap();
        let (client, _breakers) = stack(&plan, endpoint.client());
        let rampart = Rampart::new(&plan, &endpoint, &dead_letters, client);

        let down = plan.tenants().iter().filter(|tenant| tenant.group == Group::Down);
        let pulls: Vec<_> = down.map(|tenant| tokio::spawn(Arc::clone(&rampart).pull(tenant.number))).collect();
        let mut retries = 0;
        for pull in pulls {
            let Pull { outcome, attempts, .. } = pull.await.unwrap().unwrap();
            assert_eq!(outcome, Outcome::Exhausted(None));
            retries += attempts - 1;
        }
        for tenant in plan.tenants().iter().filter(|tenant| tenant.group == Group::Down) {
            retries += Arc::clone(&rampart).pull(tenant.number).await.unwrap().attempts - 1;
        }
        // A budget holds ten to begin with, and a fifth more for each of these six pulls and the one below.
        assert!(retries > 11, "{retries}");

        let unlucky = |tenant: &&Tenant| {
            tenant.group == Group::Healthy
                && [0, 1].map(|nth| plan.answer(tenant, Arrival { nth, nth_in_second: nth, at: Duration::ZERO }))
                    == [Answer::Unavailable, Answer::Metrics]
        };
        let unlucky = plan.tenants().iter().find(unlucky).expect("a healthy tenant whose first answer is 503");
        let pull = Arc::clone(&rampart).pull(unlucky.number).await.unwrap();
        assert_eq!((pull.outcome, pull.attempts), (Outcome::Ok, 2));
    }
}
