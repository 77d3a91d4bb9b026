//! Hedging: a second attempt beside one that is slow.
//!
//! [`HedgedRetry`] has a future of its own, so that a layer without hedging pays nothing. Both futures are an
//! [`Attempts`], which differ in what is in flight in its state `Calling`: here a [`Pair`]. A [`Race`] is one poll of it,
//! with the call around it, and ends with the outcome of one attempt:
//!
//! ```text
//!                pending           the delay is over       the service is ready
//!   Undecided ────────────► DueAt ───────────────────► Granted ─────────────────► Sent
//!                             │   a rule forbids it,      │   the breaker rejects    │
//!                             │   or the budget is empty  │   it: not counted        │
//!                             └────────────► Over ◄───────┴──────────────────────────┘
//!                                                                  an attempt ends the race
//! ```
//!
//! The attempts are polled in turn, the first one first. [`Pace`] is the delay, and [`Histogram`] what it is computed
//! from. [`HedgeToken`] is what a hedge took from the budget.
//!
//! *Why the breaker decides whether it is closed:* only it knows at the moment of the hedge, and a call in flight knows
//! nothing of it. It is asked as for any call, and never makes a hedge a probe.
//!
//! *Why a failure does not send the hedge at once:* gRPC proposal A6 sends the next hedge when an attempt fails. Here
//! the backoff, the hint and the budget of a retry decide what follows a failure, so that a server that fails fast is
//! not hedged without a wait.
//!
//! *Why losers count in the histogram:* otherwise the slow attempts would be missing, and the delay would shrink with
//! every hedge. They took longer than the delay, which is all that a quantile asks.
//!
//! [`Attempts`]: super::future::Attempts
//! [`Pair`]: self::pair::Pair
//! [`Race`]: self::race::Race
//! [`Histogram`]: self::histogram::Histogram
//! [`HedgeToken`]: super::policy::HedgeToken

mod call;
mod future;
mod histogram;
mod pace;
mod pair;
mod race;
mod service;
mod setting;
mod slot;

pub use self::future::HedgedResponseFuture;
pub(in crate::retry) use self::pace::Pace;
pub use self::service::HedgedRetry;
pub use self::setting::Hedge;
