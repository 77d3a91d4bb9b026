//! Retries: a failed call gets further attempts where that can help and does no harm.
//!
//! # Rules
//!
//! 1. **What is retried.** The outcome is [transient](crate::classify::Class::Transient); the request is
//!    [idempotent](Idempotency), or was provably not processed; attempts are left; the body can be
//!    [replayed](ReplayBody); the wait fits the deadline; the [`Budget`] grants it, which is asked last.
//!
//!    **Transparent retry** (gRPC proposal A6): a request that an established connection gave back (a refused stream, a
//!    GOAWAY, a connection closed before the write) goes out again at once, once, without a token, an attempt or a
//!    wait, if it is idempotent or was provably not processed. A second time it is a retry like any other. A server that
//!    recycles its connections gives back all their streams at once; without this rule each of them would cost a token.
//! 2. **The wait** is the server's hint, if there is one, with jitter on top, else the [`Backoff`]. A hint above
//!    [`max_retry_after`](crate::RetryLayer::max_retry_after) or past the deadline ends the retrying at once. The wait
//!    leaves at least as much time for the next attempt as the last answer took: an answer is not given up for an attempt
//!    that the deadline would cut.
//! 3. **The failed response is dropped** before the wait. The last attempt moves the request instead of copying it, and
//!    with a single attempt nothing is copied.
//! 4. **The inner service is polled ready** before every attempt, and the very instance that was ready is called. An
//!    error of readiness is final. The first attempt begins when the call is first polled; until then the call holds on to
//!    the readiness and nothing is sent. A call that has ended holds nothing.
//! 5. **Giving up never fabricates an answer.** A response comes back as it is, an error as the source of a
//!    [`RetryError`]. Whenever a retry was made or wanted, a [`RetryReport`] says so: in the extensions of the response, or
//!    in the error.
//! 6. **The deadline** spans attempts and waits and cuts an attempt short. A [`Deadline`] in the extensions of a request
//!    overrides that of the layer. Every HTTP attempt carries the limits that hold for it, as [`Deadline`] and
//!    [`AttemptDeadline`]. A breaker or a classifier inside learns of a cut as a timeout of the upstream, whatever the type
//!    of the request is; a request that still waited for readiness was not sent. Over gRPC a `grpc-timeout` is the deadline
//!    of the whole call, unless another one is earlier, and goes out with what remains of it.
//! 7. **An open circuit** is not retried unless [asked for](crate::RetryLayer::retry_circuit_open).
//! 8. **A body** streams at once and is kept as it goes: see [`ReplayBody`]. If it failed, or was still being sent when
//!    the answer came, there is no retry.
//! 9. **Budgets** are shared by clones, exact, and never overdrawn.
//!
//! Where the server says itself whether to retry, that counts more than the class of the outcome; but it never makes a
//! request idempotent.
//!
//! # One attempt, one request
//!
//! "Not processed" is what the last outcome tells. A service inside that makes several requests out of one, above all a
//! client that follows redirects, can have its first request processed and the last one refused; a POST would then be sent
//! again. Have the client follow no redirects, or follow them outside of this layer.
//!
//! # HTTP with a classifier of your own
//!
//! [`RetryLayer::new`](crate::RetryLayer::new) takes requests of every type, so it cannot know that one is HTTP: it reads no
//! [`Deadline`] from it, numbers no attempts, leaves no [`RetryReport`], and takes every request for idempotent. Over HTTP
//! write `RetryLayer::new_for_http().classifier(yours)`, and add
//! [`clone_bodies`](crate::RetryLayer::clone_bodies) if the inner service wants the caller's own body type.
//!
//! # What an attempt can see
//!
//! HTTP requests from the second attempt on carry an [`Attempt`] in their extensions.
//!
//! # Telemetry
//!
//! Events of the target `tower_rampart::retry`:
//!
//! | event | level | fields |
//! |---|---|---|
//! | every retry | DEBUG | `name`, `attempt`, `wait_ms`, `reason`, `code`, `method`, `host`, `partition` |
//! | a retry that was wanted and not made | WARN, one line a second for each `name` and `kind` | `name`, `kind`, `attempts`, `reason`, `code`, `method`, `host`, `partition`, `count` |
//!
//! `count` is the number of give-ups since the last line of that kind; the other fields are those of the latest. Nothing is
//! logged for a call that succeeds at once, or whose failure is not worth a retry, and never a path, a query or a header
//! other than the [label](crate::RetryLayer::partition_label) of the partition.
//!
//! # Runtime
//!
//! Waits and limits need tokio's time driver (`enable_time`). Without it a call panics before it sends anything, with
//! tokio's message that says so; only a layer with a single attempt and no limit needs no timer.

mod call;
mod config;
mod error;
mod future;
mod layer;
mod observe;
mod policy;
mod replay;
mod report;
mod service;

pub use self::error::{RetryError, TimedOut};
pub use self::future::ResponseFuture;
pub use self::layer::RetryLayer;
pub use self::observe::{GiveUpEvent, OnGiveUp, OnRetry, RetryEvent};
pub use self::policy::{AlwaysIdempotent, Budget, GiveUp, GrpcIdempotency, HttpIdempotency, Idempotency};
pub use self::replay::{CloneBodies, CloneRequests, KeptClone, KeptRequest, Replay, ReplayBodies, ReplayBody};
pub use self::report::{AttemptReport, Report, RetryReport};
pub use self::service::Retry;
pub use crate::attempt::Attempt;
pub use crate::backoff::{Backoff, Jitter};
pub use crate::deadline::{AttemptDeadline, Deadline};
