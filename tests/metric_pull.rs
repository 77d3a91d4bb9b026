//! The example is the main job of the crate, so it is tested like a part of it: its own unit tests run here, and below
//! the whole of it runs on real sockets.

#[allow(dead_code)]
#[path = "../examples/metric_pull/main.rs"]
mod metric_pull;
