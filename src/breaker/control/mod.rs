//! What a user holds of a breaker: handles, permits, snapshots, events and the error of a rejected call.

#[cfg(feature = "status-page")]
pub(super) mod address;
pub(super) mod circuit_breaker;
pub(super) mod circuit_open;
pub(super) mod events;
pub(super) mod handle;
pub(super) mod permit;
pub(super) mod snapshot;
pub(super) mod trip;

pub use self::circuit_breaker::CircuitBreaker;
pub use self::circuit_open::CircuitOpen;
pub use self::events::{Event, Events, Watch};
pub use self::handle::Handle;
pub use self::permit::{Permit, Ticket};
pub use self::snapshot::{Snapshot, Totals};
pub use self::trip::Trip;
