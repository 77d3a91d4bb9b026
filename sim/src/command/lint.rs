//! `rampart-sim lint`.

use std::io::Write;
use std::iter;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rampart_sim::lint::{self, Facts, Settings, lint};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error;
use tower_rampart::config::HumanDuration;

use crate::Result;

/// The capacity of an upstream that has not been measured, in times of its load.
const USUAL_CAPACITY: f64 = 1.25;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The configuration: see `docs/CONFIG.md`.
    #[arg(value_name = "FILE.toml")]
    config: PathBuf,
    /// Only this name of the file. May be repeated. Default: the common part and all names.
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Processes that call the upstream, each with a stack of its own.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    processes: u32,
    /// Calls a second of one process on one breaker: of one host or tenant, if each has a breaker.
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    calls_per_second: f64,
    /// Requests a second that the upstream can answer, all processes together. Default: 1.25 times the calls.
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    capacity: Option<f64>,
    /// Tiers of services that call each other and all retry with these settings. Default: 1.
    #[arg(long, value_name = "NUMBER")]
    tiers: Option<u32>,
    /// The share of the calls that fails while the upstream is well. Default: 0.01.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    usual_failures: Option<f64>,
    /// How long an answer takes that is still usual, such as the 99 % quantile. Default: 100ms.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    typical_latency: Option<Duration>,
    /// How long the upstream is in trouble, when it is. Default: 1m.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    typical_outage: Option<Duration>,
}

/// Prints a line for each finding. Returns true if there is none.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<bool> {
    let config = lint::read(&arguments.config)?;
    if let Some(unknown) = arguments.name.iter().find(|name| !config.per_name.contains_key(*name)) {
        return Err(format!("{}: there is no per_name.{unknown}", arguments.config.display()).into());
    }
    // No name of a file is empty, so the first is the common part.
    let all = iter::once("").chain(config.per_name.keys().map(String::as_str));
    let is_chosen = |name: &&str| arguments.name.is_empty() || arguments.name.iter().any(|chosen| chosen == name);
    let facts = arguments.facts();
    let mut fits = true;
    for name in all.filter(is_chosen) {
        let part = if name.is_empty() { String::new() } else { format!("per_name.{}: ", name.escape_debug()) };
        for finding in lint(&Settings::of(&config.settings(name), &facts), &facts) {
            fits = false;
            writeln!(out, "{part}{finding}")?;
        }
    }
    Ok(fits)
}

impl Arguments {
    fn facts(&self) -> Facts {
        let Self { processes, calls_per_second, .. } = *self;
        let capacity = self.capacity.unwrap_or(USUAL_CAPACITY * f64::from(processes) * calls_per_second);
        let usual = Facts::new(processes, calls_per_second, capacity);
        Facts {
            tiers: self.tiers.unwrap_or(usual.tiers),
            usual_failures: self.usual_failures.unwrap_or(usual.usual_failures),
            typical_latency: self.typical_latency.unwrap_or(usual.typical_latency),
            typical_outage: self.typical_outage.unwrap_or(usual.typical_outage),
            ..usual
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, |number| number > 0.0 && number <= f64::from(u32::MAX)).ok_or("must be a number above 0".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..=1.0).contains(&number)).ok_or("must be a number from 0 to 1".to_owned())
}

fn number(text: &str, fits: impl Fn(f64) -> bool) -> Option<f64> {
    text.parse().ok().filter(|number| fits(*number))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = HumanDuration::deserialize(text.into_deserializer()).map_err(|error: Error| error.to_string())?.0;
    if duration.is_zero() { Err("must not be zero".to_owned()) } else { Ok(duration) }
}
