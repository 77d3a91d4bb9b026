//! Settings that change while calls come and end.

use super::*;
use crate::breaker::Cause;
use crate::breaker::control::circuit_open::Named;
use crate::breaker::core::nested::votes::VoteConfig;

type Set = fn(&mut Config);

const COUNT_3: Set = |config| valid(config.set_window(Window::count(3)));
const COUNT_2: Set = |config| valid(config.set_window(Window::count(2)));
const COUNT_30: Set = |config| valid(config.set_window(Window::count(30)));
const TIME_2: Set = |config| valid(config.set_window(Window::time(2 * SECOND).buckets(2)));
const TIME_9: Set = |config| valid(config.set_window(Window::time(9 * SECOND).buckets(3)));
const SAME_WINDOW: Set = |config| {
    COUNT_3(config);
    valid(config.set_open_for((7 * SECOND).into()));
};

/// The settings of one layer.
fn settings<const SETTINGS: usize>(sets: [Set; SETTINGS]) -> [Arc<Shared>; SETTINGS] {
    let policy = |set: Set| {
        let mut config = Config::default();
        valid(config.set_minimum_calls(1));
        valid(config.set_failure_rate(1.0));
        config.unset_outage();
        set(&mut config);
        config.policy()
    };
    let first = Shared::new(policy(sets[0]), true, Clock::start(), observer(), None);
    sets.map(|set| first.with(policy(set)))
}

/// A node that has counted a success.
fn node_with(shared: &Arc<Shared>) -> Arc<Node> {
    let node = Arc::new(Node::new(shared.clone(), "(model)".into()));
    node.settle(permit(&node), None, SUCCESS);
    node
}

fn totals(node: &Node) -> (u64, u64) {
    let totals = node.snapshot().totals;
    (totals.calls, totals.failed)
}

#[test]
fn loom_an_outcome_counts_once_in_the_window_before_or_after() {
    let pairs = [(COUNT_3, COUNT_2), (COUNT_3, COUNT_30), (COUNT_3, SAME_WINDOW), (TIME_2, TIME_9), (TIME_2, COUNT_30)];
    for (before, after) in pairs {
        model(move || {
            let [before, after] = settings([before, after]);
            let node = node_with(&before);
            let permit = permit(&node);
            let (calling, other) = (node.clone(), node.clone());
            both(move || calling.settle(permit, None, FAILURE), move || other.reconfigure(&after));
            assert_eq!(counts(&node), Counts { calls: 2, failures: 1, slow: 0 });
            assert_eq!((totals(&node), node.state(), node.snapshot().generation), ((2, 1), State::Closed, 0));
        });
    }
}

#[test]
fn loom_a_late_outcome_takes_its_own_place_in_a_window_of_calls_that_is_full() {
    model(|| {
        let [before, after] = settings([COUNT_2, COUNT_3]);
        let node = node_with(&before);
        // The failure leaves the window as the late outcome comes.
        node.settle(permit(&node), None, FAILURE);
        node.settle(permit(&node), None, SUCCESS);
        let permit = permit(&node);
        let (calling, other) = (node.clone(), node.clone());
        both(move || calling.settle(permit, None, SUCCESS), move || other.reconfigure(&after));
        let counts = counts(&node);
        // Three only if it came after the change, with room for it.
        assert!(
            counts == Counts { calls: 2, failures: 0, slow: 0 } || counts == Counts { calls: 3, failures: 1, slow: 0 }
        );
        assert_eq!(totals(&node), (4, 1));
    });
}

#[test]
fn loom_a_window_of_time_that_follows_one_of_calls_keeps_the_totals() {
    model(|| {
        let [before, after] = settings([COUNT_3, TIME_2]);
        let node = node_with(&before);
        let permit = permit(&node);
        let (calling, other) = (node.clone(), node.clone());
        both(move || calling.settle(permit, None, FAILURE), move || other.reconfigure(&after));
        let counts = counts(&node);
        assert!(counts.calls == 2 && counts.failures <= 1, "{counts:?}");
        assert_eq!(totals(&node), (2, 1));
    });
}

#[test]
fn loom_a_call_is_admitted_while_the_window_is_replaced() {
    model(|| {
        let [before, after] = settings([COUNT_3, COUNT_2]);
        let node = node_with(&before);
        let (calling, other) = (node.clone(), node.clone());
        both(move || calling.settle(permit(&calling), None, FAILURE), move || other.reconfigure(&after));
        assert_eq!((counts(&node), totals(&node)), (Counts { calls: 2, failures: 1, slow: 0 }, (2, 1)));
    });
}

#[test]
fn loom_settings_that_change_twice_lose_no_outcome_from_the_totals() {
    model(|| {
        let [first, second] = settings([COUNT_3, TIME_2]);
        let node = node_with(&first);
        let permit = permit(&node);
        let (calling, one, other) = (node.clone(), node.clone(), node.clone());
        let back = first.clone();
        let third = thread::spawn(move || other.reconfigure(&back));
        both(move || calling.settle(permit, None, FAILURE), move || one.reconfigure(&second));
        third.join().unwrap();
        let counts = counts(&node);
        assert!(counts.calls == 2 && counts.failures <= 1, "{counts:?}");
        assert_eq!((totals(&node), node.state()), ((2, 1), State::Closed));
    });
}

#[test]
fn loom_an_opening_and_a_change_exclude_each_other() {
    model(|| {
        let [before, after] = settings([COUNT_3, SAME_WINDOW]);
        let node = Arc::new(Node::new(before, "(model)".into()));
        let permit = permit(&node);
        let (calling, other) = (node.clone(), node.clone());
        both(move || calling.settle(permit, None, FAILURE), move || other.reconfigure(&after));
        // Judged by the settings of before or after, but not by those of before once they hold no longer.
        if node.state() == State::Closed {
            node.settle(super::permit(&node), None, FAILURE);
        }
        assert_eq!((node.state(), node.snapshot().generation), (State::Open, 1));
    });
}

#[test]
fn loom_a_window_that_is_being_replaced_makes_no_vote_bad() {
    model(|| {
        const HALF_OF_3: Set = |config| {
            valid(config.set_minimum_calls(3));
            valid(config.set_failure_rate(0.5));
        };
        let [before, after] = settings([
            |config| (COUNT_3(config), HALF_OF_3(config)).1,
            |config| (COUNT_30(config), HALF_OF_3(config)).1,
        ]);
        let node = Arc::new(Node::new(before, "(model)".into()));
        for completion in [FAILURE, SUCCESS, SUCCESS] {
            node.settle(permit(&node), None, completion);
        }
        assert_eq!((counts(&node), node.state()), (Counts { calls: 3, failures: 1, slow: 0 }, State::Closed));
        let (calling, other) = (node.clone(), node.clone());
        let votes = VoteConfig { share: 0.5, minimum: 2, failures: 1, bucket_shift: 30, buckets: 16, lease: 1 };
        let asks = move || assert!(!calling.is_bad(votes, Moment::START), "one of three has failed");
        both(asks, move || other.reconfigure(&after));
    });
}

#[test]
fn loom_a_trip_is_read_with_the_limit_that_was_reached() {
    model(|| {
        let [before, after] = settings([
            |config| {
                valid(config.set_consecutive_failures(1));
                valid(config.set_failure_rate(0.5));
            },
            |_| {},
        ]);
        let node = Arc::new(Node::new(before, "(model)".into()));
        node.settle(permit(&node), None, FAILURE);
        node.reconfigure(&after);
        let (changing, reading) = (node.clone(), node.clone());
        let changes = move || {
            changing.reset();
            changing.settle(super::permit(&changing), None, FAILURE);
        };
        let reads = move || {
            let trip = Named::trip(&*reading, reading.trip_in_era());
            assert!(trip.is_none_or(|trip| trip.limit == Some(1.0)), "{trip:?}");
        };
        both(changes, reads);
        let trip = node.snapshot().trip.map(|trip| (trip.cause, trip.limit));
        assert_eq!(trip, Some((Cause::FailureRate, Some(1.0))));
    });
}

#[test]
fn loom_a_probe_counts_whatever_changes() {
    model(|| {
        let [before, after] = settings([COUNT_3, TIME_2]);
        let node = Arc::new(Node::new(before, "(model)".into()));
        node.settle(permit(&node), None, FAILURE);
        node.clock().set(2 * SECOND);
        let probe = permit(&node);
        let (calling, other) = (node.clone(), node.clone());
        both(move || calling.settle(probe, None, SUCCESS), move || other.reconfigure(&after));
        assert_eq!((node.state(), totals(&node)), (State::Closed, (2, 1)));
    });
}
