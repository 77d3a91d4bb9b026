//! One breaker for each key, in a bounded registry.

mod eviction;
mod keys;
