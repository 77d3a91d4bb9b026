//! One breaker: its state machine, its window of outcomes and the lock-free path of a closed breaker.

pub(super) mod half_open;
pub(super) mod nested;
pub(super) mod node;
pub(super) mod observer;
pub(super) mod packed_state;
pub(super) mod policy;
pub(super) mod state_machine;
pub(super) mod trip;
pub(super) mod waiters;
pub(super) mod window;

pub use self::window::Window;
