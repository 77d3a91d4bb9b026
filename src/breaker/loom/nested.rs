//! Tenants within a host.

use super::*;
use crate::breaker::Mode;
use crate::breaker::core::node::Admission;

/// A host and its tenants, all new. One failure opens a tenant, and two open tenants open the host.
fn nested<const TENANTS: usize>(set: impl FnOnce(&mut Config)) -> (Arc<Node>, [Arc<Node>; TENANTS]) {
    let mut config = Config::default();
    valid(config.set_window(Window::count(1)));
    valid(config.set_open_for(SECOND.into()));
    valid(config.set_share(0.5));
    valid(config.set_minimum_children(2));
    set(&mut config);
    let clock = Clock::start();
    let shared = |policy| Shared::new(policy, true, clock.clone(), observer());
    let (outer, inner) = (shared(config.outer_policy()), shared(config.policy()));
    let host = Arc::new(Node::new_outer(outer, "(host)".into()));
    let tenants = std::array::from_fn(|_| Node::nested_in(host.clone(), inner.clone(), "(tenant)".into()));
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
    host.clock().set(2 * SECOND);
    (host, tenants)
}

fn admission(tenant: &Arc<Node>) -> Admission {
    let Ok(admission) = tenant.admit(Attempt::First) else { panic!("is admitted") };
    admission
}

fn fail(tenant: &Arc<Node>) {
    tenant.settle_admission(admission(tenant), None, FAILURE);
}

/// Whether it holds a place of a probe of the host.
fn probes(admission: &Admission) -> bool {
    matches!(admission.permits().1, PermitKind::Probe { .. })
}

/// Calls, and counts the call if it is admitted.
fn call(tenant: &Arc<Node>, admitted: &Arc<AtomicUsize>) -> impl FnOnce() + use<> {
    let (tenant, admitted) = (tenant.clone(), admitted.clone());
    move || {
        if let Ok(admission) = tenant.admit(Attempt::First) {
            assert!(probes(&admission), "no call is admitted without a place");
            admitted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn loom_tenants_that_open_at_once_open_the_host_once() {
    model(|| {
        let (host, tenants) = nested::<2>(|_| {});
        let [one, other] = tenants.clone();
        both(move || fail_if_admitted(&one), move || fail_if_admitted(&other));
        // The first call is admitted; the other too, because one open tenant opens nothing.
        assert_eq!(tenants.map(|tenant| tenant.state()), [State::Open; 2]);
        assert_eq!((host.state(), host.snapshot().generation), (State::Open, 1));
    });
}

fn fail_if_admitted(tenant: &Arc<Node>) {
    if let Ok(admission) = tenant.admit(Attempt::First) {
        tenant.settle_admission(admission, None, FAILURE);
    }
}

#[test]
fn loom_a_host_has_exactly_as_many_probes_as_places() {
    model(|| {
        let (host, tenants) = due::<5>(2, 2);
        let admitted = Arc::new(AtomicUsize::new(0));
        let third = thread::spawn(call(&tenants[2], &admitted));
        both(call(&tenants[3], &admitted), call(&tenants[4], &admitted));
        third.join().unwrap();
        assert_eq!((admitted.load(Ordering::Relaxed), host.state()), (2, State::HalfOpen));
        assert_eq!(host.snapshot().rejected, 1);
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
        // The other place has not gone astray.
        assert!(probes(&admission(&tenants[3])));
        assert_eq!(host.state(), State::HalfOpen);
    });
}

#[test]
fn loom_a_call_overtaken_by_another_of_its_tenant_is_admitted_with_a_slot() {
    model(|| {
        let (host, tenants) = due::<3>(3, 3);
        fail(&tenants[2]);
        // It has failed as a probe, and no other tenant comes.
        host.clock().set(100 * SECOND);
        let call = |tenant: Arc<Node>| {
            move || {
                if let Ok(admission) = tenant.admit(Attempt::First) {
                    assert!(probes(&admission), "no call is admitted without a place");
                    tenant.settle_admission(admission, None, SUCCESS);
                }
            }
        };
        both(call(tenants[2].clone()), call(tenants[2].clone()));
        assert_eq!(host.state(), State::HalfOpen);
    });
}

#[test]
fn loom_probes_of_tenant_and_host_settle_once() {
    model(|| {
        // Both tenants are due themselves.
        let (host, tenants) = due::<2>(2, 1);
        let admission = tenants.each_ref().map(admission);
        assert!(admission.iter().all(probes));
        let ([good, bad], [success, failure]) = (tenants.clone(), admission);
        both(
            move || good.settle_admission(success, None, SUCCESS),
            move || bad.settle_admission(failure, None, FAILURE),
        );
        assert_eq!(tenants.each_ref().map(|tenant| tenant.state()), [State::Closed, State::Open]);
        // Opened, half-open, and then one of the two.
        assert_eq!((tenants[0].snapshot().generation, tenants[1].snapshot().generation), (3, 3));
        assert_eq!(host.snapshot().generation, 3);
        assert_ne!(host.state(), State::HalfOpen);
    });
}

#[test]
fn loom_a_dropped_probe_leaves_its_place_to_another_tenant() {
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
            tenants[3].settle_admission(admission(&tenants[3]), None, SUCCESS);
        }
        assert_eq!(host.state(), State::Closed);
    });
}

#[test]
fn loom_a_reset_of_the_host_is_not_undone_by_what_opened_before() {
    model(|| {
        let (host, tenants) = nested::<2>(|_| {});
        fail(&tenants[0]);
        let last = admission(&tenants[1]);
        let (tenant, reset) = (tenants[1].clone(), host.clone());
        both(move || tenant.settle_admission(last, None, FAILURE), move || reset.reset());
        assert_eq!((host.state(), tenants[1].state()), (State::Closed, State::Open));
        assert!(matches!(host.snapshot().generation, 1 | 2));
        // What opens from now on counts, and the second tenant may have opened after the reset.
        for tenant in &tenants {
            tenant.reset();
            fail_if_admitted(tenant);
        }
        assert_eq!(host.state(), State::Open);
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
        host.clock().set(2 * SECOND);
        let let_in = Arc::new(AtomicUsize::new(0));
        let (tenant, forced, result) = (tenants[0].clone(), host.clone(), let_in.clone());
        both(
            move || result.store(usize::from(tenant.admit(Attempt::First).is_ok()), Ordering::Relaxed),
            move || forced.set_mode(Mode::ForcedOpen),
        );
        host.set_mode(Mode::Automatic);
        // Its only slot is taken by the admitted call, or by none.
        assert_eq!(tenants[0].admit(Attempt::First).is_ok(), let_in.load(Ordering::Relaxed) == 0);
    });
}
