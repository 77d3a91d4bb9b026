//! When the tenants of a host open it by their votes.

use std::time::Duration;

use tower_rampart::breaker::partition::{self, NestedIn};
use tower_rampart::breaker::{Handle, State, Window};
use tower_rampart::classify::{Health, Verdict};

use crate::nested::hierarchy::{By, HOST, Key, tenant, votes};
use crate::support::*;

pub(crate) type Breakers = Handle<partition::Nested<u64, u64>>;

fn layer_of(key: fn(&(Key, Do)) -> u64) -> By {
    partition::by(key)
}

pub(crate) fn hosts() -> crate::support::Breakers<NestedIn<By, By>> {
    let tenants = layer().minimum_calls(10).partition_by(layer_of(|request| request.0.1));
    tenants.nested_in(layer_of(|request| request.0.0), 0.5)
}

/// Calls for a tenant. Returns whether the call is admitted.
pub(crate) fn attempt(breakers: &Breakers, id: u64, health: Health) -> bool {
    let permit = breakers.get_or_insert(&tenant(id)).unwrap().try_acquire();
    permit.map(|permit| permit.settle(Verdict::success().with_health(health))).is_ok()
}

pub(crate) const GOOD: Health = Health::Success;
pub(crate) const BAD: Health = Health::Failure;

/// Tenants that call evenly: `count` of them from `first` on, each once in `every`.
#[derive(Clone, Copy)]
pub(crate) struct Callers {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) every: Duration,
    pub(crate) health: Health,
}

/// What became of the calls of good tenants.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) admitted: u64,
    pub(crate) rejected: u64,
    /// Of all calls, while the host was dead.
    pub(crate) attempts: u64,
    /// When the host opened.
    pub(crate) opened: Vec<Duration>,
    pub(crate) closed: Vec<Duration>,
}

/// Lets them call for that long, while the host is dead or not.
pub(crate) async fn run(breakers: &Breakers, callers: &[Callers], time: Duration, dead: bool) -> Seen {
    let mut seen = Seen::default();
    let mut due: Vec<_> = callers.iter().map(|_| (0, Duration::ZERO)).collect();
    let (mut now, mut state) = (Duration::ZERO, breakers.state(&HOST));
    while now < time {
        for (callers, (next, at)) in callers.iter().zip(&mut due) {
            while *at <= now {
                let health = if dead { BAD } else { callers.health };
                let admitted = attempt(breakers, callers.first + *next % callers.count, health);
                seen.attempts += u64::from(admitted && dead);
                if callers.health == GOOD {
                    *(if admitted { &mut seen.admitted } else { &mut seen.rejected }) += 1;
                }
                let before = std::mem::replace(&mut state, breakers.state(&HOST));
                if before != state {
                    match state {
                        State::Open => seen.opened.push(now),
                        State::Closed => seen.closed.push(now),
                        State::HalfOpen => {}
                    }
                }
                *next += 1;
                *at += callers.every / u32::try_from(callers.count).unwrap();
            }
        }
        let step = due.iter().map(|(_, at)| *at).min().unwrap().saturating_sub(now).max(MS);
        advance(step).await;
        now += step;
    }
    seen
}

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

fn quiet(count: u64) -> Callers {
    Callers { first: 0, count, every: 15 * SECOND, health: GOOD }
}

#[tokio::test(start_paused = true)]
async fn a_dead_host_of_a_thousand_quiet_tenants_is_noticed_within_two_buckets_and_a_hundred_attempts() {
    for history in [Duration::ZERO, 10 * MINUTE] {
        let breakers = hosts().handle();
        let before = run(&breakers, &[quiet(1_000)], history, false).await;
        assert_eq!((before.rejected, before.opened.len()), (0, 0));
        let seen = run(&breakers, &[quiet(1_000)], 8 * SECOND, true).await;
        assert!(seen.attempts <= 100 && breakers.state(&HOST) == State::Open, "{seen:?}");
        let later = run(&breakers, &[quiet(1_000)], 10 * MINUTE, true).await;
        assert!(later.attempts <= 20 * 64, "every open time, the probes of 64 tenants: {later:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_tenant_of_three_ten_or_a_thousand_never_shuts_the_host() {
    for count in [3, 10, 1_000] {
        let breakers = hosts().handle();
        let bad = Callers { first: 5_000, count: 1, every: 100 * MS, health: BAD };
        let seen = run(&breakers, &[bad, quiet(count - 1)], 10 * MINUTE, false).await;
        assert_eq!((seen.rejected, seen.opened.len()), (0, 0), "{count}");
    }
}

/// Bad tenants, and good ones that call less often.
pub(crate) fn minority(bad: u64, good: u64, times: u32) -> [Callers; 2] {
    let every = 10 * SECOND;
    [
        Callers { first: 5_000, count: bad, every: every / times, health: BAD },
        Callers { first: 0, count: good, every, health: GOOD },
    ]
}

#[tokio::test(start_paused = true)]
async fn a_minority_that_stays_bad_shuts_no_host_however_often_it_calls() {
    for callers in [minority(10, 90, 10), minority(49, 51, 100), minority(49, 51, 1)] {
        let breakers = hosts().handle();
        let seen = run(&breakers, &callers, 10 * MINUTE, false).await;
        assert_eq!((seen.rejected, seen.opened.len()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_the_host_is_open_to_the_good_ones_within_two_open_times() {
    let [often, rarely] = minority(10, 90, 10);
    let fresh = Callers { first: 9_000, ..often };
    for (before, after) in [
        (vec![often, rarely], vec![often, rarely]),
        // They turn bad in the outage.
        (vec![rarely], vec![fresh, rarely]),
        (minority(49, 51, 100).to_vec(), minority(49, 51, 100).to_vec()),
        (vec![minority(49, 51, 100)[1]], minority(49, 51, 100).to_vec()),
        (vec![quiet(1_000)], vec![quiet(1_000)]),
        (vec![quiet(3)], vec![quiet(3)]),
        (vec![Callers { every: 100 * MS, ..quiet(3) }], vec![Callers { every: 100 * MS, ..quiet(3) }]),
        // The others have left.
        (vec![quiet(100)], vec![Callers { every: SECOND, ..quiet(1) }]),
    ] {
        let breakers = hosts().handle();
        run(&breakers, &before, 2 * MINUTE, false).await;
        run(&breakers, &after, 10 * MINUTE, true).await;
        let recovery = run(&breakers, &after, MINUTE, false).await;
        assert_eq!(breakers.state(&HOST), State::Closed, "{recovery:?}");
        let seen = run(&breakers, &after, 30 * MINUTE, false).await;
        assert_eq!((seen.rejected, seen.opened.len()), (0, 0), "of {}", seen.admitted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_whose_tenants_are_all_open_recovers() {
    let breakers = hosts().handle();
    let busy = Callers { every: 100 * MS, ..quiet(20) };
    run(&breakers, &[busy], MINUTE, true).await;
    assert!((0..20).all(|id| breakers.state(&tenant(id)) != State::Closed));
    run(&breakers, &[busy], MINUTE, false).await;
    assert!((0..20).all(|id| breakers.state(&tenant(id)) == State::Closed));
    assert_eq!(breakers.state(&HOST), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_has_one_vote_which_turns_moves_and_is_forgotten() {
    let breakers = hosts().handle();
    for _ in 0..5 {
        assert!(attempt(&breakers, 1, GOOD) && attempt(&breakers, 2, GOOD));
    }
    assert_eq!(votes(&breakers), (2, 0));
    for _ in 0..4 {
        assert!(attempt(&breakers, 1, BAD));
        assert_eq!(votes(&breakers), (2, 0));
    }
    assert!(attempt(&breakers, 1, BAD));
    assert_eq!(votes(&breakers), (2, 1), "five of ten");
    assert_eq!(breakers.state(&tenant(1)), State::Open);
    // Six buckets later the other has moved on, and the vote of the open one is forgotten with its bucket.
    advance(30 * SECOND).await;
    assert!(attempt(&breakers, 2, GOOD));
    assert_eq!(votes(&breakers), (2, 1));
    advance(31 * SECOND).await;
    assert_eq!(votes(&breakers), (1, 0));
    advance(30 * SECOND).await;
    assert_eq!(votes(&breakers), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_vote_turns_bad_at_three_failures_and_good_again() {
    let breakers = hosts().handle();
    for (health, bad) in [(BAD, 0), (BAD, 0), (BAD, 1), (GOOD, 1), (GOOD, 1), (GOOD, 1), (GOOD, 0), (BAD, 1)] {
        assert!(attempt(&breakers, 1, health));
        assert_eq!(votes(&breakers), (1, bad), "{health:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_of_any_tenant_ends_the_row_of_failures() {
    let breakers = hosts().handle();
    for row in 0..3 {
        for id in 0..63 {
            assert!(attempt(&breakers, 100 * row + id, BAD));
        }
        assert!(attempt(&breakers, 5_000, GOOD));
    }
    for _ in 0..2 {
        (0..63).for_each(|id| assert!(attempt(&breakers, 1_000 + id, BAD)));
    }
    assert_eq!(breakers.state(&HOST), State::Closed, "each tenant counts once in a row");
    // A row is judged once it has lasted a quarter of a bucket.
    advance(2 * SECOND).await;
    attempt(&breakers, 2_000, BAD);
    assert_eq!(breakers.state(&HOST), State::Open);
}

#[tokio::test(start_paused = true)]
async fn at_first_only_votes_that_are_all_bad_open_the_host() {
    for (good, opens) in [(false, true), (true, false)] {
        let breakers = hosts().handle();
        let fail = || {
            for id in [0, 0, 0, 1, 1, 1, 2, 2, 2] {
                attempt(&breakers, id, BAD);
            }
        };
        if good {
            attempt(&breakers, 5_000, GOOD);
        }
        fail();
        assert_eq!(breakers.state(&HOST), State::Closed, "within two buckets");
        advance(9 * SECOND).await;
        fail();
        assert_eq!(breakers.state(&HOST) == State::Open, opens);
    }
}

#[tokio::test(start_paused = true)]
async fn bad_votes_of_different_buckets_do_not_open_the_host() {
    let breakers = hosts().handle();
    let _ = breakers.get_or_insert(&HOST);
    advance(MINUTE + 10 * SECOND).await;
    for id in 0..3 {
        (0..3).for_each(|_| assert!(attempt(&breakers, id, BAD)));
        advance(5 * SECOND).await;
    }
    assert_eq!((votes(&breakers), breakers.state(&HOST)), ((3, 3), State::Closed));
    for id in 0..3 {
        attempt(&breakers, id, BAD);
    }
    assert_eq!(breakers.state(&HOST), State::Open);
}

#[tokio::test(start_paused = true)]
async fn random_failures_of_a_fifth_open_no_host() {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand::rngs::SmallRng::seed_from_u64(7);
    for count in [3, 10, 100] {
        let breakers = hosts().handle();
        for _ in 0..240 {
            for id in 0..count {
                attempt(&breakers, id, if rng.random_bool(0.2) { BAD } else { GOOD });
                advance(15 * SECOND / u32::try_from(count).unwrap()).await;
            }
            assert_eq!(breakers.state(&HOST), State::Closed, "{count}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_of_calls_votes_by_the_minute() {
    let breakers = hosts_of(Window::count(20)).handle();
    assert!(attempt(&breakers, 1, GOOD));
    advance(55 * SECOND).await;
    assert_eq!(votes(&breakers), (1, 0));
    advance(6 * SECOND).await;
    assert_eq!(votes(&breakers), (0, 0));
}

fn hosts_of(window: Window) -> crate::support::Breakers<NestedIn<By, By>> {
    hosts().window(window)
}

#[tokio::test(start_paused = true)]
async fn slow_calls_open_the_host_through_its_tenants() {
    let breakers = hosts().slow_calls(SECOND, 0.9).handle();
    let _ = breakers.get_or_insert(&HOST);
    advance(MINUTE + 5 * SECOND).await;
    for id in 0..3 {
        let permits: Vec<_> =
            (0..10).map(|_| breakers.get_or_insert(&tenant(id)).unwrap().try_acquire().unwrap()).collect();
        advance(1_001 * MS).await;
        permits.into_iter().for_each(|permit| permit.settle(Verdict::success()));
        assert_eq!(breakers.state(&tenant(id)), State::Open);
    }
    assert_eq!((votes(&breakers).0, breakers.state(&HOST)), (0, State::Open));
}
