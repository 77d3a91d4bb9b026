//! Shall we try again.

pub use crate::backoff::{Backoff, Jitter};
