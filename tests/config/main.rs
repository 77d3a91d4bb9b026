//! Settings from files.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used)]

mod durations;
mod errors;
mod fields;
mod formats;
mod layers;
mod presets;
mod reconfigure;
mod watch;

use tower_rampart::RetryLayer;
use tower_rampart::config::{Config, ConfigError};

fn from_toml(text: &str) -> Result<Config, ConfigError> {
    Config::read(toml::Deserializer::parse(text).unwrap())
}

fn from_json(text: &str) -> Result<Config, ConfigError> {
    Config::read(&mut serde_json::Deserializer::from_str(text))
}

#[track_caller]
fn rejects(text: &str, path: &str, reason: &str) -> ConfigError {
    let error = from_toml(text).unwrap_err();
    assert_eq!(error.path(), path, "{error}");
    assert!(error.to_string().contains(reason), "{error}");
    error
}

/// The settings of a layer, without the times when it was made.
fn settings(layer: &RetryLayer) -> String {
    let text = format!("{layer:?}");
    let (first, rest) = text.split_once("Instant {").unwrap();
    first.to_owned() + &rest.split("Instant {").map(|part| part.split_once('}').unwrap().1).collect::<String>()
}
