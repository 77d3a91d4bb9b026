//! Runs the real layers of `tower-rampart`, or those of others, through a storm on paused time.
//!
//! A [`Load`] of many processes calls one [`Upstream`] through a stack that each process has for itself. Only the
//! upstream is a model: servers with a bounded queue in front of them, and [`Episode`]s in which they are slow, down or
//! failing. The [`Report`] says second by second what was called, sent, answered and rejected.
//!
//! ```
//! use std::time::Duration;
//!
//! use rampart_sim::{Episode, Latency, Load, Upstream, simulate};
//! use tower::ServiceBuilder;
//! use tower_rampart::{CircuitBreakerLayer, RetryLayer};
//!
//! let load = Load::open(50, 1.0).lasting(Duration::from_secs(30));
//! let upstream = Upstream::new(10, Latency::Fixed(Duration::from_millis(100)))
//!     .queue(300)
//!     .episode(Episode::slow(20.0).between(Duration::from_secs(10), Duration::from_secs(20)));
//! let stack = |process: rampart_sim::Process| {
//!     ServiceBuilder::new()
//!         .layer(RetryLayer::new_for_http().seed(process.seed).attempt_timeout(Duration::from_secs(1)))
//!         .layer(CircuitBreakerLayer::new_for_http().seed(process.seed))
//!         .service(process.upstream)
//! };
//! let report = simulate(stack, &load, &upstream, 7);
//! assert_eq!(report.calls, report.good + report.failed + report.rejected);
//! ```
//!
//! - An upstream can [call a further one](Upstream::calling) through stacks of its own, as tiers do; the report then
//!   has one of that tier inside.
//! - [`Load::trace`] replays recorded calls; [`Load::closed`] waits for answers; [`Load::tenants`] gives the calls
//!   tenants.
//! - [`Process::watch`] reports when breakers open and close.
//! - [`simulate_with`] reports its progress.
//!
//! The same seed gives the same report, byte for byte, if the stack draws everything random from [`Process::seed`].
//!
//! Times of the simulation are exact to a millisecond, as tokio's timers are.

#[cfg(doctest)]
#[doc = include_str!("../../docs/STORMS.md")]
struct Page;

mod assert;
mod contention;
pub mod lint;
pub mod replay;
mod report;
mod run;
pub mod scenario;
mod upstream;

pub use self::assert::assert_recovers;
pub use self::contention::{Contended, contend};
pub use self::report::{Latencies, Report, Second, TenantCalls};
pub use self::run::load::{Arrivals, Load};
pub use self::run::process::Process;
pub use self::run::simulate::{Progress, simulate, simulate_with};
pub use self::upstream::{Answer, Episode, Latency, Server, Upstream, UpstreamError};
