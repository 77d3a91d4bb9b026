//! Random schedules of calls, outcomes, drops, jumps of time and controls, against slow and obvious models that keep
//! every outcome: each decision and every number must be the same.

mod breaker;
mod config;
mod hierarchy;
mod nested;
mod registry;
mod single;
mod streams;
