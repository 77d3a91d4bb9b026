use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, nanos};
use crate::invalid_setting::{InvalidSetting, ensure, valid};

/// One token in millionths. Integers keep 0.6 exact and lose nothing to rounding.
const TOKEN: u64 = 1_000_000;

/// The same limit as in Finagle. It catches mistakes such as a percentage of 2000.
const MAX_RATIO: f64 = 1_000.0;

const DEFAULT_TTL: Duration = Duration::from_secs(2);

/// A deposit into a full budget reads the clock at most once in so many calls.
const CALLS_BETWEEN_CLOCKS: u64 = 256;

/// Limits the share of retries among all calls, so that retries do not overload a failing upstream.
///
/// A token bucket: every call deposits a fraction of a token, and every retry withdraws a whole one; with less than one left
/// there is no retry. Over time, `Budget::ratio(0.2)` allows one retry for every five calls, whatever the maximum of
/// attempts. A retry that was granted and then cancelled does not return its token.
///
/// | | default | |
/// |---|---|---|
/// | [`reserve`](Self::reserve) | 10 tokens | the tokens at the start, for clients that have made few calls yet |
/// | [`ttl`](Self::ttl) | 2 seconds | how long tokens last, so that what a fleet saved in quiet hours does not feed a storm |
/// | [`capacity`](Self::capacity) | 100 tokens | the most tokens |
///
/// Tokens expire because savings are what makes a storm: 2,000 processes that each saved ten tokens send 20,000 retries at
/// once. With a time to live a client that makes 100 calls a second can retry 40 at once, and one that makes a single call
/// a second can retry one.
///
/// Expired tokens are dropped at the next retry. How fast the rest came is known only as an average since the last one, or
/// since the last few hundred calls: so a client that called often and then falls silent loses its savings a little late.
///
/// The design is that of Finagle's `RetryBudget` (a fifth of the calls, tokens that expire) and of gRPC proposal A6,
/// "throttling retry attempts" (starts with 10). Unlike theirs it reads no clock on a call that succeeds. `docs/DEFAULTS.md`
/// shows what other values cost.
///
/// Clones share the tokens: give clones of one budget to all the layers that call the same upstream.
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
    bucket: Option<Arc<Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    /// The deposit of every call, in millionths of a token.
    deposit: u64,
    capacity: u64,
    ttl: Duration,
    /// Can exceed the capacity: what is above it cannot be withdrawn, and only shows how many calls there were.
    balance: AtomicU64,
    clock: Clock,
    /// When tokens expired last, in nanoseconds. 0 before the first call.
    expired_at: AtomicU64,
    /// The balance after that.
    survivors: AtomicU64,
}

impl Budget {
    /// Allows this many retries for every call, over time: 0.2 is one retry for every five calls.
    ///
    /// The ratio is rounded to millionths. With 0 only the reserve can be spent.
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
        ensure!((0.0..=MAX_RATIO).contains(&ratio), "Budget: the ratio must be from 0 to {MAX_RATIO}, but is {ratio}");
        // Checked to be in range above. Rounded because 0.6 has no exact binary form.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let deposit = (ratio * TOKEN as f64).round() as u64;
        Ok(Self::new(Bucket::new(deposit, 100 * TOKEN, 10 * TOKEN, DEFAULT_TTL)))
    }

    /// Allows every retry.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { bucket: None }
    }

    /// Sets the tokens at the start, and raises the capacity to hold them if it is smaller. They expire as all others do,
    /// from the first call on.
    ///
    /// Earlier clones keep their own tokens and do not share with the result.
    #[must_use]
    pub fn reserve(self, tokens: u32) -> Self {
        self.changed(|bucket| {
            let balance = u64::from(tokens) * TOKEN;
            Bucket::new(bucket.deposit, bucket.capacity.max(balance), balance, bucket.ttl)
        })
    }

    /// Sets the most tokens that the budget holds, and lowers the reserve if it is larger.
    ///
    /// Earlier clones keep their own tokens and do not share with the result.
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
        ensure!(tokens > 0, "Budget: the capacity must be at least 1 token, but is {tokens}");
        Ok(self.changed(|bucket| {
            let capacity = u64::from(tokens) * TOKEN;
            let balance = bucket.balance().min(capacity);
            Bucket::new(bucket.deposit, capacity, balance, bucket.ttl)
        }))
    }

    /// Sets how long tokens last on average. A budget without retries keeps what the calls of this time deposit, and at
    /// least one token. [`Duration::MAX`] keeps them for ever.
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
        self.changed(|bucket| {
            let balance = bucket.balance();
            Bucket::new(bucket.deposit, bucket.capacity, balance, ttl)
        })
    }

    /// Returns the tokens that are left, or `None` if the budget is unlimited. For monitoring: it may change at any moment.
    /// Tokens that have expired are in it until the next retry drops them.
    #[must_use]
    pub fn balance(&self) -> Option<f64> {
        self.bucket.as_ref().map(|bucket| bucket.balance() as f64 / TOKEN as f64)
    }

    /// Called once at the start of each call.
    pub(in crate::retry) fn deposit(&self) {
        if let Some(bucket) = &self.bucket {
            bucket.deposit();
        }
    }

    /// Takes a token for a retry. Returns false if less than one is left.
    pub(in crate::retry) fn withdraw(&self) -> bool {
        self.bucket.as_ref().is_none_or(|bucket| bucket.withdraw())
    }

    fn new(bucket: Bucket) -> Self {
        Self { bucket: Some(Arc::new(bucket)) }
    }

    fn changed(self, change: impl FnOnce(&Bucket) -> Bucket) -> Self {
        match &self.bucket {
            Some(bucket) => Self::new(change(bucket)),
            None => self,
        }
    }
}

impl Default for Budget {
    /// One retry for every five calls.
    fn default() -> Self {
        Self::ratio(0.2)
    }
}

// Relaxed, because the balance is one word and guards no other memory. The other words only say how many tokens expire.
impl Bucket {
    fn new(deposit: u64, capacity: u64, balance: u64, ttl: Duration) -> Self {
        Self {
            deposit,
            capacity,
            ttl,
            balance: AtomicU64::new(balance),
            clock: Clock::start(),
            expired_at: AtomicU64::new(0),
            survivors: AtomicU64::new(balance),
        }
    }

    fn deposit(&self) {
        // The reserve does not age before there are calls.
        if self.expired_at.load(Ordering::Relaxed) == 0 {
            self.expired_at.store(self.now(), Ordering::Relaxed);
        }
        if self.deposit > 0 && self.balance.fetch_add(self.deposit, Ordering::Relaxed) >= self.highest() {
            self.expire();
        }
    }

    fn withdraw(&self) -> bool {
        let passed = self.now().saturating_sub(self.expired_at.load(Ordering::Relaxed));
        if passed > nanos(self.ttl) {
            self.expire();
        }
        let take = |balance: u64| balance.min(self.capacity).checked_sub(TOKEN);
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn balance(&self) -> u64 {
        self.balance.load(Ordering::Relaxed).min(self.capacity)
    }

    /// The balance at which a deposit expires old tokens: so far above the capacity that few deposits read the clock.
    fn highest(&self) -> u64 {
        self.capacity + self.capacity.max(CALLS_BETWEEN_CLOCKS * self.deposit)
    }

    /// Drops the tokens that have outlived their time.
    fn expire(&self) {
        let (now, last) = (self.now(), self.expired_at.load(Ordering::Relaxed));
        if self.expired_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            // Another thread does it.
            return;
        }
        let survivors = self.survivors.load(Ordering::Relaxed);
        let passed = now.saturating_sub(last) as f64 / self.ttl.as_nanos() as f64;
        let left = |balance: u64| left_of(balance, survivors, passed).min(self.capacity);
        let before = self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| Some(left(balance)));
        self.survivors.store(before.map_or(0, left), Ordering::Relaxed);
    }

    /// Never 0.
    fn now(&self) -> u64 {
        self.clock.now().nanos().max(1)
    }
}

/// Returns what is left of a balance. `survivors` were left the last time; the rest was deposited evenly since then, while
/// `passed` times to live went by. Tokens expire at random after one time to live on average, so that those of a fleet do
/// not expire together. The last token stays.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Positive, and at most the balance.
fn left_of(balance: u64, survivors: u64, passed: f64) -> u64 {
    let old = survivors.min(balance) as f64;
    let new = balance as f64 - old;
    let expired = -(-passed).exp_m1();
    // After no time the quotient is NaN, of which `min` keeps all. With no time to live all is NaN, which ends as one token.
    let left = old * (1.0 - expired) + (new * expired / passed).min(new);
    (left as u64).max(TOKEN).min(balance)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;
    use std::thread;

    use super::*;

    fn drained(ratio: f64) -> Budget {
        Budget::ratio(ratio).reserve(0)
    }

    #[test]
    fn six_tenths_are_exactly_three_retries_for_five_calls() {
        for (ratio, calls, retries) in [(0.6, 5, 3), (0.1, 10, 1), (0.2, 5, 1), (0.3, 10, 3), (0.7, 10, 7), (2.5, 2, 5)]
        {
            let budget = drained(ratio);
            for round in 0..10_000 {
                (0..calls).for_each(|_| budget.deposit());
                let granted = (0..calls * 3).filter(|_| budget.withdraw()).count();
                assert_eq!(granted, retries, "ratio {ratio}, round {round}");
            }
            assert_eq!(budget.balance(), Some(0.0));
        }
    }

    #[test]
    fn starts_with_the_reserve_and_holds_no_more_than_the_capacity() {
        let budget = Budget::ratio(0.5);
        assert_eq!(budget.balance(), Some(10.0));
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!(budget.balance(), Some(100.0));
        assert_eq!((0..1_000).filter(|_| budget.withdraw()).count(), 100);

        assert_eq!(Budget::ratio(0.5).reserve(300).balance(), Some(300.0));
        let small = Budget::ratio(0.5).reserve(300).capacity(2);
        assert_eq!(small.balance(), Some(2.0));
        small.deposit();
        assert_eq!(small.balance(), Some(2.0));

        // A deposit that would overflow the capacity is capped.
        let brim = drained(0.7).capacity(1);
        (0..2).for_each(|_| brim.deposit());
        assert_eq!(brim.balance(), Some(1.0));
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_of_a_bucket_that_starts_full_expire() {
        for (ttl, left) in [(Duration::ZERO, 1), (Duration::from_secs(1), 1), (Duration::MAX, 100)] {
            let budget = Budget::ratio(0.2).reserve(100).ttl(ttl);
            for _ in 0..20 {
                budget.deposit();
                tokio::time::advance(Duration::from_millis(500)).await;
            }
            assert_eq!((0..1_000).filter(|_| budget.withdraw()).count(), left, "{ttl:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn steady_calls_keep_what_one_time_to_live_deposits() {
        // 100 calls a second deposit 20 tokens. Retries once in 1.1 s, so that tokens expire with each, change little.
        let budget = Budget::ratio(0.2).ttl(Duration::from_secs(1));
        for call in 1..=10_000 {
            budget.deposit();
            tokio::time::advance(Duration::from_millis(10)).await;
            if call % 110 == 0 {
                assert!(budget.withdraw());
                let balance = budget.balance().unwrap();
                assert!(call < 1_000 || (16.0..20.0).contains(&balance), "{balance} after {call} calls");
            }
        }
    }

    #[test]
    fn old_tokens_decay_and_new_ones_came_evenly() {
        let left =
            |balance: u64, survivors: u64, passed: f64| left_of(balance * TOKEN, survivors * TOKEN, passed) / TOKEN;
        assert_eq!(left(100, 100, 1.0), 36, "1/e of the old");
        assert_eq!(left(100, 0, 1.0), 63, "1 - 1/e of the new");
        assert_eq!(left(100, 0, 10.0), 9);
        assert_eq!([left(100, 0, 1e9), left(0, 0, 1e9), left(3, 50, 1e9)], [1, 0, 1]);
        assert_eq!([left(100, 0, 0.0), left(100, 50, 1e-20)], [100, 100], "no time has passed");
        assert_eq!([left(100, 0, f64::INFINITY), left(100, 50, f64::NAN)], [1, 1], "no time to live");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_budget_expires_when_its_traffic_stops() {
        // Calls in a second, then calls a second for an hour, then silence.
        for (burst, then, silence, left) in
            [(500, 1, 0, 1), (500, 0, 36_000, 1), (100_000, 1, 0, 1), (100_000, 0, 36_000, 1), (100, 100, 0, 39)]
        {
            let budget = Budget::ratio(0.2);
            for calls in [burst].into_iter().chain([then; 3_600]) {
                for _ in 0..calls {
                    budget.deposit();
                    tokio::time::advance(Duration::from_secs(1) / calls).await;
                }
                if calls == 0 {
                    tokio::time::advance(Duration::from_secs(1)).await;
                }
            }
            tokio::time::advance(Duration::from_secs(silence)).await;
            let granted = (0..1_000).filter(|_| budget.withdraw()).count();
            assert!(granted.abs_diff(left) <= left / 4, "{burst}, {then} a second, {silence} s: {granted}");
        }
    }

    #[test]
    fn a_full_budget_of_any_size_never_overflows() {
        for budget in [Budget::ratio(1_000.0).capacity(1), Budget::ratio(1_000.0).reserve(u32::MAX), Budget::ratio(0.0)]
        {
            let before = budget.balance();
            (0..100_000).for_each(|_| budget.deposit());
            let bucket = budget.bucket.as_ref().unwrap();
            assert!(bucket.balance.load(Ordering::Relaxed) <= bucket.highest() + bucket.deposit);
            assert_eq!(budget.balance(), before.map(|before| before.max(f64::from(bucket.deposit > 0))));
        }
    }

    #[test]
    fn a_ratio_of_zero_leaves_the_reserve() {
        let budget = Budget::ratio(0.0).reserve(2);
        (0..100).for_each(|_| budget.deposit());
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 2);
    }

    #[test]
    fn clones_share_and_unlimited_is_unlimited() {
        let budget = drained(1.0);
        let clone = budget.clone();
        clone.deposit();
        assert!(budget.withdraw());
        assert!(!clone.withdraw());

        let unlimited = Budget::unlimited().reserve(1).capacity(1);
        assert!((0..1_000).all(|_| unlimited.withdraw()));
        assert_eq!(unlimited.balance(), None);
    }

    #[test]
    fn sixty_four_racing_threads_never_overdraw_it() {
        const THREADS: u32 = 64;
        const CALLS: u32 = 500;
        let budget = Budget::ratio(0.6).reserve(7).capacity(u32::MAX);
        let granted = AtomicU32::new(0);
        let start = Barrier::new(THREADS as usize);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..CALLS {
                        budget.deposit();
                        // More than is ever deposited, so that threads race for an empty bucket.
                        let wins = (0..2).filter(|_| budget.withdraw()).count();
                        granted.fetch_add(u32::try_from(wins).unwrap(), Ordering::Relaxed);
                    }
                });
            }
        });
        // Every deposit was withdrawn or is still in the bucket.
        let put_in = u64::from(THREADS * CALLS) * 600_000 + 7 * TOKEN;
        let balance = budget.bucket.as_ref().unwrap().balance.load(Ordering::Relaxed);
        assert_eq!(u64::from(granted.load(Ordering::Relaxed)) * TOKEN + balance, put_in);
    }

    #[test]
    #[should_panic(expected = "the ratio must be from 0 to 1000, but is NaN")]
    fn a_ratio_that_is_no_number_panics() {
        let _ = Budget::ratio(f64::NAN);
    }

    #[test]
    #[should_panic(expected = "the ratio must be from 0 to 1000, but is -0.1")]
    fn a_negative_ratio_panics() {
        let _ = Budget::ratio(-0.1);
    }

    #[test]
    #[should_panic(expected = "the capacity must be at least 1 token, but is 0")]
    fn no_capacity_panics() {
        let _ = Budget::ratio(0.1).capacity(0);
    }
}
