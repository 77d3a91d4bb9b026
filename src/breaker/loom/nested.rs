//! Tenants within a host.

use super::*;
use crate::breaker::Mode;
use crate::breaker::core::node::Admission;

/// A host and its tenants, all new. One failure opens a tenant, and so many open tenants open the host.
fn nested<const TENANTS: usize>(set: impl FnOnce(&mut Config)) -> (Arc<Node>, [Arc<Node>; TENANTS]) {
    let mut config = Config::default();
    valid(config.set_window(Window::count(1)));
    valid(config.set_open_for((2 * SECOND).into()));
    valid(config.set_share(1.0));
    valid(config.set_minimum_children(2));
    set(&mut config);
    let clock = Clock::start();
    let shared = |policy| Shared::new(policy, true, clock.clone(), observer(), None);
    let (outer, inner) = (shared(config.outer_policy()), shared(config.policy()));
    let host = Arc::new(Node::new_outer(outer, "(host)".into()));
    let tenant = || Arc::new(Node::nested_in(host.clone(), inner.clone(), "(tenant)".into()));
    let tenants = std::array::from_fn(|_| tenant());
    // A share of the votes counts from now on.
    clock.set(100 * SECOND);
    (host, tenants)
}

/// The same, due to be probed: the first two tenants have failed.
fn due<const TENANTS: usize>(probes: u32, successes: u32) -> (Arc<Node>, [Arc<Node>; TENANTS]) {
    let (host, tenants) = nested(|config| {
        valid(config.set_half_open_max_calls(probes));
        valid(config.set_success_threshold(successes));
    });
    tenants.iter().take(2).for_each(fail);
    assert_eq!((host.state(), host.snapshot().generation), (State::Open, 1));
    host.clock().set(102 * SECOND);
    (host, tenants)
}

fn admission(tenant: &Arc<Node>) -> Admission {
    let Ok(admission) = tenant.admit(Attempt::First) else { panic!("is admitted") };
    admission
}

fn fail(tenant: &Arc<Node>) {
    tenant.settle_admission(admission(tenant), None, FAILURE);
}

fn succeed(tenant: &Arc<Node>) {
    tenant.settle_admission(admission(tenant), None, SUCCESS);
}

fn fail_if_admitted(tenant: &Arc<Node>) {
    if let Ok(admission) = tenant.admit(Attempt::First) {
        tenant.settle_admission(admission, None, FAILURE);
    }
}

/// Whether it holds a slot of a probe of the host.
fn probes(admission: &Admission) -> bool {
    matches!(admission.permits().1, PermitKind::Probe { .. })
}

fn votes(host: &Node) -> (u64, u64) {
    let Snapshot { calls, failures, .. } = host.snapshot();
    (calls, failures)
}

/// Calls, and counts the call if it is admitted.
fn call(tenant: &Arc<Node>, admitted: &Arc<AtomicUsize>) -> impl FnOnce() + use<> {
    let (tenant, admitted) = (tenant.clone(), admitted.clone());
    move || {
        if let Ok(admission) = tenant.admit(Attempt::First) {
            assert!(probes(&admission), "no call is admitted without a slot");
            admitted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn loom_tenants_that_fail_at_once_open_the_host_once() {
    model(|| {
        let (host, tenants) = nested::<2>(|_| {});
        let [one, other] = tenants.clone();
        both(move || fail_if_admitted(&one), move || fail_if_admitted(&other));
        // The first call is admitted; the other too, because one bad vote opens nothing.
        assert_eq!(tenants.map(|tenant| tenant.state()), [State::Open; 2]);
        assert_eq!((host.state(), host.snapshot().generation), (State::Open, 1));
    });
}

#[test]
fn loom_a_vote_that_turns_and_moves_at_once_is_counted_once() {
    for seconds in [0, 5] {
        model(move || {
            let (host, tenants) = nested::<1>(|config| {
                valid(config.set_window(Window::count(3)));
                valid(config.set_minimum_calls(3));
            });
            succeed(&tenants[0]);
            fail(&tenants[0]);
            assert_eq!(votes(&host), (1, 0));
            let held = [(); 2].map(|()| admission(&tenants[0]));
            // Perhaps in a later bucket, to which the vote has to move.
            host.clock().set((100 + seconds) * SECOND);
            let ([one, other], [first, second]) = ([(); 2].map(|()| tenants[0].clone()), held);
            both(
                move || one.settle_admission(first, None, FAILURE),
                move || other.settle_admission(second, None, SUCCESS),
            );
            let (all, bad) = votes(&host);
            assert!(all == 1 && bad <= 1, "{all}, {bad}");
            // What was cast is taken out again.
            host.clock().set((110 + seconds) * SECOND);
            (0..3).for_each(|_| succeed(&tenants[0]));
            assert_eq!(votes(&host), (1, 0));
        });
    }
}

#[test]
fn loom_votes_in_a_bucket_that_is_reused_are_counted() {
    model(|| {
        let (host, tenants) = nested::<2>(|_| {});
        tenants.iter().for_each(succeed);
        // A whole ring later.
        host.clock().set(100 * SECOND + SECOND * 69);
        let [one, other] = tenants.clone();
        both(move || succeed(&one), move || succeed(&other));
        assert_eq!(votes(&host), (2, 0));
    });
}

#[test]
fn loom_a_late_vote_does_not_count_after_a_reset_of_the_host() {
    model(|| {
        let (host, tenants) = nested::<2>(|_| {});
        let late = admission(&tenants[0]);
        let (tenant, reset, other) = (tenants[0].clone(), host.clone(), tenants[1].clone());
        both(
            move || tenant.settle_admission(late, None, SUCCESS),
            move || {
                reset.reset();
                succeed(&other);
            },
        );
        assert_eq!((votes(&host), host.snapshot().generation), ((1, 0), 1));
    });
}

#[test]
fn loom_a_host_has_exactly_as_many_probes_as_slots() {
    model(|| {
        let (host, tenants) = due::<5>(2, 2);
        let admitted = Arc::new(AtomicUsize::new(0));
        let third = thread::spawn(call(&tenants[2], &admitted));
        both(call(&tenants[3], &admitted), call(&tenants[4], &admitted));
        third.join().unwrap();
        assert_eq!((admitted.load(Ordering::Relaxed), host.state()), (2, State::HalfOpen));
        assert_eq!(host.snapshot().totals.rejected, 1);
        assert_eq!(host.snapshot().generation, 2);
    });
}

#[test]
fn loom_calls_of_one_tenant_at_once_are_one_probe_of_its_host() {
    model(|| {
        let (host, tenants) = due::<4>(2, 2);
        let admitted = Arc::new(AtomicUsize::new(0));
        both(call(&tenants[2], &admitted), call(&tenants[2], &admitted));
        assert_eq!(admitted.load(Ordering::Relaxed), 1);
        // The other slot has not gone astray.
        assert!(probes(&admission(&tenants[3])));
        assert_eq!(host.state(), State::HalfOpen);
    });
}

#[test]
fn loom_probes_of_tenants_that_differ_settle_once() {
    model(|| {
        let (host, tenants) = due::<4>(2, 1);
        let [good, bad] = [&tenants[2], &tenants[3]].map(Arc::clone);
        let [success, failure] = [&good, &bad].map(admission);
        both(
            move || good.settle_admission(success, None, SUCCESS),
            move || bad.settle_admission(failure, None, FAILURE),
        );
        // One success closes it, and one failure alone does not open it again.
        assert_eq!((host.state(), host.snapshot().generation), (State::Closed, 3));
        assert_eq!([&tenants[2], &tenants[3]].map(|tenant| tenant.state()), [State::Closed, State::Open]);
    });
}

#[test]
fn loom_a_dropped_probe_leaves_its_slot_to_another_tenant() {
    model(|| {
        let (host, tenants) = due::<4>(1, 1);
        let dropped = admission(&tenants[2]);
        let (one, other) = (tenants[2].clone(), tenants[3].clone());
        both(
            move || one.settle_admission(dropped, None, Completion::Abandoned),
            move || {
                if let Ok(admission) = other.admit(Attempt::First) {
                    other.settle_admission(admission, None, SUCCESS);
                }
            },
        );
        if host.state() != State::Closed {
            // It came too early, and now no call holds the slot.
            succeed(&tenants[3]);
        }
        assert_eq!(host.state(), State::Closed);
    });
}

#[test]
fn loom_a_host_that_rejects_at_the_last_moment_costs_no_slot_of_the_tenant() {
    model(|| {
        let (host, tenants) = nested::<1>(|config| {
            valid(config.set_half_open_max_calls(1));
            valid(config.set_success_threshold(1));
        });
        fail(&tenants[0]);
        host.clock().set(102 * SECOND);
        let admitted = Arc::new(AtomicUsize::new(0));
        let (tenant, forced, result) = (tenants[0].clone(), host.clone(), admitted.clone());
        both(
            move || result.store(usize::from(tenant.admit(Attempt::First).is_ok()), Ordering::Relaxed),
            move || forced.set_mode(Mode::ForcedOpen),
        );
        host.set_mode(Mode::Automatic);
        // Its only slot is taken by the admitted call, or by none.
        assert_eq!(tenants[0].admit(Attempt::First).is_ok(), admitted.load(Ordering::Relaxed) == 0);
    });
}
