//! What reqwest makes of it, alone and in a stack.

mod bodies;
mod errors;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
mod once;
mod redirects;
mod service;
mod streams;
mod upstream;
