//! Retries failed calls where another attempt can help and cannot do harm.
//!
//! # The states of a call
//!
//! ```text
//!            polled                success, or a reason to give up
//!   Ready ────────► Calling ──────────────────────────────────────► Done
//!     ▲              │    │                                          ▲
//!     │              │    └── a retry is granted ──► Waiting         │
//!     │  transparent │                                  │ time is up │
//!     │        retry └────────► Readying ◄──────────────┘            │
//!     │                           │  │   deadline, readiness error   │
//!     └── the service is ready ───┘  └───────────────────────────────┘
//! ```
//!
//! The deadline ends a call in `Ready`, in `Calling`, where it cuts the attempt, and in `Readying`. A wait always ends
//! before the deadline.
//!
//! # Rules
//!
//! 1. **What is retried.** All of these must hold: the outcome is [transient](crate::classify::Class::Transient); the
//!    request is [idempotent](Idempotency) or provably was not processed; attempts are left; the body can be
//!    [replayed](ReplayBody); the wait fits the deadline; the [`Budget`] grants a token. The budget comes last, so that
//!    no token is spent on a retry that another condition forbids.
//!
//!    **Transparent retry** (gRPC proposal A6). An established connection can give a request back: it refuses the
//!    stream, sends GOAWAY, or closes before the write. Such a request is sent again at once if it is idempotent or
//!    provably was not processed. This costs no token, no attempt and no wait, and happens once per call; a second time
//!    it is a retry like any other. A server that recycles a connection gives back all of its streams at once, and
//!    without this rule each of them would cost a token.
//! 2. **The wait** is the server's hint plus jitter, or else the [`Backoff`]. A hint above
//!    [`max_retry_after`](crate::RetryLayer::max_retry_after), unless it is
//!    [clamped](crate::RetryLayer::clamp_retry_after), or past the deadline ends the retrying at once. The wait leaves
//!    the next attempt at least as much time as the last answer took, so that an answer is never dropped for an attempt
//!    that the deadline would cut.
//! 3. **The failed response is dropped** before the wait. The last attempt moves the request instead of copying it, and
//!    with a single attempt nothing is copied.
//! 4. **The inner service is polled ready** before every attempt, and the instance that was ready is the one that is
//!    called. An error of readiness is final. The first attempt begins when the call is first polled; until then the
//!    call keeps the readiness and sends nothing. A call that has ended holds no resources.
//! 5. **Giving up never fabricates a response.** The caller gets the last response unchanged, or a [`RetryError`] whose
//!    source is the last error. If a retry was made or wanted, a [`RetryReport`] is in the extensions of the response
//!    or in the error.
//! 6. **The deadline** spans attempts and waits and cuts an attempt short. A [`Deadline`] in the extensions of a
//!    request overrides that of the layer. Every HTTP attempt carries its limits as [`Deadline`] and
//!    [`AttemptDeadline`]. A breaker or a classifier inside counts a cut as a timeout of the upstream, for requests of
//!    every type. An HTTP request that still waited for readiness was [not sent](#one-attempt-one-request), and a breaker
//!    does not send it if the service becomes ready at the very moment of the cut. Nor does an inner retry layer whose
//!    wait ends then. Over gRPC a `grpc-timeout` is the deadline of the whole call unless another one is earlier, and
//!    every attempt sends what remains of it.
//! 7. **An open circuit** is not retried unless [`retry_circuit_open`](crate::RetryLayer::retry_circuit_open) is set.
//! 8. **A body** streams at once, and a copy is kept as it passes: see [`ReplayBody`]. There is no retry if the body
//!    failed, or was still being sent when the answer came.
//! 9. **Budgets** are shared by clones, exact, and never overdrawn. A retry that is cancelled before it is sent gives
//!    back what it cost. With [`budget_by`](crate::RetryLayer::budget_by) each tenant or host has its own.
//! 10. **A [`deadline_header`](crate::RetryLayer::deadline_header)** carries in every attempt the time until the
//!     deadline or the end of the attempt, whichever comes first: rounded down, at least one unit, and nothing without
//!     a limit. The same header in the request is a deadline of the whole call.
//! 11. **[`attempt_timeout_by`](crate::RetryLayer::attempt_timeout_by)** is asked once for each send, before anything
//!     is counted or sent. Whatever depends on the attempt timeout uses the value of the current attempt. It is at
//!     least a millisecond.
//! 12. **A [`guard`](crate::RetryLayer::guard)** marks every attempt with its number and with the number of tiers that
//!     may retry it. If an [`InboundRetries`] in the request is a retry, or names more tiers than the guard allows, the
//!     request is sent again only if no server answered it and it provably was not processed; a 429 is an answer. A
//!     transparent retry is still made. Without a guard no mark of a caller is read. [`StopRetries`] marks the answer
//!     of a server whose own call must not be repeated.
//! 13. **Hedges**, if [`hedge`](crate::RetryLayer::hedge) is set. An attempt that is slow gets a second one beside it,
//!     and the first good answer is returned.
//!     - A hedge is an attempt: it counts, has the number after the latest, takes a token, and ends at its own attempt
//!       timeout and the deadline of the call.
//!     - Only an idempotent request without an `Idempotency-Key` is hedged, and never because it was "not processed":
//!       the first attempt may be. While a server acts on the first request with a key, it may answer the second with
//!       409. All of the body must have been read by the first attempt and be kept.
//!     - At most two attempts are in flight. The other one is dropped when a good answer comes, or one that no retry
//!       would improve. A failure that is worth a retry waits for the other attempt. If both fail, the later outcome is
//!       settled by the ordinary rules, with the longer hint of both.
//!     - A breaker inside sees the dropped attempt as a call that its caller left: neutral, unless it already ran
//!       longer than [`Abandoned`](crate::breaker::Abandoned) allows, or its deadline has passed.
//!     - No hedge while the budget is empty, while a breaker inside is not closed, once the server has asked to wait or
//!       not to retry, or if the deadline or an outer attempt timeout leaves no time. A hedge that the breaker rejects
//!       at once counts as no attempt and returns its token; so does one whose call ends before the service was ready.
//!       A hedge that waits within the layers inside counts as sent.
//!     - The breaker knows a hedge if it is called in the `call` or the first poll of the layers in between, not behind
//!       a buffer. It is no probe then, and rejected by a breaker that only observes and would be open, too.
//!
//! A server that states whether to retry overrides the class of the outcome, but never makes a request idempotent.
//!
//! # One attempt, one request
//!
//! "Not processed" describes the last request of an attempt. A service inside can turn one request into several, for
//! example a client that follows redirects. Its first request may be processed and the last one refused, and a POST
//! would then be sent twice. Configure the client to follow no redirects, or follow them outside of this layer.
//!
//! A cut attempt that still waited for readiness was not sent. Three rules keep that proof true:
//!
//! - The attempt carries a mark in the extensions of its request. Only a layer that is called with the marked request,
//!   before the `call` of the inner service returns, can report that it was not sent. A call beside the request, for
//!   example for a token, has no mark and proves nothing.
//! - A clone of the extensions removes the proof from both requests.
//! - A request whose body can be cloned has no mark, and neither has one without extensions: with
//!   [`clone_bodies`](crate::RetryLayer::clone_bodies) and [`RetryLayer::new`](crate::RetryLayer::new) a cut attempt
//!   always counts as maybe processed.
//!
//! One case is left: a service that builds a second request by hand from the head alone, without the extensions, for
//! example of a POST without a body, and sends it while the first one waits. Do not send such a copy.
//!
//! # HTTP with a custom classifier
//!
//! [`RetryLayer::new`](crate::RetryLayer::new) accepts requests of every type, so it does not know HTTP: it reads no
//! [`Deadline`], numbers no attempts, leaves no [`RetryReport`], and treats every request as idempotent. For HTTP write
//! `RetryLayer::new_for_http().classifier(yours)`, and add [`clone_bodies`](crate::RetryLayer::clone_bodies) if the
//! inner service expects the caller's own body type.
//!
//! # Functions
//!
//! [`call`] retries an async closure and [`call_blocking`] any closure, without a runtime. They follow the same rules
//! as a layer made by [`RetryLayer::new`](crate::RetryLayer::new) with the same [`RetryPolicy`], except that a blocking
//! attempt cannot be cut. **Every operation counts as idempotent.** Only a layer has
//! [`budget_by`](crate::RetryLayer::budget_by), [`guard`](crate::RetryLayer::guard) and
//! [`hedge`](crate::RetryLayer::hedge): the first two read the request, and a hedge sends a second one.
//!
//! # Settings that change
//!
//! [`Handle::reconfigure`] gives other settings to a layer or policy while calls use it. A call that has begun keeps
//! those of its start; a budget keeps its tokens.
//!
//! # What an attempt can see
//!
//! HTTP requests from the second attempt on carry an [`Attempt`] in their extensions.
//!
//! # Telemetry
//!
//! Events with the target `tower_rampart::retry`:
//!
//! | event | level | fields |
//! |---|---|---|
//! | every retry and hedge | DEBUG | `name`, `attempt`, `wait_ms`, `hedge`, `reason`, `code`, `method`, `host`, `partition` |
//! | a retry that was wanted and not made | WARN, one line a second for each `name` and `kind` | `name`, `kind`, `attempts`, `reason`, `code`, `method`, `host`, `partition`, `count` |
//! | a [reconfiguration](Handle::reconfigure) that changes something | INFO | `name`, `changes`: the names of the settings |
//! | keys share [budgets](crate::RetryLayer::budget_by), as all partitions are in use | WARN, at most once a minute | `name`, `max_partitions`, `calls` |
//!
//! `count` is the number of give-ups since the last line of that kind; the other fields describe the latest one. A call
//! that succeeds at once, or whose failure is not worth a retry, logs nothing. No event contains a path, a query or a
//! header, except for the [label](crate::RetryLayer::partition_label) of the partition.
//!
//! # Runtime
//!
//! Waits and limits need tokio's time driver (`enable_time`). Without it a call panics before anything is sent, with
//! tokio's message that explains the setting. A layer with a single attempt and no limit needs no timer.

mod budgets;
mod call;
mod config;
mod error;
mod function;
mod future;
mod handle;
mod headers;
mod hedge;
mod layer;
mod observe;
mod outcome;
mod policy;
mod replay;
mod retry_policy;
mod service;
mod settings;
mod spans;

pub use self::error::{RetryError, TimedOut};
pub use self::function::{CallFuture, RetryExt, call, call_blocking};
pub use self::future::ResponseFuture;
pub use self::handle::Handle;
pub use self::headers::{DeadlineHeader, InboundRetries, RetryGuard, StopRetries};
pub use self::hedge::{Hedge, HedgedResponseFuture, HedgedRetry};
pub use self::layer::{HedgedRetryLayer, RetryLayer};
pub use self::observe::{AttemptReport, AttemptSpans, GiveUpEvent, OnGiveUp, OnRetry, Report, RetryEvent, RetryReport};
pub use self::outcome::Outcome;
pub use self::policy::{AlwaysIdempotent, Budget, GiveUp, GrpcIdempotency, HttpIdempotency, Idempotency};
pub use self::replay::{CloneBodies, CloneRequests, KeptClone, KeptRequest, Replay, ReplayBodies, ReplayBody};
pub use self::retry_policy::{RetryIf, RetryPolicy};
pub use self::service::Retry;
pub use self::settings::RetrySettings;
pub use crate::backoff::{Backoff, Jitter, Waits};
pub use crate::call::attempt::Attempt;
pub use crate::call::deadline::{AttemptDeadline, Deadline};
pub use crate::settings::changes::Changes;
