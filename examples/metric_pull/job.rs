//! The two runs, measured in the same way.

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::cli::Options;
use super::dead_letter::DeadLetters;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::naive::Naive;
use super::plan::Plan;
use super::rampart::{self, Rampart};
use super::report::{Pull, Recorder, Run};
use super::schedule::Work;

/// What both runs have in common.
#[derive(Debug)]
pub(crate) struct Job {
    options: Options,
    plan: Arc<Plan>,
    work: Work,
}

impl Job {
    pub(crate) fn new(options: Options) -> Self {
        let tenants = options.tenants as usize;
        let work = Work { tenants, pulls: options.pulls, concurrency: options.concurrency as usize };
        Self { plan: Arc::new(Plan::new(options.seed, tenants)), work, options }
    }

    pub(crate) async fn rampart(&self) -> Result<(Run, Arc<DeadLetters>), Failure> {
        let endpoint = self.endpoint().await?;
        let dead_letters = Arc::new(DeadLetters::create(&self.options.dead_letters)?);
        let clients = rampart::clients(&self.plan, &endpoint);
        let rampart = Rampart::new(&self.plan, &endpoint, &dead_letters, clients);
        let run = self.measure("rampart", &endpoint, |number| Arc::clone(&rampart).pull(number)).await?;
        Ok((run, dead_letters))
    }

    pub(crate) async fn naive(&self) -> Result<Run, Failure> {
        let endpoint = self.endpoint().await?;
        let naive = Naive::new(&self.plan, &endpoint, endpoint.client());
        let pull = |number| {
            let naive = Arc::clone(&naive);
            async move { Ok(naive.pull(number).await) }
        };
        self.measure("naively", &endpoint, pull).await
    }

    /// A fresh one for each run: the plan begins with the first request of a tenant.
    async fn endpoint(&self) -> Result<Arc<Endpoint>, Failure> {
        Endpoint::open(&self.plan, self.options.upstream.as_deref()).await.map(Arc::new)
    }

    async fn measure<F>(
        &self,
        name: &'static str,
        endpoint: &Endpoint,
        pull: impl FnMut(usize) -> F,
    ) -> Result<Run, Failure>
    where
        F: Future<Output = Result<Pull, Failure>> + Send + 'static,
    {
        let bar = self.progress_bar(name);
        let mut recorder = Recorder::default();
        let start = Instant::now();
        let done = |pull: Result<Pull, Failure>| {
            recorder.add(pull?);
            bar.inc(1);
            Ok(())
        };
        let finished = self.work.run(pull, done).await;
        bar.finish_and_clear();
        finished.map(|()| recorder.finish(start.elapsed(), &self.plan, endpoint))
    }

    /// On stderr, and only if that is a terminal.
    fn progress_bar(&self, name: &'static str) -> ProgressBar {
        if self.options.json {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg:8} {wide_bar} {pos}/{len} pulls, {elapsed}");
        let bar = ProgressBar::new(self.work.total()).with_message(name);
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}
