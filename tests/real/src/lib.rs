//! Runs the whole stack against servers from other projects, and audits which requests they processed.
//!
//! ```text
//!  load ──▶ retry ▶ breaker ▶ classify ▶ stamp ▶ hyper ──▶ nginx or HAProxy ──▶ app ──▶ ledger
//!    │                                                          ▲                         │
//!    └─ one Call a call                         reload, kill -9 ┘        one line a request that was acted on
//!    └──────────────────────────────▶ audit ◀─────────────────────────────────────────────┘
//! ```
//!
//! - [`app`] is a process of its own behind the proxy, so that it too can be killed. It appends one line to the
//!   [`ledger`] for every request that it has received in full, *before* it works on it for a few milliseconds.
//! - Every call has an id, and every attempt that leaves the stack has a number of its own ([`client`]). The ledger
//!   holds both, so the audit can say whether this crate sent a request twice or something below it did.
//! - [`run`] starts the servers, drives the [`load`], disturbs the servers as the scenario says, stops the proxy, waits
//!   until the app has worked off what it received, and only then reads the ledger.
//! - [`audit`] compares calls and ledger. A POST is **doubled** if the ledger holds it more than once. A GET is
//!   **lost** if it had no good answer, unless it overlapped an outage that the scenario caused *and* ended in a way
//!   that an outage explains. Calls and ledger check each other: a good answer without a line in the ledger fails the
//!   run.
//! - [`grpc`] does the same with servers that close connections of a certain age: tonic, and grpcio from Python.
//!
//! `cargo test -p rampart-real` runs short forms and skips the servers that are not installed.
//! `cargo run --release -p rampart-real` runs the long form and prints a table.
#![forbid(unsafe_code)]
#![allow(missing_docs, missing_debug_implementations, clippy::unwrap_used, clippy::expect_used)]

pub mod app;
pub mod audit;
pub mod certificate;
pub mod client;
pub mod grpc;
pub mod ledger;
pub mod load;
pub mod process;
pub mod proxy;
pub mod request;
pub mod run;
pub mod table;
