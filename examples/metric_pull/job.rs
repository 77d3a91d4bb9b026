//! The two runs, measured in the same way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Empty;
use tower::Service;
use tower_rampart::BoxError;
use tower_rampart::retry::ReplayBody;

use super::cli::Options;
use super::dead_letter::DeadLetters;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::naive::Naive;
use super::plan::{Group, Plan};
use super::rampart::{self, Rampart};
use super::report::{Comparison, Outage, Pull, Recorder, Recovery, Run};
use super::schedule::Work;
use super::tally::Tally;
use super::timeline::{Change, Recording};

/// Everything that can fail before the first pull has been done.
#[derive(Debug)]
pub(crate) struct Job {
    rampart: Runner,
    naive: Runner,
    dead_letters: Arc<DeadLetters>,
    embedded: bool,
}

/// What one run needs.
#[derive(Debug)]
struct Runner {
    plan: Arc<Plan>,
    work: Work,
    endpoint: Arc<Endpoint>,
}

impl Job {
    pub(crate) async fn open(options: &Options) -> Result<Self, Failure> {
        let work = Work {
            tenants: options.tenants as usize,
            pulls: options.pulls,
            every: Duration::from_millis(options.every.into()),
            concurrency: options.concurrency as usize,
        };
        let plan = Arc::new(Plan::new(options.seed, work.tenants, work.length()));
        let url = options.upstream.as_deref();
        Ok(Self {
            rampart: Runner::open(&plan, work, url).await?,
            naive: Runner::open(&plan, work, url).await?,
            dead_letters: Arc::new(DeadLetters::create(&options.dead_letters)?),
            embedded: url.is_none(),
        })
    }

    pub(crate) async fn run(&self) -> Result<Comparison, Failure> {
        let rampart = self.rampart.rampart(self.rampart.endpoint.client(), &self.dead_letters);
        let naive = self.naive.naive(self.naive.endpoint.client());
        let ((rampart, breaker), naive) = if self.embedded {
            tokio::try_join!(rampart, naive)?
        } else {
            // Both at once would be twice the load.
            (rampart.await?, naive.await?)
        };
        let recovering = self.rampart.recovering().map(|tenant| Recovery {
            tenant,
            outage: self.embedded.then(|| Outage::from(self.rampart.plan.outage())),
            breaker,
        });
        Ok(Comparison { rampart, naive, embedded: self.embedded, recovering })
    }

    pub(crate) fn work(&self) -> Work {
        self.rampart.work
    }

    pub(crate) fn dead_letters(&self) -> &DeadLetters {
        &self.dead_letters
    }
}

impl Runner {
    async fn open(plan: &Arc<Plan>, work: Work, url: Option<&str>) -> Result<Self, Failure> {
        let tally = Arc::new(Tally::new(plan, bin(work)));
        let endpoint = Arc::new(Endpoint::open(plan, &tally, url).await?);
        Ok(Self { plan: Arc::clone(plan), work, endpoint })
    }

    async fn rampart<C, B>(&self, client: C, dead_letters: &Arc<DeadLetters>) -> Result<(Run, Vec<Change>), Failure>
    where
        C: Service<Request<ReplayBody<Empty<Bytes>>>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        B: Body<Data = Bytes> + Send + 'static,
    {
        let (client, breakers) = rampart::stack(&self.plan, client);
        // As many as the breakers can change while the recorder waits for its turn.
        let changes = breakers.subscribe(16 * self.work.tenants);
        let recording = self.recovering().map(|id| Recording::start(changes, id, self.endpoint.tally().start()));
        let rampart = Rampart::new(&self.plan, &self.endpoint, dead_letters, client);
        let run = self.measure(|number| Arc::clone(&rampart).pull(number)).await?;
        Ok((run, recording.map_or_else(Vec::new, |recording| recording.changes())))
    }

    async fn naive<C, B>(&self, client: C) -> Result<Run, Failure>
    where
        C: Service<Request<Empty<Bytes>>, Response = Response<B>, Future: Send> + Clone + Send + Sync + 'static,
        C::Error: Send,
        B: Body<Data = Bytes> + Send + 'static,
    {
        let naive = Naive::new(&self.plan, &self.endpoint, client);
        let pull = |number| {
            let naive = Arc::clone(&naive);
            async move { Ok(naive.pull(number).await) }
        };
        self.measure(pull).await
    }

    async fn measure<F>(&self, pull: impl FnMut(usize) -> F) -> Result<Run, Failure>
    where
        F: Future<Output = Result<Pull, Failure>> + Send + 'static,
    {
        let mut recorder = Recorder::default();
        let start = self.endpoint.tally().start();
        let done = |pull: Result<Pull, Failure>| {
            recorder.add(pull?);
            Ok(())
        };
        self.work.run(start, pull, done).await?;
        Ok(recorder.finish(start.elapsed(), &self.plan, self.endpoint.tally()))
    }

    fn recovering(&self) -> Option<String> {
        let mut tenants = self.plan.tenants().iter();
        tenants.find(|tenant| tenant.group == Group::Recovering).map(|tenant| tenant.id.clone())
    }
}

/// Two pulls of each tenant fall into it, or more where the run would have over forty.
fn bin(work: Work) -> Duration {
    work.every * work.pulls.div_ceil(40).max(2)
}

#[cfg(test)]
mod tests {
    use std::io;

    use tower::service_fn;

    use super::super::billing_api::BillingApi;
    use super::super::report::Figures;
    use super::*;

    /// The default job without sockets, so that its clock can be paused: it takes no time and cannot be late.
    struct Simulation {
        plan: Arc<Plan>,
        dead_letters: Arc<DeadLetters>,
    }

    const WORK: Work = Work { tenants: 40, pulls: 50, every: Duration::from_millis(100), concurrency: 128 };

    impl Simulation {
        fn new(test: &str, seed: u64) -> Self {
            let path = std::env::temp_dir().join(format!("metric-pull-{test}-{seed}-{}", std::process::id()));
            let dead_letters = Arc::new(DeadLetters::create(&path).unwrap());
            std::fs::remove_file(path).unwrap();
            Self { plan: Arc::new(Plan::new(seed, WORK.tenants, WORK.length())), dead_letters }
        }

        fn runner(&self) -> (Runner, Arc<BillingApi>) {
            let tally = Arc::new(Tally::new(&self.plan, bin(WORK)));
            let endpoint = Arc::new(Endpoint::without_network(&self.plan, &tally));
            let api = BillingApi::new(&self.plan, &tally);
            (Runner { plan: Arc::clone(&self.plan), work: WORK, endpoint }, Arc::new(api))
        }

        async fn rampart(&self) -> (Run, Vec<Change>) {
            let (runner, api) = self.runner();
            runner
                .rampart(service_fn(move |request| answer(Arc::clone(&api), request)), &self.dead_letters)
                .await
                .unwrap()
        }

        async fn naive(&self) -> Run {
            let (runner, api) = self.runner();
            runner.naive(service_fn(move |request| answer(Arc::clone(&api), request))).await.unwrap()
        }
    }

    async fn answer<B>(api: Arc<BillingApi>, request: Request<B>) -> io::Result<Response<impl Body<Data = Bytes>>> {
        api.serve(request).await.map_err(|reset| io::Error::new(io::ErrorKind::ConnectionReset, reset))
    }

    const SEEDS: std::ops::RangeInclusive<u64> = 1..=6;

    #[tokio::test(start_paused = true)]
    async fn the_layers_answer_as_many_pulls_with_a_tenth_of_the_load_on_what_is_down() {
        for seed in SEEDS {
            let simulation = Simulation::new("load", seed);
            let ((rampart, _), naive) = (simulation.rampart().await, simulation.naive().await);
            for group in Group::ALL {
                let [ours, theirs] = [&rampart, &naive].map(|run| run.groups[&group].clone());
                assert_eq!(ours.pulls, theirs.pulls);
                assert!(ours.answered >= theirs.answered, "seed {seed}: {group:?}: {ours:?}, naively {theirs:?}");
                assert!(ours.upstream_requests <= theirs.upstream_requests + 5, "seed {seed}: {ours:?}, {theirs:?}");
            }
            let lost = |run: &Run| run.sum(&Group::LOST, |figures| figures.upstream_requests);
            let (ours, theirs) = (lost(&rampart), lost(&naive));
            assert!(ours * 10 <= theirs, "seed {seed}: {ours} requests to what is down, {theirs} naively");
            // Another try cannot help, and none is made.
            for group in [Group::Unauthorized, Group::Truncated] {
                let Figures { pulls, terminal, ambiguous, upstream_requests, .. } = rampart.groups[&group];
                assert_eq!((terminal + ambiguous, upstream_requests), (pulls, pulls), "seed {seed}: {group:?}");
            }
            // Breakers that stay closed cost no fresh answer; four answers of 503 in a row are one in 160,000.
            let cached = [Group::Healthy, Group::Resetting].map(|group| rampart.groups[&group].cached);
            assert!(cached[0] <= 2 && cached[1] == 0, "seed {seed}: {cached:?}");
            // A throttled tenant is asked again when its allowance is new, a second or two later.
            let oldest = rampart.groups[&Group::Throttled].cached_age_max_ms;
            assert!(oldest <= 2_300.0, "seed {seed}: {oldest} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_breaker_of_the_recovering_tenant_opens_probes_and_closes() {
        for seed in SEEDS {
            let (run, changes) = Simulation::new("recovery", seed).rampart().await;
            let events: Vec<_> = changes.iter().map(|change| change.event).collect();
            let probes = events.len() / 2;
            assert!((2..=3).contains(&probes), "seed {seed}: {changes:?}");
            // Opened, and then either opened again or closed after each probe.
            assert_eq!(events[..2], ["opened", "probed"]);
            for pair in events[2..events.len() - 1].chunks(2) {
                assert_eq!(pair, ["opened", "probed"], "seed {seed}: {changes:?}");
            }
            assert_eq!(events.last(), Some(&"closed"), "seed {seed}: {changes:?}");
            let (opened, closed) = (changes[0].at_ms, changes[changes.len() - 1].at_ms);
            assert!((1_100..=1_600).contains(&opened), "seed {seed}: {changes:?}");
            // Its last open time is at most a second and a half.
            assert!((2_500..=4_250).contains(&closed), "seed {seed}: {changes:?}");
            let recovering = &run.groups[&Group::Recovering];
            assert_eq!((recovering.pulls, recovering.answered), (50, 50), "seed {seed}");
        }
    }
}
