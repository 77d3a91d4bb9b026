//! Shall we try at all: one circuit breaker for each upstream, tenant or other key of a request.
//!
//! ```text
//!      a rate or a row of failures reaches its limit, or an outage
//!   ┌────────┐ ─────────────────────────────────────────► ┌──────┐
//!   │ Closed │                                            │ Open │ ◄──────┐
//!   └────────┘                                            └──────┘        │
//!       ▲                                                    │            │ a probe fails, or too many are slow;
//!       │ enough probes succeed      the open time is over,  │            │ or a rate of the ramp reaches its limit
//!       │ (and the ramp is over)     and a call comes        ▼            │
//!       │                                              ┌───────────┐      │
//!       └───────────────────────────────────────────── │ Half-open │ ─────┘
//!                                                      └───────────┘
//! ```
//!
//! A **closed** breaker admits all calls and counts their outcomes in a [`Window`]. When too many of them fail or are
//! slow it **opens**: it rejects calls at once with [`CircuitOpen`], without touching the inner service. After the open
//! time it is **half-open**: it admits a few calls as probes, which either close it or open it again, for longer if so
//! configured.
//!
//! # Rules
//!
//! 1. **Transitions.** A closed breaker opens on a failure rate, a rate of slow calls, consecutive failures or an
//!    outage. After the open time it is half-open: enough successes close it, a failed probe opens it again. It reads
//!    as half-open once the open time is over, also before a call has come: the next call is a probe. A [`Mode`]
//!    overrides all of this.
//! 2. **One settlement.** Every admitted call settles exactly once, whether it returns, fails, panics or is dropped. A
//!    call ends with the head of its response, or [with the body](CircuitBreakerLayer::judge_body) if configured. An
//!    outcome counts only for the period of the state in which its call was admitted: a probe of an earlier outage
//!    closes nothing.
//! 3. **Dropped calls** are neutral, with three exceptions. A dropped call has failed if it ran longer than
//!    [`Abandoned`] allows; if a time limit of a [`RetryLayer`](crate::RetryLayer) around the breaker cut it; or if the
//!    [`Deadline`](crate::retry::Deadline) in the extensions of its HTTP request has passed, for example because
//!    another timeout layer dropped it then. The last two also hold for a call that still waited for the inner service
//!    to be ready. So an upstream that hangs opens a breaker with all defaults under a retry layer with an attempt
//!    timeout. A panic is a failure.
//! 4. **Probes** hold their slots on a lease, and fail at once if a time limit cuts them. No probe that hangs, is slow
//!    or gets lost, no body that is long or dropped early, and no lack of calls keeps a healthy upstream shut out:
//!    - With [`judge_body`](CircuitBreakerLayer::judge_body), a probe whose head was good has succeeded when its body
//!      ends, when its reader drops the body, or when its lease is over while the body still streams. It fails if the
//!      body breaks off before.
//!    - A probe that is [slow](CircuitBreakerLayer::slow_calls) counts as a success and as slow. The breaker opens
//!      again as soon as the slow probes of this half-open period are at least the slow-call rate of the
//!      [`success_threshold`](CircuitBreakerLayer::success_threshold): with a rate of 0.9 at the second slow one of
//!      two.
//!    - A [hedge](crate::RetryLayer::hedge) is never a probe: a breaker that is not closed rejects it.
//!    - A step of a [`ramp`](CircuitBreakerLayer::ramp) ends when enough of its calls have ended, or when its time is
//!      over.
//!    - No timer runs. The call or the outcome that finds a lease or a step over makes the change that is due.
//! 5. **Windows** slide. Every outcome checks the rates, so that a rate of exactly the limit opens the breaker at once.
//!    Beside the window a breaker watches for an [`outage`](CircuitBreakerLayer::outage), so that it need not wait
//!    until most of the window has failed. Why both: a rate that is high enough to leave a brown-out alone is slow to
//!    notice that everything fails, and failures in a row are blind to an upstream that answers now and then.
//! 6. **A rejection is immediate.** It does not call the inner service or take its permit, even if the service is not
//!    ready. A breaker that opens wakes the calls that wait for the inner service, and rejects them. What rejects no
//!    call wakes none.
//! 7. **State lives in the layer.** Its clones, services and handles share it.
//! 8. **The closed path** takes no lock and allocates nothing, and reads the clock only if a setting needs it: a window
//!    of time, slow calls, a limit for abandoned calls, a deadline in the request or nested partitions. A failure also
//!    reads it to tell an outage.
//! 9. **Time** is tokio's: it stands still in a test that pauses the clock.
//! 10. **Every change is reported once**, to the watchers of its breaker, to `tracing` and to the subscribers, by the
//!     thread that made it and outside all locks. A waker or a `tracing` subscriber that panics is caught: neither the
//!     others nor the call that caused the change pay for it.
//! 11. **Settings change at run time** by [`Handle::reconfigure`], all or none of them. State, generation, deadlines,
//!     probes and permits stay, and so do the outcomes that have room in the new window. Nothing opens by the change
//!     itself: the next outcome is the first that is judged by the new settings. An open breaker still names the limit
//!     that opened it. An outcome that is just being recorded counts once, in the window of before or of after; only if
//!     a window of time follows one of calls can its failure show as a success there. What has changed is reported once
//!     to `tracing`.
//!
//! # Rules of nested partitions
//!
//! With [`nested_in`](CircuitBreakerLayer::nested_in) an outer breaker, say of a host, is an ordinary breaker whose
//! window takes votes of the inner ones, say its tenants.
//!
//! 1. **One vote each.** A tenant has one vote, in the bucket of its last counted call; a bucket is a sixteenth to an
//!    eighth of the window, and of a minute for a window of calls. The vote is bad if at least three of the calls in
//!    the tenant's own window have failed (fewer if `minimum_calls` is lower) and they reach its failure rate, or if
//!    its breaker opens. Votes older than the window count no longer.
//! 2. **The share.** The host opens when the share of bad votes reaches the limit, there are enough votes, and at least
//!    three bad ones are of the current bucket. Tenants that call often vote first, so a host that has been closed for
//!    less than its window opens by votes only if all of them are bad, and not within the first two buckets.
//! 3. **The row.** The host also opens when 64 tenants fail in a row without a success of any, and the row has lasted a
//!    quarter of a bucket: tenants that call often can fail together before the others come.
//! 4. **Half-open** it asks each tenant once: one whose own breaker is closed and that has not probed yet in this
//!    half-open period, or has succeeded. Successes of different tenants close it; a good head is enough, also with
//!    `judge_body`. Failures open it again only after half the open time, or a lease if that is shorter, and if the
//!    share of tenants that failed reaches the limit; or if 64 have failed and none has succeeded. That time begins
//!    anew whenever one that has not probed finds no slot.
//! 5. **The others wait** until no newcomer has come for as long: tenants whose own breaker is not closed, and those
//!    whose probe failed, taught nothing or has not ended. Then a tenant alone can close the host, and open it again.
//!
//! The number of partitions is bounded, and a partition is evicted only when nothing is lost: see
//! [`max_partitions`](CircuitBreakerLayer::max_partitions).
//!
//! # Without tower
//!
//! A [`CircuitBreaker`] of its own takes any operation: [`call`](CircuitBreaker::call) a closure,
//! [`call_async`](CircuitBreaker::call_async) one that returns a future, and a [`Permit`] guards a block of code. All
//! count by the rules above. Every call is a first attempt; [`try_acquire_retry`](CircuitBreaker::try_acquire_retry)
//! admits a retry.
//!
//! ```
//! use tower_rampart::breaker::CircuitBreaker;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_rampart::BoxError> {
//! let breaker = CircuitBreaker::builder().name("database").build();
//!
//! let four = breaker.call(|| "4".parse::<u32>())?;
//! let five = breaker.call_async(|| async { "5".parse::<u32>() }).await?;
//!
//! let permit = breaker.try_acquire()?;
//! if four < five { permit.succeed() } else { permit.fail() }
//! assert_eq!(breaker.snapshot().totals.succeeded, 3);
//! # Ok(())
//! # }
//! ```
//!
//! # Telemetry
//!
//! One `tracing` event for each change, with target `tower_rampart::breaker` and the fields `name`, `partition`,
//! `from`, `to`, `mode`, `cause`, `rate` and `calls`: a warning when the breaker opens, information otherwise. One
//! warning, at most every minute, while partitions share a breaker for want of room. Information about each
//! [reconfiguration](Handle::reconfigure): its fields are `name` and `changes`, the names of the settings that changed.
//! No event for a call. When a breaker around others opens because of them, `calls` is the number of votes, and `rate`
//! the share of bad ones.
//!
//! # Where to look
//!
//! `core` is one breaker: a pure state machine, a lock-free window and the packed state that a closed breaker reads. It
//! knows neither the layer nor the other breakers, and reports changes to an observer. `breakers` finds the breaker of
//! a key. `control` is what a user holds. `layer`, `service` and `future` are the tower side; `call` uses the same
//! future without it.

mod breakers;
mod call;
mod changes;
mod config;
mod control;
mod core;
mod flight_recorder;
mod future;
mod layer;
#[cfg(all(test, rampart_loom))]
mod loom;
mod observe;
mod requests;
mod service;
mod state;

pub use self::call::CallFuture;
pub use self::config::Abandoned;
pub use self::control::{
    CircuitBreaker, CircuitOpen, Event, Events, Handle, Permit, Snapshot, Ticket, Totals, Trip, Watch,
};
#[cfg(feature = "status-page")]
pub(crate) use self::control::{address::Address, events::Subscriber};
pub use self::core::Window;
pub use self::flight_recorder::{CountedAs, Decision, ParseRecordingError, Record, Recording};
pub use self::future::ResponseFuture;
pub use self::layer::CircuitBreakerLayer;
pub use self::requests::{AnyRequests, HttpRequests, Requests};
pub use self::service::CircuitBreakerService;
pub use self::state::{Cause, Mode, State};
pub use crate::registry::partition;
pub use crate::settings::changes::Changes;
pub use crate::settings::invalid_setting::InvalidSetting;
