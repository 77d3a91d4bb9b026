//! Pulls billing metrics of many tenants from a flaky upstream, through the three layers and naively, and compares.
//!
//! ```text
//! cargo run --release --example metric_pull
//! cargo run --release --example metric_pull -- --svg metric_pull.svg
//! cargo run --release --example metric_pull -- --help
//! ```
//!
//! Where to read on:
//!
//! - `rampart.rs` is the part to learn from: the stack, its settings, and what a caller makes of its answers;
//! - `naive.rs` does the same work without the layers;
//! - `upstream.rs` and `billing_api.rs` are an upstream that misbehaves as `plan.rs` says;
//! - `job.rs` runs both at the moments that `schedule.rs` sets;
//! - `report.rs`, `tally.rs` and `timeline.rs` count; `table.rs` and `chart.rs` show.

mod billing_api;
mod cache;
mod chart;
mod cli;
mod dead_letter;
mod endpoint;
mod failure;
mod job;
mod naive;
mod payload;
mod plan;
mod rampart;
mod report;
mod schedule;
mod table;
mod tally;
mod timeline;
mod upstream;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use self::chart::Picture;
use self::cli::Options;
use self::failure::Failure;
use self::job::Job;

#[tokio::main]
async fn main() -> ExitCode {
    match pull(std::env::args_os(), &mut io::stdout().lock()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Without stderr only the exit code is left.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Does all that the flags say and prints the report to `out`.
pub(crate) async fn pull(args: impl IntoIterator<Item = OsString>, out: &mut impl Write) -> Result<(), Failure> {
    let Some(options) = Options::parse(args, out)? else { return Ok(()) };
    let job = Job::open(&options).await?;
    let picture = options.svg.as_deref().map(Picture::create).transpose()?;
    if !options.json {
        print(out, &table::headline(job.work()))?;
    }
    let comparison = job.run().await?;
    if let Some(picture) = &picture {
        picture.draw(&comparison)?;
    }
    let report = match options.json {
        true => serde_json::to_string(&comparison).map_err(Failure::new)? + "\n",
        false => format!("{comparison}\n{}\n", job.dead_letters()),
    };
    print(out, &report)
}

/// A reader may close the output early: `| head` is no failure.
fn print(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(format!("cannot print: {error}"))),
        _ => Ok(()),
    }
}
