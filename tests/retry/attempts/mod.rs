//! Rules 1 to 7 and 12: what is retried, when, and what the caller gets.

mod cancel;
mod differential;
mod grpc;
mod guard;
mod hostile;
mod panics;
mod readiness;
mod resend;
mod rules;
mod wire;
mod wrappers;
