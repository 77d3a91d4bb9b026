//! The numbers of the layers, as a metrics system reads them.

#![allow(clippy::unwrap_used)]

mod breakers;
mod dashboard;
mod explain;
#[cfg(any(feature = "metrics", feature = "opentelemetry"))]
mod exporters;
mod prometheus;
mod retries;
mod scrape;
mod stack;
