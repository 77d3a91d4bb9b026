//! Draws what a storm does to stacks with more and less protection.

mod picture;
mod stacks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use rampart_sim::scenario::{self, Scenario};

use self::stacks::Run;

/// Runs storms through stacks of layers on paused time and prints what became of the calls.
#[derive(Debug, Parser)]
struct Arguments {
    /// The seed of arrivals and service times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes one picture a scenario into this folder.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Prints the reports as JSON instead of tables.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    for scenario in [scenario::storm(), scenario::outage(), scenario::brown_out()] {
        let runs = stacks::run_all(&scenario, arguments.seed);
        if arguments.json {
            print_json(&scenario, &runs);
        } else {
            print_table(&scenario, &runs);
        }
        if let Some(folder) = &arguments.svg {
            let path = folder.join(format!("{}.svg", scenario.name));
            if let Err(error) = picture::draw(&path, &scenario, &runs) {
                eprintln!("{}: {error}", path.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn print_table(scenario: &Scenario, runs: &[Run]) {
    println!("\n{}: {}", scenario.name, scenario.title);
    println!(
        "{:<34} {:>10} {:>10} {:>9} {:>9} {:>12}",
        "", "worst load", "well after", "answered", "in vain", "wasted work"
    );
    for Run { stack, report } in runs {
        let after = report
            .recovered_at(0.99)
            .map_or("never".to_owned(), |at| format!("{} s", at.saturating_sub(scenario.well_from).as_secs()));
        println!(
            "{stack:<34} {:>9.2}x {after:>10} {:>8.1}% {:>9} {:>11.1}%",
            report.worst_load(),
            100.0 * report.good as f64 / report.calls as f64,
            report.rejected_in_vain,
            100.0 * report.wasted_work / report.work.max(f64::MIN_POSITIVE),
        );
    }
}

fn print_json(scenario: &Scenario, runs: &[Run]) {
    for Run { stack, report } in runs {
        println!("{}", serde_json::json!({ "scenario": scenario.name, "stack": stack, "report": report }));
    }
}
