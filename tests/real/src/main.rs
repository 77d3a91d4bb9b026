//! `rampart-real app ADDRESS LEDGER` serves the app; `rampart-real [--calls N] [WORD...]` runs the long form of the
//! audit.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod long;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["app", address, ledger] = arguments[..] {
        let address = address.parse().expect("an address");
        return match rampart_real::app::serve(address, ledger.as_ref()).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("app: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let mut terminated = signal(SignalKind::terminate()).expect("a signal handler");
    // Stopped by a signal, this still kills the servers, because their guards are dropped.
    tokio::select! {
        code = long::run_all(&arguments) => code,
        _ = tokio::signal::ctrl_c() => ExitCode::FAILURE,
        _ = terminated.recv() => ExitCode::FAILURE,
    }
}
