use std::sync::{Arc, atomic};
use std::time::Duration;

use super::cost::Cost;
use crate::clock::{Clock, nanos};
use crate::settings::invalid_setting::{InvalidSetting, ensure};
use crate::sync::{AtomicU64, Ordering};

/// A bucket of tokens that calls fill and retries empty.
#[derive(Debug)]
pub(in crate::retry) struct Ratio {
    /// Shared with the budgets of keys that are made like this one, so that one change reaches all.
    numbers: Arc<Numbers>,
    /// Can exceed the capacity: what is above it cannot be withdrawn, and only shows how many calls there were.
    balance: AtomicU64,
    clock: Clock,
    /// When tokens expired last, in nanoseconds. 0 before the first call.
    expired_at: AtomicU64,
    /// The balance after that.
    survivors: AtomicU64,
    /// The balance at which a deposit looks at the clock.
    look_at: AtomicU64,
    /// When one has looked last, in nanoseconds, and the balance then: so much had been deposited by that time.
    looked_at: AtomicU64,
    seen: AtomicU64,
    /// Until when the minimum a second has been paid, in nanoseconds.
    paid_until: AtomicU64,
}

/// Numbers of tokens are in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::retry) struct Settings {
    /// Of every call.
    deposit: u64,
    capacity: u64,
    reserve: u64,
    /// In nanoseconds; [`FOR_EVER`] if tokens never expire.
    ttl: u64,
    /// Whole tokens.
    min_per_second: u64,
}

/// The current [`Settings`]. A call that reads them during a change may get some of the old ones.
// Not atomics of loom, whose models would take minutes.
#[derive(Debug)]
struct Numbers {
    deposit: atomic::AtomicU64,
    capacity: atomic::AtomicU64,
    reserve: atomic::AtomicU64,
    ttl: atomic::AtomicU64,
    min_per_second: atomic::AtomicU64,
}

/// One token in millionths. Integers keep 0.6 exact and lose nothing to rounding.
const TOKEN: u64 = 1_000_000;
/// A token a second is a millionth of one in this many nanoseconds.
const NANOS_PER_MILLIONTH: u64 = 1_000;

/// The same limit as in Finagle. It catches mistakes such as a percentage of 2000.
const MAX_RATIO: f64 = 1_000.0;

/// A deposit reads the clock once in so many calls.
const CALLS_BETWEEN_CLOCKS: u64 = 64;

const SECOND: u64 = 1_000_000_000;
const DEFAULT_TTL: u64 = 2 * SECOND;
const FOR_EVER: u64 = u64::MAX;

// Relaxed, because the balance is one word and guards no other memory. The other words only say how many tokens expire
// and are paid.
impl Ratio {
    pub(in crate::retry) fn try_new(ratio: f64) -> Result<Self, InvalidSetting> {
        ensure!((0.0..=MAX_RATIO).contains(&ratio), "Budget: the ratio must be from 0 to {MAX_RATIO}, but is {ratio}");
        // Checked to be in range above. Rounded because 0.6 has no exact binary form.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let deposit = (ratio * TOKEN as f64).round() as u64;
        let (capacity, reserve) = (100 * TOKEN, 10 * TOKEN);
        Ok(Self::new(Settings { deposit, capacity, reserve, ttl: DEFAULT_TTL, min_per_second: 0 }))
    }

    pub(in crate::retry) fn check_capacity(tokens: u32) -> Result<(), InvalidSetting> {
        ensure!(tokens > 0, "Budget: the capacity must be at least 1 token, but is {tokens}");
        Ok(())
    }

    /// A new one whose settings change with those of this one.
    pub(in crate::retry) fn renewed(&self) -> Self {
        Self::with(Arc::clone(&self.numbers))
    }

    pub(in crate::retry) fn settings(&self) -> Settings {
        self.numbers.load()
    }

    /// Changes the settings, also of all that were made like this one. [Settle](Self::settle) them first.
    pub(in crate::retry) fn set(&self, settings: Settings) {
        self.numbers.store(settings);
    }

    /// Brings the tokens up to date before the settings change, which hold for the time after it alone.
    pub(in crate::retry) fn settle(&self) {
        let now = self.now();
        // The reserve does not age before there are calls.
        if self.expired_at.load(Ordering::Relaxed) > 0 {
            self.expire(now);
        }
        self.pay(now);
        self.paid_until.fetch_max(now, Ordering::Relaxed);
        let capacity = self.numbers.capacity.load(Ordering::Relaxed);
        self.balance.fetch_min(capacity, Ordering::Relaxed);
        // The next deposit computes it with what a call deposits then.
        self.look_at.store(0, Ordering::Relaxed);
    }

    /// Whether it holds what it began with. What differs in the ages of the tokens is not worth the memory.
    pub(in crate::retry) fn is_as_new(&self) -> bool {
        let Settings { capacity, reserve, .. } = self.settings();
        self.balance.load(Ordering::Relaxed).min(capacity) == reserve
    }

    pub(in crate::retry) fn time_to_live(&self) -> Duration {
        Duration::from_nanos(self.settings().ttl)
    }

    pub(in crate::retry) fn new(settings: Settings) -> Self {
        Self::with(Arc::new(Numbers::new(settings)))
    }

    fn with(numbers: Arc<Numbers>) -> Self {
        let Settings { deposit, reserve, .. } = numbers.load();
        Self {
            numbers,
            balance: AtomicU64::new(reserve),
            clock: Clock::start(),
            expired_at: AtomicU64::new(0),
            survivors: AtomicU64::new(reserve),
            look_at: AtomicU64::new(reserve + CALLS_BETWEEN_CLOCKS * deposit),
            looked_at: AtomicU64::new(0),
            seen: AtomicU64::new(reserve),
            paid_until: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(in crate::retry) fn deposit(&self) {
        // The reserve does not age before there are calls.
        if self.expired_at.load(Ordering::Relaxed) == 0 {
            self.expired_at.store(self.now(), Ordering::Relaxed);
        }
        let deposit = self.numbers.deposit.load(Ordering::Relaxed);
        if deposit > 0 {
            let before = self.balance.fetch_add(deposit, Ordering::Relaxed);
            if before >= self.look_at.load(Ordering::Relaxed) {
                self.look(before);
            }
        }
    }

    /// Expires tokens if it is time to. Without this the calls of a burst would count as spread over the quiet time
    /// before it, because no call says when it came.
    #[cold]
    fn look(&self, balance: u64) {
        let now = self.now();
        if self.is_due(now) || balance >= self.highest() {
            self.expire(now);
        } else {
            self.note_look(now, balance);
        }
    }

    fn note_look(&self, now: u64, balance: u64) {
        self.looked_at.store(now, Ordering::Relaxed);
        self.seen.store(balance, Ordering::Relaxed);
        self.look_at.store(self.next_look(balance), Ordering::Relaxed);
    }

    /// The balance at which the clock is looked at again.
    fn next_look(&self, balance: u64) -> u64 {
        balance + CALLS_BETWEEN_CLOCKS * self.settings().deposit
    }

    /// The balance at which a deposit expires tokens, old or not. Far above the capacity, so that it is reached rarely.
    fn highest(&self) -> u64 {
        let Settings { deposit, capacity, .. } = self.settings();
        capacity + capacity.max(4 * CALLS_BETWEEN_CLOCKS * deposit)
    }

    fn is_due(&self, now: u64) -> bool {
        now.saturating_sub(self.expired_at.load(Ordering::Relaxed)) > self.settings().ttl
    }

    pub(in crate::retry) fn withdraw(&self) -> Option<Cost> {
        let now = self.now();
        if self.is_due(now) {
            self.expire(now);
        }
        self.pay(now);
        let capacity = self.settings().capacity;
        let take = |balance: u64| balance.min(capacity).checked_sub(TOKEN);
        let before = self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        self.look_at.fetch_min(self.next_look(before), Ordering::Relaxed);
        Some(Cost(TOKEN))
    }

    pub(in crate::retry) fn give_back(&self, Cost(cost): Cost) {
        self.add(cost, self.settings().capacity);
    }

    pub(in crate::retry) fn balance(&self) -> f64 {
        self.balance.load(Ordering::Relaxed).min(self.settings().capacity) as f64 / TOKEN as f64
    }

    /// Adds tokens, but none beyond the limit.
    fn add(&self, tokens: u64, limit: u64) {
        let give = |balance: u64| (balance < limit).then(|| balance.saturating_add(tokens).min(limit));
        let _ = self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }

    /// Drops the tokens that have outlived their time.
    fn expire(&self, now: u64) {
        let Settings { capacity, ttl, .. } = self.settings();
        let last = self.expired_at.load(Ordering::Relaxed);
        if self.expired_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            // Another thread does it.
            return;
        }
        let (survivors, seen) = (self.survivors.load(Ordering::Relaxed), self.seen.load(Ordering::Relaxed));
        // Another thread may have read the clock later and been here before.
        let now = now.max(last);
        let looked_at = self.looked_at.load(Ordering::Relaxed).clamp(last, now);
        let ttl = if ttl == FOR_EVER { f64::INFINITY } else { ttl as f64 };
        let [before, since] = [looked_at - last, now - looked_at].map(|passed| passed as f64 / ttl);
        // The last token stays.
        let floor = self.floor().max(TOKEN);
        let left = |balance: u64| {
            let seen = seen.min(balance);
            let left = left_of(seen, survivors, before);
            left_of(left + (balance - seen), left, since).max(floor).min(balance).min(capacity)
        };
        let balance = self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| Some(left(balance)));
        let survivors = balance.map_or(0, left);
        self.survivors.store(survivors, Ordering::Relaxed);
        self.note_look(now, survivors);
    }

    /// Adds what the minimum a second has earned since the last time. Each stretch of time is paid once.
    fn pay(&self, now: u64) {
        let rate = self.settings().min_per_second;
        if rate == 0 {
            return;
        }
        let last = self.paid_until.load(Ordering::Relaxed);
        let earned = now.saturating_sub(last).saturating_mul(rate) / NANOS_PER_MILLIONTH;
        // Time that has earned less than a millionth stays unpaid, so that frequent withdrawals lose nothing.
        let paid_until = last + (earned * NANOS_PER_MILLIONTH).div_ceil(rate);
        if earned > 0
            && self.paid_until.compare_exchange(last, paid_until, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.add(earned, self.floor());
        }
    }

    /// The tokens that the minimum a second fills up to.
    fn floor(&self) -> u64 {
        let Settings { min_per_second, ttl, capacity, .. } = self.settings();
        let floor = ttl.max(SECOND).saturating_mul(min_per_second) / NANOS_PER_MILLIONTH;
        floor.min(capacity)
    }

    /// Never 0.
    fn now(&self) -> u64 {
        self.clock.now().nanos().max(1)
    }
}

impl Settings {
    pub(in crate::retry) fn reserve(self, tokens: u32) -> Self {
        let reserve = u64::from(tokens) * TOKEN;
        Self { reserve, capacity: self.capacity.max(reserve), ..self }
    }

    pub(in crate::retry) fn capacity(self, tokens: u32) -> Self {
        let capacity = u64::from(tokens) * TOKEN;
        Self { capacity, reserve: self.reserve.min(capacity), ..self }
    }

    pub(in crate::retry) fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: nanos(ttl), ..self }
    }

    pub(in crate::retry) fn min_per_second(self, retries: u32) -> Self {
        Self { min_per_second: retries.into(), ..self }
    }
}

impl Numbers {
    fn new(Settings { deposit, capacity, reserve, ttl, min_per_second }: Settings) -> Self {
        let [deposit, capacity, reserve, ttl, min_per_second] =
            [deposit, capacity, reserve, ttl, min_per_second].map(atomic::AtomicU64::new);
        Self { deposit, capacity, reserve, ttl, min_per_second }
    }

    fn load(&self) -> Settings {
        let Self { deposit, capacity, reserve, ttl, min_per_second } = self;
        let [deposit, capacity, reserve, ttl, min_per_second] =
            [deposit, capacity, reserve, ttl, min_per_second].map(|number| number.load(Ordering::Relaxed));
        // A retry that reads a new number must not add or take tokens as if they were not settled yet.
        atomic::fence(Ordering::Acquire);
        Settings { deposit, capacity, reserve, ttl, min_per_second }
    }

    fn store(&self, settings: Settings) {
        // Pairs with that of `load`.
        atomic::fence(Ordering::Release);
        self.deposit.store(settings.deposit, Ordering::Relaxed);
        self.capacity.store(settings.capacity, Ordering::Relaxed);
        self.reserve.store(settings.reserve, Ordering::Relaxed);
        self.ttl.store(settings.ttl, Ordering::Relaxed);
        self.min_per_second.store(settings.min_per_second, Ordering::Relaxed);
    }
}

/// Returns what is left of a balance. `survivors` were left the last time; the rest was deposited evenly since then,
/// while `passed` times to live went by. Tokens expire at random after one time to live on average, so that those of a
/// fleet do not expire together.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Positive, and at most the balance.
fn left_of(balance: u64, survivors: u64, passed: f64) -> u64 {
    let old = survivors.min(balance) as f64;
    let new = balance as f64 - old;
    let expired = -(-passed).exp_m1();
    // After no time the quotient is NaN, of which `min` keeps all. With no time to live all is NaN, which ends as 0.
    (old * (1.0 - expired) + (new * expired / passed).min(new)) as u64
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;
    use std::thread;

    use super::*;
    use crate::retry::Budget;
    use crate::retry::policy::budget::kind::Kind;

    fn drained(ratio: f64) -> Budget {
        Budget::ratio(ratio).reserve(0)
    }

    fn bucket(budget: &Budget) -> &Ratio {
        let Some(Kind::Ratio(ratio)) = budget.kind() else { panic!("{budget:?} is no ratio") };
        ratio
    }

    fn deposit(budget: &Budget) {
        bucket(budget).deposit();
    }

    fn withdraw(budget: &Budget) -> bool {
        bucket(budget).withdraw().is_some()
    }

    #[test]
    fn six_tenths_are_exactly_three_retries_for_five_calls() {
        for (ratio, calls, retries) in [(0.6, 5, 3), (0.1, 10, 1), (0.2, 5, 1), (0.3, 10, 3), (0.7, 10, 7), (2.5, 2, 5)]
        {
            let budget = drained(ratio);
            for round in 0..10_000 {
                (0..calls).for_each(|_| deposit(&budget));
                let granted = (0..calls * 3).filter(|_| withdraw(&budget)).count();
                assert_eq!(granted, retries, "ratio {ratio}, round {round}");
            }
            assert_eq!(budget.balance(), Some(0.0));
        }
    }

    #[test]
    fn starts_with_the_reserve_and_holds_no_more_than_the_capacity() {
        let budget = Budget::ratio(0.5);
        assert_eq!(budget.balance(), Some(10.0));
        (0..10_000).for_each(|_| deposit(&budget));
        assert_eq!(budget.balance(), Some(100.0));
        assert_eq!((0..1_000).filter(|_| withdraw(&budget)).count(), 100);

        assert_eq!(Budget::ratio(0.5).reserve(300).balance(), Some(300.0));
        let small = Budget::ratio(0.5).reserve(300).capacity(2);
        assert_eq!(small.balance(), Some(2.0));
        deposit(&small);
        assert_eq!(small.balance(), Some(2.0));

        // A deposit that would overflow the capacity is capped.
        let brim = drained(0.7).capacity(1);
        (0..2).for_each(|_| deposit(&brim));
        assert_eq!(brim.balance(), Some(1.0));
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_of_a_bucket_that_starts_full_expire() {
        for (ttl, left) in [(Duration::ZERO, 1), (Duration::from_secs(1), 1), (Duration::MAX, 100)] {
            let budget = Budget::ratio(0.2).reserve(100).ttl(ttl);
            for _ in 0..20 {
                deposit(&budget);
                tokio::time::advance(Duration::from_millis(500)).await;
            }
            assert_eq!((0..1_000).filter(|_| withdraw(&budget)).count(), left, "{ttl:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn steady_calls_keep_what_one_time_to_live_deposits() {
        // 100 calls a second deposit 20 tokens. Retries once in 1.1 s, so that tokens expire with each, change little.
        let budget = Budget::ratio(0.2).ttl(Duration::from_secs(1));
        for call in 1..=10_000 {
            deposit(&budget);
            tokio::time::advance(Duration::from_millis(10)).await;
            if call % 110 == 0 {
                assert!(withdraw(&budget));
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
        assert_eq!([left(100, 0, 1e9), left(0, 0, 1e9), left(3, 50, 1e9)], [0, 0, 0]);
        assert_eq!([left(100, 0, 0.0), left(100, 50, 1e-20)], [100, 100], "no time has passed");
        assert_eq!([left(100, 0, f64::INFINITY), left(100, 50, f64::NAN)], [0, 0], "no time to live");
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
                    deposit(&budget);
                    tokio::time::advance(Duration::from_secs(1) / calls).await;
                }
                if calls == 0 {
                    tokio::time::advance(Duration::from_secs(1)).await;
                }
            }
            tokio::time::advance(Duration::from_secs(silence)).await;
            let granted = (0..1_000).filter(|_| withdraw(&budget)).count();
            assert!(granted.abs_diff(left) <= left / 4, "{burst}, {then} a second, {silence} s: {granted}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_can_be_retried_however_long_it_was_quiet_before() {
        for quiet in [1, 60, 3_600] {
            let budget = Budget::ratio(0.2);
            for round in 0..10 {
                for _ in 0..450 {
                    deposit(&budget);
                    tokio::time::advance(Duration::from_millis(1)).await;
                }
                let granted = (0..50).filter(|_| withdraw(&budget)).count();
                assert_eq!(granted, 50, "round {round}, {quiet} s");
                tokio::time::advance(Duration::from_secs(quiet)).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_of_this_moment_do_not_count_as_old() {
        let budget = drained(0.2);
        for _ in 0..100 {
            deposit(&budget);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        (0..400).for_each(|_| deposit(&budget));
        // 80 tokens, but for those of up to 64 calls.
        let granted = (0..1_000).filter(|_| withdraw(&budget)).count();
        assert!((67..=80).contains(&granted), "{granted}");
    }

    #[test]
    fn a_full_budget_of_any_size_never_overflows() {
        for budget in [Budget::ratio(1_000.0).capacity(1), Budget::ratio(1_000.0).reserve(u32::MAX), Budget::ratio(0.0)]
        {
            let before = budget.balance();
            (0..100_000).for_each(|_| deposit(&budget));
            let bucket = bucket(&budget);
            assert!(bucket.balance.load(Ordering::Relaxed) <= bucket.highest() + bucket.settings().deposit);
            assert_eq!(budget.balance(), before.map(|before| before.max(f64::from(bucket.settings().deposit > 0))));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_has_read_the_clock_too_early_expires_no_token_twice() {
        let budget = Budget::ratio(0.0).reserve(10);
        deposit(&budget);
        tokio::time::advance(Duration::from_secs(60)).await;
        let bucket = bucket(&budget);
        let now = bucket.now();
        bucket.expire(now);
        bucket.expire(now - 1);
        assert_eq!(budget.balance(), Some(1.0));
    }

    #[test]
    fn a_ratio_of_zero_leaves_the_reserve() {
        let budget = Budget::ratio(0.0).reserve(2);
        (0..100).for_each(|_| deposit(&budget));
        assert_eq!((0..100).filter(|_| withdraw(&budget)).count(), 2);
    }

    #[test]
    fn clones_share_and_unlimited_is_unlimited() {
        let budget = drained(1.0);
        let clone = budget.clone();
        deposit(&clone);
        assert!(withdraw(&budget));
        assert!(!withdraw(&clone));

        let unlimited = Budget::unlimited().reserve(1).capacity(1);
        assert!(unlimited.kind().is_none());
        assert_eq!(unlimited.balance(), None);
    }

    #[test]
    fn sixty_four_racing_threads_never_overdraw_it() {
        const THREADS: u32 = 64;
        const CALLS: u32 = 500;
        let budget = Budget::ratio(0.6).reserve(7).capacity(u32::MAX).ttl(Duration::MAX);
        let granted = AtomicU32::new(0);
        let start = Barrier::new(THREADS as usize);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..CALLS {
                        deposit(&budget);
                        // More than is ever deposited, so that threads race for an empty bucket.
                        let wins = (0..2).filter(|_| withdraw(&budget)).count();
                        granted.fetch_add(u32::try_from(wins).unwrap(), Ordering::Relaxed);
                    }
                });
            }
        });
        // Every deposit was withdrawn or is still in the bucket.
        let put_in = u64::from(THREADS * CALLS) * 600_000 + 7 * TOKEN;
        let left = put_in - u64::from(granted.load(Ordering::Relaxed)) * TOKEN;
        assert_eq!(budget.balance(), Some(left as f64 / TOKEN as f64));
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
