//! `rampart-sim replay`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use rampart_sim::{lint, replay};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::Recording;

use crate::Result;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A recording, as `Recording` displays it.
    #[arg(value_name = "FILE.flight")]
    recording: PathBuf,
    /// The other settings: see `docs/CONFIG.md`. Those of the name in the recording count.
    #[arg(value_name = "FILE.toml")]
    config: PathBuf,
}

/// Prints what would have differed.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<bool> {
    let Arguments { recording, config } = arguments;
    let name = recording.display();
    let text = fs::read_to_string(recording).map_err(|error| format!("{name}: {error}"))?;
    let recording: Recording = text.parse().map_err(|error| format!("{name}: {error}"))?;
    let mut config = lint::read(config)?;
    // A replay needs no recorder, least of all one for each partition.
    let parts = config.per_name.values_mut().map(|part| &mut part.breaker).chain([&mut config.breaker]);
    parts.for_each(|breaker| breaker.flight_recorder = None);
    // Checked once, so that no partition meets an error.
    config.breaker_layer(recording.name())?;
    let breaker =
        || config.breaker_layer(recording.name()).unwrap_or_else(|_| CircuitBreakerLayer::new_for_http()).breaker();
    write!(out, "{}", replay::replay(&recording, breaker))?;
    Ok(true)
}
