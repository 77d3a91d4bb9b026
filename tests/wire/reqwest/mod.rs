//! What reqwest makes of it, alone and in a stack.

mod bodies;
mod errors;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
mod redirects;
mod service;
mod upstream;
