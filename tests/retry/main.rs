//! The rules of retry, each with tests named after it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod attempts;
mod bodies;
mod function;
mod hedge;
mod limits;
mod observe;
mod policy;
mod reconfigure;
mod support;
mod traits;
