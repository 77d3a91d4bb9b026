//! Pulls billing metrics of many tenants from a flaky upstream: first through the three layers, then naively.
//!
//! ```text
//! cargo run --release --example metric_pull
//! cargo run --release --example metric_pull -- --help
//! ```
//!
//! The part to read is `rampart.rs`: the stack, and what a caller makes of its answers. Everything else is the world
//! around it: `upstream.rs` is a billing API that misbehaves as `plan.rs` says, `naive.rs` does the same work without
//! the layers, and `report.rs` counts.

#![allow(dead_code)] // Until the run through the layers is there.

mod cli;
mod dead_letter;
mod endpoint;
mod failure;
mod naive;
mod payload;
mod plan;
mod report;
mod schedule;
mod table;
mod tally;
mod upstream;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use self::cli::Options;
use self::endpoint::Endpoint;
use self::failure::Failure;
use self::naive::Naive;
use self::plan::Plan;
use self::report::{Pull, Recorder, Run};
use self::schedule::Work;

#[tokio::main]
async fn main() -> ExitCode {
    match pull(std::env::args_os(), &mut io::stdout().lock()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // With stderr closed there is nobody left to tell.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Does all that the flags say and prints the report to `out`.
async fn pull(args: impl IntoIterator<Item = OsString>, out: &mut impl Write) -> Result<(), Failure> {
    let Some(options) = Options::parse(args, out)? else { return Ok(()) };
    let job = Job::new(options);
    let naive = job.naive().await?;
    print(out, &format!("{naive:#?}\n"))
}

/// What both runs have in common.
struct Job {
    options: Options,
    plan: Arc<Plan>,
    work: Work,
}

impl Job {
    fn new(options: Options) -> Self {
        let tenants = options.tenants as usize;
        let work = Work { tenants, pulls: options.pulls, concurrency: options.concurrency as usize };
        Self { plan: Arc::new(Plan::new(options.seed, tenants)), work, options }
    }

    async fn naive(&self) -> Result<Run, Failure> {
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

/// Whoever reads the output may stop reading: `| head` is no failure.
fn print(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(format!("cannot print: {error}"))),
        _ => Ok(()),
    }
}
