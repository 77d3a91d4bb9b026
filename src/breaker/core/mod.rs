//! One breaker: its state machine, its window of outcomes and the lock-free path of a closed breaker.

mod admit;
pub(super) mod consecutive_failures;
pub(super) mod half_open;
mod lane;
mod nested;
mod nesting;
pub(super) mod node;
pub(super) mod node_ref;
pub(super) mod observer;
pub(super) mod packed_state;
pub(super) mod policy;
mod settle;
pub(super) mod state_machine;
pub(super) mod votes;
pub(super) mod waiters;
pub(super) mod window;

pub use self::window::Window;
