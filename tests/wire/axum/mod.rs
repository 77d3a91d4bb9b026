//! axum: a service that calls an upstream through the stack, and layers around its routes.

mod gateway;
mod layers;
mod service;
