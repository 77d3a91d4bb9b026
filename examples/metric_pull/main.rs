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
mod upstream;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use self::cli::Options;
use self::failure::Failure;
use self::job::Job;
use self::report::Comparison;

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
pub(crate) async fn pull(args: impl IntoIterator<Item = OsString>, out: &mut impl Write) -> Result<(), Failure> {
    let Some(options) = Options::parse(args, out)? else { return Ok(()) };
    let json = options.json;
    let job = Job::new(options);
    let (rampart, dead_letters) = job.rampart().await?;
    let naive = job.naive().await?;
    let comparison = Comparison { rampart, naive };
    let report = match json {
        true => serde_json::to_string(&comparison).map_err(Failure::new)? + "\n",
        false => format!("{comparison}\n{dead_letters}\n"),
    };
    print(out, &report)
}

/// Whoever reads the output may stop reading: `| head` is no failure.
fn print(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(format!("cannot print: {error}"))),
        _ => Ok(()),
    }
}
