//! The servers that the programs call.

mod memory_queue;
mod redis_server;
mod upstream;

pub use self::memory_queue::{Delivery, Queue};
pub use self::redis_server::redis_server;
pub use self::upstream::serve;

/// The programs of the page, which need the crate `redis`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/clients/REDIS_AND_QUEUES.md")]
struct RedisAndQueues;
