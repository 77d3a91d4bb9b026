//! Watching and setting a breaker by hand, its errors, telemetry and types.

mod circuit_open;
mod flight_recorder;
mod news;
mod seed;
mod settings;
mod telemetry;
mod types;
mod watch;
