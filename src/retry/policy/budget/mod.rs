//! Budgets: how many retries all calls together may make. `kind` has a file for each way to decide.
//!
//! A call reports to its budget through an [`Account`]:
//!
//! ```text
//!            first attempt            granted                 sent
//!   Closed ────────────────► Active ──────────► Waiting ────────────► Retrying
//!      ▲                       │        ▲          │ dropped             │ │
//!      │   success or the end  │        └──────────│─── failed again ────┘ │
//!      └───────────────────────┴───────────────────┴───────────────────────┘
//! ```
//!
//! A call that is dropped in `Waiting` gives back what its retry cost, because that retry was never sent.

mod account;
mod bucket;
mod hedge_token;
mod kind;
#[cfg(all(test, rampart_loom))]
mod loom;
#[cfg(all(test, not(rampart_loom)))]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub(in crate::retry) use self::account::Account;
pub(in crate::retry) use self::bucket::Bucket;
pub(in crate::retry) use self::hedge_token::{HedgeToken, Source};
pub(in crate::retry) use self::kind::Kind;
use self::kind::{Aws, Concurrent, Grpc, Ratio, Settings, ratio};
use crate::settings::invalid_setting::{InvalidSetting, ensure, valid};
use crate::sync::{Mutex, lock};

/// Limits the share of retries among all calls, so that retries do not overload a failing upstream.
///
/// | kind | allows a retry while | for example in |
/// |---|---|---|
/// | [`ratio`](Self::ratio), the default | there is a token; each call deposits a fraction of one | Finagle, tower, linkerd |
/// | [`grpc`](Self::grpc) | failures are few beside successes | gRPC proposal A6 |
/// | [`aws_standard`](Self::aws_standard) | there are tokens; successes pay back | the "standard" retry mode of the AWS SDKs |
/// | [`concurrent`](Self::concurrent) | retries are a small part of the calls in progress | Envoy |
/// | [`unlimited`](Self::unlimited) | always | |
///
/// Clones share the tokens: give clones of one budget to all the layers that call the same upstream. A
/// [`Handle`](crate::retry::Handle::reconfigure) of one of these changes the settings for all of them. To give each
/// tenant or host its own, see [`budget_by`](crate::RetryLayer::budget_by). A retry that is cancelled before it is sent
/// gives back what it cost. A first attempt is never rejected.
///
/// The settings [`reserve`](Self::reserve), [`capacity`](Self::capacity), [`ttl`](Self::ttl) and
/// [`min_per_second`](Self::min_per_second) belong to `ratio`; budgets of other kinds ignore them.
///
/// ```
/// use tower_rampart::retry::Budget;
///
/// let budget = Budget::ratio(0.2).reserve(3);
/// assert_eq!(budget.balance(), Some(3.0));
/// let shared = budget.clone();
/// # let _ = shared;
/// ```
#[derive(Clone, Debug)]
pub struct Budget {
    // None for an unlimited budget.
    limited: Option<Arc<Limited>>,
}

#[derive(Debug)]
struct Limited {
    kind: Kind,
    /// Those that it was made with.
    written: Settings,
    /// Held while the settings change, so that those of two changes do not mix.
    changing: Mutex<()>,
}

impl Budget {
    /// Allows this many retries for every call, over time: 0.2 is one retry for every five calls.
    ///
    /// A token bucket: every call deposits a fraction of a token, and every retry withdraws a whole one; with less than
    /// one left there is no retry. The ratio is exact and rounded to millionths. With 0 only the reserve can be spent.
    ///
    /// | | default | |
    /// |---|---|---|
    /// | [`reserve`](Self::reserve) | 10 tokens | the tokens at the start, for clients that have made few calls yet |
    /// | [`ttl`](Self::ttl) | 2 seconds | how long tokens last, so that what a fleet saved in quiet hours does not feed a storm |
    /// | [`capacity`](Self::capacity) | 100 tokens | the most tokens |
    /// | [`min_per_second`](Self::min_per_second) | none | the retries a second of a client that makes few calls |
    ///
    /// Tokens expire because savings are what makes a storm: 2,000 processes that each saved ten tokens send 20,000
    /// retries at once. With a time to live a client that makes 100 calls a second can retry 40 to 80 at once, and one
    /// that makes a single call a second can retry one.
    ///
    /// Tokens expire when a retry asks for one, and once in 64 calls. In between no call says when it came, so the
    /// tokens of up to 64 calls count as spread evenly over the time since: a few may stay a little longer, or expire a
    /// little early.
    ///
    /// The design is that of Finagle's `RetryBudget` (a fifth of the calls, tokens that expire) and of gRPC proposal
    /// A6, "throttling retry attempts" (starts with 10). Unlike Finagle's it does not read the clock on every call, but
    /// on the first one, once in 64, and for each retry. `docs/DEFAULTS.md` shows what other values cost.
    ///
    /// # Panics
    ///
    /// If the ratio is not a number from 0 to 1000.
    #[must_use]
    #[track_caller]
    pub fn ratio(ratio: f64) -> Self {
        valid(Self::try_ratio(ratio))
    }

    /// [`ratio`](Self::ratio), with an error in place of a panic.
    pub fn try_ratio(ratio: f64) -> Result<Self, InvalidSetting> {
        Ratio::try_new(ratio).map(Kind::Ratio).map(Self::new)
    }

    /// Throttles retries as gRPC does ([proposal A6], "throttling retry attempts", `maxTokens` and `tokenRatio`).
    ///
    /// Starts with `max_tokens`. Every attempt that fails in a way that is worth a retry, or that the server answers
    /// with "do not retry", takes one token; every success gives `token_ratio` of one. Retries are made only while more
    /// than half of `max_tokens` are left. The ratio counts to three decimal places; further ones are ignored.
    ///
    /// Nothing is taken for the retry itself, so a cancelled one has nothing to give back.
    ///
    /// ```
    /// use tower_rampart::retry::Budget;
    ///
    /// // The values of the proposal's example.
    /// let budget = Budget::grpc(10, 0.1);
    /// assert_eq!(budget.balance(), Some(10.0));
    /// ```
    ///
    /// # Panics
    ///
    /// If `max_tokens` is not from 1 to 1000, or the ratio is not from 0.001 to 1000.
    ///
    /// [proposal A6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs
    #[must_use]
    #[track_caller]
    pub fn grpc(max_tokens: u32, token_ratio: f64) -> Self {
        valid(Self::try_grpc(max_tokens, token_ratio))
    }

    /// [`grpc`](Self::grpc), with an error in place of a panic.
    pub fn try_grpc(max_tokens: u32, token_ratio: f64) -> Result<Self, InvalidSetting> {
        Grpc::try_new(max_tokens, token_ratio).map(Kind::Grpc).map(Self::new)
    }

    /// The retry quota of the AWS SDKs in their ["standard" retry mode][mode]: 500 tokens; a retry costs 5, or 10 after
    /// a timeout. A success after retries gives back what its last retry cost, and a success without retries gives one
    /// token.
    ///
    /// The quota allows 100 retries at once and then about one retry for five calls that succeed at once.
    ///
    /// ```
    /// use tower_rampart::retry::Budget;
    ///
    /// assert_eq!(Budget::aws_standard().balance(), Some(500.0));
    /// ```
    ///
    /// [mode]: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
    #[must_use]
    pub fn aws_standard() -> Self {
        Self::new(Kind::Aws(Aws::new()))
    }

    /// Allows as many retries at once as `percent` of the calls in progress, and always `minimum`: the [retry budget of
    /// Envoy][envoy], whose defaults are 20 and 3.
    ///
    /// A call is in progress from its first attempt until it ends, its waits included. A retry is in progress from the
    /// moment it is granted, its wait included, until its attempt ends. Fractions of a retry do not count.
    ///
    /// This budget has no memory: a client that makes many calls at once retries a share of them, whatever it did
    /// before. Each call changes one atomic word twice, also when it succeeds at once; the other kinds cost less.
    ///
    /// ```
    /// use tower_rampart::retry::Budget;
    ///
    /// // The defaults of Envoy. While no call is in progress, three retries could begin.
    /// assert_eq!(Budget::concurrent(20.0, 3).balance(), Some(3.0));
    /// ```
    ///
    /// # Panics
    ///
    /// If `percent` is not a number from 0 to 100.
    ///
    /// [envoy]: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/circuit_breaker.proto#config-cluster-v3-circuitbreakers-thresholds-retrybudget
    #[must_use]
    #[track_caller]
    pub fn concurrent(percent: f64, minimum: u32) -> Self {
        valid(Self::try_concurrent(percent, minimum))
    }

    /// [`concurrent`](Self::concurrent), with an error in place of a panic.
    pub fn try_concurrent(percent: f64, minimum: u32) -> Result<Self, InvalidSetting> {
        Concurrent::try_new(percent, minimum).map(Kind::Concurrent).map(Self::new)
    }

    /// Allows every retry.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { limited: None }
    }

    /// Sets the tokens at the start, and raises the capacity to hold them if it is smaller. They expire as all others
    /// do, from the first call on. Default: 10.
    ///
    /// Earlier clones keep their own tokens and do not share with the result.
    ///
    /// ```
    /// use tower_rampart::retry::Budget;
    ///
    /// assert_eq!(Budget::ratio(0.2).reserve(500).balance(), Some(500.0));
    /// ```
    #[must_use]
    pub fn reserve(self, tokens: u32) -> Self {
        self.changed(|ratio| ratio.reserve(tokens))
    }

    /// Sets the most tokens that the budget holds, and lowers the reserve if it is larger. Default: 100.
    ///
    /// Earlier clones keep their own tokens and do not share with the result.
    ///
    /// ```
    /// use tower_rampart::retry::Budget;
    ///
    /// assert_eq!(Budget::ratio(0.2).capacity(5).balance(), Some(5.0));
    /// ```
    ///
    /// # Panics
    ///
    /// If it is 0. For no retries at all, set [`max_attempts(1)`](crate::RetryLayer::max_attempts).
    #[must_use]
    #[track_caller]
    pub fn capacity(self, tokens: u32) -> Self {
        valid(self.try_capacity(tokens))
    }

    /// [`capacity`](Self::capacity), with an error in place of a panic.
    pub fn try_capacity(self, tokens: u32) -> Result<Self, InvalidSetting> {
        Ratio::check_capacity(tokens)?;
        Ok(self.changed(|ratio| ratio.capacity(tokens)))
    }

    /// Sets how long tokens last on average. A budget without retries keeps what the calls of one to two such times
    /// deposit, and at least one token. [`Duration::MAX`] keeps them for ever. Default: 2 seconds.
    ///
    /// Earlier clones keep their own tokens and do not share with the result.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::Budget;
    ///
    /// // Retries come from the last minute: for a nightly batch that meets no fleet of its like.
    /// let budget = Budget::ratio(0.2).ttl(Duration::from_secs(60));
    /// # let _ = budget;
    /// ```
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.changed(|ratio| ratio.ttl(ttl))
    }

    /// Sets how many retries a second are allowed beside the ratio, for clients that make few calls.
    ///
    /// A budget with less than `retries` × [`ttl`](Self::ttl) tokens (or `retries`, if the time to live is less than a
    /// second) gains `retries` tokens a second, up to that many, and tokens never expire below it. The capacity limits
    /// this, too. Without this setting a budget gains no token by time, and at least one never expires.
    ///
    /// The `minRetriesPerSec` of Finagle's `RetryBudget` and the `min_per_sec` of tower's `TpsBudget` are the same over
    /// a long time. They start with these tokens, for which this budget has [`reserve`](Self::reserve):
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::Budget;
    ///
    /// // As `TpsBudget::new(Duration::from_secs(10), 10, 0.2)`, the default of tower.
    /// let budget =
    ///     Budget::ratio(0.2).ttl(Duration::from_secs(10)).min_per_second(10).capacity(1_000).reserve(100);
    /// # let _ = budget;
    /// ```
    ///
    /// Earlier clones keep their own tokens and do not share with the result.
    #[must_use]
    pub fn min_per_second(self, retries: u32) -> Self {
        self.changed(|ratio| ratio.min_per_second(retries))
    }

    /// Returns the tokens that are left, or for [`concurrent`](Self::concurrent) the retries that could begin now;
    /// `None` if the budget is unlimited. For monitoring: it may change at any moment. Tokens that have expired are in
    /// it until the next retry drops them.
    #[must_use]
    pub fn balance(&self) -> Option<f64> {
        self.kind().map(Kind::balance)
    }

    /// `None` if it is unlimited.
    #[inline]
    pub(in crate::retry) fn kind(&self) -> Option<&Kind> {
        Some(&self.limited.as_deref()?.kind)
    }

    /// Returns the settings that another budget was made with, if this one has others.
    pub(in crate::retry) fn changed_by(&self, new: &Self) -> Result<Option<Settings>, InvalidSetting> {
        let name = |budget: &Self| budget.kind().map_or("unlimited", Kind::name);
        let (from, to) = (name(self), name(new));
        ensure!(from == to, "budget: cannot change its kind at run time, from {from} to {to}");
        let new = new.limited.as_deref().map(|new| new.written);
        Ok(new.filter(|new| self.kind().is_some_and(|own| own.settings() != *new)))
    }

    /// Changes the settings. A retry that asks meanwhile may be judged by some of the old ones.
    ///
    /// `settle_others` settles the budgets that were made like this one.
    pub(in crate::retry) fn change(&self, settings: Settings, settle_others: impl FnOnce()) {
        let Some(Limited { kind, written: _, changing }) = self.limited.as_deref() else { return };
        let _changing = lock(changing);
        kind.settle();
        settle_others();
        kind.set(settings);
    }

    fn new(kind: Kind) -> Self {
        let written = kind.settings();
        Self { limited: Some(Arc::new(Limited { kind, written, changing: Mutex::new(()) })) }
    }

    /// Makes a new one from the settings that this one was made with, whatever has changed them since.
    fn changed(self, change: impl FnOnce(ratio::Settings) -> ratio::Settings) -> Self {
        match self.limited.as_deref() {
            Some(Limited { written: Settings::Ratio(written), .. }) => {
                Self::new(Kind::Ratio(Ratio::new(change(*written))))
            }
            _ => self,
        }
    }
}

impl Default for Budget {
    /// One retry for every five calls.
    fn default() -> Self {
        Self::ratio(0.2)
    }
}
