//! What a client needs beside the layers.
//!
//! - `reqwest` (feature `reqwest`): the client of reqwest as a service, and `send` for its request builders.
//! - `reqwest_middleware` (feature `reqwest-middleware`): a stack as a middleware, and a client with middlewares as a
//!   service.

#[cfg(feature = "reqwest")]
pub mod reqwest;
#[cfg(feature = "reqwest-middleware")]
pub mod reqwest_middleware;
