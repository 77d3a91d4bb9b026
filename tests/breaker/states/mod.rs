//! Closed, open and half-open, and what moves a breaker between them.

mod defaults;
mod half_open;
mod outage;
mod probes;
mod ramp;
mod window;
