//! Draws what a storm does to stacks with more and less protection.

mod lint;
mod picture;
mod replay;
mod stacks;
mod sweep;
mod table;

use std::collections::HashSet;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rampart_sim::scenario::{self, Scenario};

use self::stacks::{Run, Stack};
use self::sweep::Setting;

/// Runs storms through stacks of layers on paused time and prints what became of the calls.
///
/// Exits with 1 if a goal of a scenario was missed or `lint` found something, and with 2 if an argument or a file is wrong.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// A built-in scenario, or a file that ends in `.toml`. May be repeated. Default: all built-in ones.
    #[arg(long, value_name = "NAME|FILE.toml")]
    scenario: Vec<String>,
    /// Only this stack. May be repeated. Default: all.
    #[arg(long, value_name = "NAME")]
    stack: Vec<String>,
    /// The seed of arrivals and service times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tries other values of one setting of the default layers, or of each setting, in four scenarios
    /// if none is named. May be repeated.
    #[arg(long, value_name = "SETTING|all")]
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

#[derive(Debug, Subcommand)]
enum Command {
    /// Judges the settings of a configuration file by arithmetic, without a run: see `docs/STORMS.md`.
    Lint(lint::Arguments),
    /// Runs a flight recording through other settings and says what would have differed: see `docs/STORMS.md`.
    Replay(replay::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader of a pipe has seen enough.
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Whether every goal was reached.
fn run(arguments: &Arguments, out: &mut impl Write) -> Result<bool> {
    match &arguments.command {
        Some(Command::Lint(arguments)) => return lint::run(arguments, out),
        Some(Command::Replay(arguments)) => return replay::run(arguments, out),
        None => {}
    }
    if arguments.list {
        list(out)?;
        return Ok(true);
    }
    if let Some(path) = &arguments.backoff {
        picture::draw_backoff(path).map_err(|error| format!("{}: {error}", path.display()))?;
        return Ok(true);
    }
    if let Some(folder) = &arguments.svg {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    if !arguments.sweep.is_empty() {
        if !arguments.stack.is_empty() {
            return Err("--sweep changes the default layers and takes no --stack".into());
        }
        return sweep_all(arguments, out).map(|()| true);
    }
    let all = scenario::names().map(str::to_owned);
    let scenarios = chosen_scenarios(&arguments.scenario, all)?;
    let stacks = chosen_stacks(&arguments.stack)?;
    scenarios.iter().try_for_each(check_goals)?;
    if arguments.svg.is_some() {
        let mut names = HashSet::new();
        if let Some(twice) = scenarios.iter().find(|scenario| !names.insert(&scenario.name)) {
            return Err(
                format!("{}: two scenarios of this name would be one picture", twice.name.escape_debug()).into()
            );
        }
    }
    let mut reached = true;
    for scenario in &scenarios {
        let runs: Vec<Run> = stacks.iter().map(|stack| stack.run(scenario, arguments.seed)).collect();
        if arguments.json {
            table::print_json(out, scenario, &runs)?;
        } else {
            table::print(out, scenario, &runs)?;
        }
        for line in runs.iter().flat_map(|run| missed(scenario, run)) {
            reached = false;
            eprintln!("missed: {line}");
        }
        if let Some(folder) = &arguments.svg {
            let path = folder.join(format!("{}.svg", scenario.name));
            picture::draw_storm(&path, scenario, &runs).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    if !arguments.json {
        table::print_notes(out, &stacks)?;
    }
    Ok(reached)
}

/// Finds goals of unknown stacks before anything runs.
fn check_goals(scenario: &Scenario) -> Result<(), String> {
    let Some(unknown) = scenario.expect.keys().find(|name| stacks::all().all(|stack| stack.name != **name)) else {
        return Ok(());
    };
    let named = if cfg!(feature = "peers") { "" } else { ", unless with --features peers" };
    Err(format!("{}: expect.{}: there is no such stack{named}", scenario.name, unknown.escape_debug()))
}

/// One line for each goal that was missed.
fn missed(scenario: &Scenario, Run { stack, report }: &Run) -> Vec<String> {
    let missed = scenario.expect.get(stack.name).map(|goals| goals.missed(scenario, report)).unwrap_or_default();
    missed.into_iter().map(|line| format!("{}, {}: {line}", scenario.name, stack.name)).collect()
}

fn sweep_all(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let names = &arguments.sweep;
    if let Some(unknown) = names.iter().find(|name| *name != "all" && sweep::find(name).is_none()) {
        return Err(format!("{unknown}: no such setting; --list shows them").into());
    }
    let is_chosen = |setting: &&Setting| names.iter().any(|name| name == "all" || name == setting.name);
    let scenarios = chosen_scenarios(&arguments.scenario, sweep::SCENARIOS.map(str::to_owned))?;
    for setting in sweep::SETTINGS.iter().filter(is_chosen) {
        let points = |scenario: &Scenario| {
            let run = |value: &f64| setting.try_value(*value, scenario, arguments.seed);
            setting.values.iter().map(run).collect()
        };
        let curves: Vec<sweep::Curve<'_>> = scenarios.iter().map(|scenario| (scenario, points(scenario))).collect();
        table::print_sweep(out, setting, &curves, arguments.json)?;
        if let Some(folder) = &arguments.svg {
            let path = folder.join(format!("sweep-{}.svg", setting.name));
            picture::draw_sweep(&path, setting, &curves).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
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

fn list(out: &mut impl Write) -> Result<()> {
    writeln!(out, "scenarios:")?;
    for scenario in scenario::names().filter_map(scenario::built_in) {
        writeln!(out, "  {:<22} {}", scenario.name, scenario.title)?;
    }
    writeln!(out, "stacks:")?;
    for stack in stacks::all() {
        writeln!(out, "  {:<22} {}", stack.name, stack.title)?;
    }
    writeln!(out, "settings:")?;
    for setting in &sweep::SETTINGS {
        writeln!(out, "  {:<22} {}", setting.name, setting.title)?;
    }
    Ok(())
}
