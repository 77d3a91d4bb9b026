//! `rampart-sim lint`.

use std::io::Write;
use std::iter;
use std::ops::RangeInclusive;
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
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    processes: u32,
    /// Calls a second of one process on one breaker: of one host or tenant, if each has a breaker.
    #[arg(long, value_name = "NUMBER", value_parser = calls, allow_negative_numbers = true)]
    calls_per_second: f64,
    /// Requests a second that the upstream can answer, all processes together. Default: 1.25 times the calls.
    #[arg(long, value_name = "NUMBER", value_parser = capacity, allow_negative_numbers = true)]
    capacity: Option<f64>,
    /// Tiers of services that call each other and all retry with these settings. Default: 1.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10))]
    tiers: Option<u32>,
    /// The share of the calls that fails while the upstream is well. Default: 0.01.
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true)]
    usual_failures: Option<f64>,
    /// How long an answer takes that is still usual, such as the 99 % quantile. Default: 100ms.
    #[arg(long, value_name = "DURATION", value_parser = latency)]
    typical_latency: Option<Duration>,
    /// How long the upstream is in trouble, when it is. Default: 1m.
    #[arg(long, value_name = "DURATION", value_parser = outage)]
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

fn calls(text: &str) -> Result<f64, String> {
    number(text, 1e-6..=1e7, "from 0.000001 to 10000000")
}

fn capacity(text: &str) -> Result<f64, String> {
    number(text, 1e-6..=1e12, "from 0.000001 to 1000000000000")
}

/// If all calls failed, no breaker would open by mistake.
fn share(text: &str) -> Result<f64, String> {
    number(text, 0.0..=0.99, "from 0 to 0.99")
}

fn number(text: &str, allowed: RangeInclusive<f64>, range: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number| allowed.contains(number)).ok_or_else(|| format!("must be a number {range}"))
}

fn latency(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_micros(1)..=Duration::from_secs(3_600))
}

fn outage(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_secs(1)..=Duration::from_secs(30 * 86_400))
}

fn duration(text: &str, allowed: RangeInclusive<Duration>) -> Result<Duration, String> {
    let duration = HumanDuration::deserialize(text.into_deserializer()).map_err(|error: Error| error.to_string())?.0;
    let (from, to) = (HumanDuration(*allowed.start()), HumanDuration(*allowed.end()));
    if allowed.contains(&duration) { Ok(duration) } else { Err(format!("must be from {from} to {to}")) }
}
