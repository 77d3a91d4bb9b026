//! Shall we try again: a failed call gets further attempts where that can help and does no harm.
//!
//! # Rules
//!
//! 1. **Retried only if** the outcome is [transient](crate::classify::Class::Transient); the request is
//!    [idempotent](Idempotency), or was provably not processed; attempts are left; the body can be
//!    [replayed](ReplayBody); the wait fits the deadline; the [`Budget`] grants it, which is asked last.
//! 2. **The wait** is the server's hint, if there is one, and some jitter on top, else the [`Backoff`]. A hint above
//!    [`max_retry_after`](crate::RetryLayer::max_retry_after) or past the deadline ends the retrying at once.
//! 3. **The failed response is let go** before the wait. The last attempt moves the request instead of copying it, and
//!    with a single attempt nothing is copied.
//! 4. **The inner service is polled ready** before every attempt, and the very instance that was ready is called. An
//!    error of readiness is final. The first attempt begins when the call is first polled; until then, or until it is
//!    dropped, the call holds on to the readiness, and nothing is sent.
//! 5. **Giving up invents no answer.** A response comes back as it is, with a [`RetryReport`] in its extensions if there
//!    was more than one attempt; an error as the source of a [`RetryError`].
//! 6. **The deadline** spans attempts and waits and cuts an attempt short. A [`Deadline`] in the extensions of a request
//!    overrides that of the layer and is passed inward.
//! 7. **An open circuit** is not retried unless [asked for](crate::RetryLayer::retry_circuit_open).
//! 8. **A body** streams at once and is kept as it goes: see [`ReplayBody`]. If it failed, or was still being sent when
//!    the answer came, there is no retry.
//! 9. **Budgets** are shared by clones, exact, and never overdrawn.
//!
//! Where the server gives its own word on whether to retry, that counts more than the class of the outcome; but it never
//! makes a request idempotent.
//!
//! # One attempt, one request
//!
//! "Not processed" is what the last outcome tells. A service inside that makes several requests out of one, above all a
//! client that follows redirects, can have its first request processed and the last one refused; a POST would then be sent
//! again. Have the client follow no redirects, or follow them outside of this layer.
//!
//! # What an attempt can see
//!
//! HTTP requests from the second attempt on carry an [`Attempt`] in their extensions.
//!
//! # Telemetry
//!
//! Events of the target `tower_rampart::retry`: one at DEBUG for every retry (`attempt`, `wait_ms`, `reason`, `code`), one
//! at WARN for every retry that was wanted and not made (`kind`, `attempts`, `reason`, `code`). Nothing for a call that
//! succeeds at once, or whose failure nobody would retry.

mod budget;
mod call;
mod error;
mod event;
mod future;
mod give_up;
mod grpc_timeout;
mod idempotency;
mod layer;
mod origin;
mod policy;
mod recording;
mod replay;
mod replay_body;
mod report;
#[cfg(feature = "tonic")]
mod status;
mod telemetry;
mod timed_out;

pub use self::budget::Budget;
pub use self::error::RetryError;
pub use self::event::{GiveUpEvent, OnGiveUp, OnRetry, RetryEvent};
pub use self::future::ResponseFuture;
pub use self::give_up::GiveUp;
pub use self::idempotency::{AlwaysIdempotent, GrpcIdempotency, HttpIdempotency, Idempotency};
pub use self::layer::{Retry, RetryLayer};
pub use self::replay::{CloneBodies, CloneRequests, KeptClone, KeptRequest, Replay, ReplayBodies};
pub use self::replay_body::ReplayBody;
pub use self::report::{AttemptReport, Report, RetryReport};
pub use self::timed_out::TimedOut;
pub use crate::attempt::Attempt;
pub use crate::backoff::{Backoff, Jitter};
pub use crate::deadline::{AttemptDeadline, Deadline};
