//! Tenants nested in hosts.

pub(crate) mod hierarchy;
mod host_places;
mod minorities;
mod turns;
pub(crate) mod votes;
