//! The servers that the programs call.

mod memory_queue;
mod redis_server;
mod upstream;

pub use self::memory_queue::{Delivery, Queue};
pub use self::redis_server::redis_server;
pub use self::upstream::serve;
