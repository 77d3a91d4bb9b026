//! Prometheus from Debian scrapes the text of this crate, and answers every expression of the dashboard and of the alert
//! rules. Without it, `tests/metrics/dashboard.rs` is what checks them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod alerts;
mod dashboard;
mod outage;
mod server;
#[path = "../support/mod.rs"]
mod support;
