//! Draws what a storm does to stacks with more and less protection.

mod picture;
mod stacks;
mod sweep;
mod table;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use rampart_sim::scenario::{self, Outcome, Scenario};

use self::stacks::{NO_RETRIES, Run, Stack};

/// Runs storms through stacks of layers on paused time and prints what became of the calls.
///
/// Exits with 1 if a goal of a scenario was missed, and with 2 if an argument or a file is wrong.
#[derive(Debug, Parser)]
struct Arguments {
    /// A built-in scenario, or a file that ends in `.toml`. May be repeated. Default: all built-in ones.
    #[arg(long, value_name = "NAME|FILE.toml")]
    scenario: Vec<String>,
    /// Only this stack. May be repeated. Default: all.
    #[arg(long, value_name = "NAME")]
    stack: Vec<String>,
    /// The seed of arrivals and service times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tries other values of one setting of the default layers, in the storm, the outage and the brown-out if no scenario is
    /// named. May be repeated.
    #[arg(long, value_name = "SETTING")]
    sweep: Vec<String>,
    /// Writes one picture a scenario, or a sweep, into this folder.
    #[arg(long, value_name = "FOLDER")]
    svg: Option<PathBuf>,
    /// Runs nothing, and draws the formulas and the jitters of the backoff into this file.
    #[arg(long, value_name = "FILE.svg")]
    backoff: Option<PathBuf>,
    /// Prints the reports as JSON, one a line, instead of tables.
    #[arg(long)]
    json: bool,
    /// Lists the built-in scenarios, the stacks and the settings for a sweep.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        list();
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Whether every goal was reached.
fn run(arguments: &Arguments) -> Result<bool, String> {
    if let Some(path) = &arguments.backoff {
        return picture::draw_backoff(path).map(|()| true).map_err(|error| format!("{}: {error}", path.display()));
    }
    if !arguments.sweep.is_empty() {
        return sweep_all(arguments).map(|()| true);
    }
    let all = scenario::names().map(str::to_owned);
    let scenarios = chosen_scenarios(&arguments.scenario, all)?;
    let stacks = chosen_stacks(&arguments.stack)?;
    let mut reached = true;
    for scenario in &scenarios {
        if let Some(unknown) = scenario.expect.keys().find(|name| stacks::all().all(|stack| stack.name != **name)) {
            let named = if cfg!(feature = "peers") { "" } else { ", unless with --features peers" };
            return Err(format!("{}: expect.{unknown}: there is no such stack{named}", scenario.name));
        }
        let runs: Vec<Run> = stacks.iter().map(|stack| run_one(*stack, scenario, arguments.seed)).collect();
        if arguments.json {
            table::print_json(scenario, &runs);
        } else {
            table::print(scenario, &runs);
        }
        for line in missed(scenario, &runs, arguments.seed) {
            reached = false;
            eprintln!("missed: {line}");
        }
        if let Some(folder) = &arguments.svg {
            let path = folder.join(format!("{}.svg", scenario.name));
            picture::draw_storm(&path, scenario, &runs).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    if !arguments.json {
        table::print_notes(&stacks);
    }
    Ok(reached)
}

fn run_one(stack: Stack, scenario: &Scenario, seed: u64) -> Run {
    report_progress(&format!("{}: {}", scenario.name, stack.name));
    stack.run(scenario, seed)
}

/// One line for each goal that was missed.
fn missed(scenario: &Scenario, runs: &[Run], seed: u64) -> Vec<String> {
    let goals = |run: &Run| scenario.expect.get(run.stack.name);
    let is_needed = runs.iter().filter_map(goals).any(|goals| goals.need_no_retries());
    let done = runs.iter().find(|run| run.stack.name == NO_RETRIES);
    let extra = stacks::all()
        .find(|stack| is_needed && done.is_none() && stack.name == NO_RETRIES)
        .map(|stack| run_one(stack, scenario, seed));
    let no_retries = done.or(extra.as_ref()).map(|run| &run.report);
    let of_run = |run: &Run| {
        let outcome = Outcome { report: &run.report, openings: run.openings, no_retries };
        let missed = goals(run).map(|goals| goals.missed(scenario, outcome)).unwrap_or_default();
        let prefix = format!("{}, {}", scenario.name, run.stack.name);
        missed.into_iter().map(move |line| format!("{prefix}: {line}"))
    };
    runs.iter().flat_map(of_run).collect()
}

fn sweep_all(arguments: &Arguments) -> Result<(), String> {
    let unknown = |name: &str| format!("{name}: no such setting; --list shows them");
    let find = |name: &String| sweep::find(name).ok_or_else(|| unknown(name));
    let settings = arguments.sweep.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let scenarios = chosen_scenarios(&arguments.scenario, sweep::SCENARIOS.map(str::to_owned))?;
    for setting in settings {
        let curve = |scenario: &Scenario| {
            let run = |value: &f64| {
                report_progress(&format!("{}: {} {value}{}", scenario.name, setting.name, setting.unit));
                setting.try_value(*value, scenario, arguments.seed)
            };
            (scenario.name.clone(), setting.values.iter().map(run).collect())
        };
        let curves: Vec<_> = scenarios.iter().map(curve).collect();
        table::print_sweep(setting, &curves, arguments.json);
        if let Some(folder) = &arguments.svg {
            let path = folder.join(format!("sweep-{}.svg", setting.name));
            picture::draw_sweep(&path, setting, &curves).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}

fn report_progress(line: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{line} ...");
    }
}

fn chosen_scenarios(names: &[String], default: impl IntoIterator<Item = String>) -> Result<Vec<Scenario>, String> {
    let default: Vec<String> = default.into_iter().collect();
    let chosen = |name: &String| {
        if Path::new(name).extension().is_some_and(|extension| extension == "toml") {
            return Scenario::read(Path::new(name)).map_err(|error| error.to_string());
        }
        scenario::built_in(name).ok_or_else(|| format!("{name}: no such scenario; --list shows them"))
    };
    let names = if names.is_empty() { &default } else { names };
    names.iter().map(chosen).collect()
}

fn chosen_stacks(names: &[String]) -> Result<Vec<Stack>, String> {
    if let Some(unknown) = names.iter().find(|name| stacks::all().all(|stack| stack.name != **name)) {
        return Err(format!("{unknown}: no such stack; --list shows them"));
    }
    Ok(stacks::all().filter(|stack| names.is_empty() || names.iter().any(|name| name == stack.name)).collect())
}

fn list() {
    println!("scenarios:");
    for scenario in scenario::names().filter_map(scenario::built_in) {
        println!("  {:<22} {}", scenario.name, scenario.title);
    }
    println!("stacks:");
    for stack in stacks::all() {
        println!("  {:<22} {}", stack.name, stack.title);
    }
    println!("settings:");
    for setting in &sweep::SETTINGS {
        println!("  {:<22} {}", setting.name, setting.title);
    }
}
