//! Rules 2 and 9: waits, budgets and their settings.

mod backoff;
mod budgets;
mod extremes;
mod jitter;
mod partitions;
mod seed;
mod settings;
mod spread;
