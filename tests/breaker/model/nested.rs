//! Tenants within hosts.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use tower_rampart::breaker::partition::{self, Nested};
use tower_rampart::breaker::{CircuitBreaker, Event, Events, Handle, Mode, Permit, State};
use tower_rampart::classify::{Health, Verdict};

use super::config::{Config, WindowConfig, config, health, mode, run, verdict};
use super::hierarchy::{Both, Host, Refused};
use super::single::{same_state, same_window};
use crate::support::MS;

/// How many tenants a host has, and of how many the share must be open.
#[derive(Clone, Debug)]
struct Nesting {
    hosts: usize,
    tenants: usize,
    share: f64,
    minimum: u32,
}

#[derive(Clone, Debug)]
enum Step {
    Acquire {
        whom: usize,
        retry: bool,
    },
    /// A call that ends at once, as the upstream is.
    Call {
        whom: usize,
        retry: bool,
    },
    /// How the upstream is from now on, but for one tenant.
    Upstream {
        health: Health,
        but: usize,
    },
    Settle {
        which: usize,
        health: Health,
        hint: Option<u64>,
    },
    Drop {
        which: usize,
    },
    Advance {
        micros: u64,
    },
    SetMode {
        whom: usize,
        outer: bool,
        mode: Mode,
    },
    Reset {
        whom: usize,
        outer: bool,
    },
}

type Key = Nested<usize, usize>;

struct World {
    nesting: Nesting,
    breakers: Handle<Key>,
    hosts: Vec<Host>,
    permits: Vec<(usize, Permit, Both)>,
    events: Events,
    /// The last event of each breaker, and its stretch.
    told: HashMap<String, (State, Mode, u64)>,
}

impl World {
    fn new(config: &Config, nesting: Nesting) -> Self {
        let by = |key: fn(&(usize, usize)) -> usize| partition::by(key);
        let layer = config
            .layer()
            .partition_by(by(|request| request.1))
            .nested_in(by(|request| request.0), nesting.share)
            .minimum_children(nesting.minimum);
        let share = (nesting.share, nesting.minimum as usize);
        let hosts = (0..nesting.hosts).map(|_| Host::new(config, nesting.tenants, share)).collect();
        let breakers = layer.handle();
        let events = breakers.subscribe(64);
        let world = Self { nesting, breakers, hosts, permits: Vec::new(), events, told: HashMap::new() };
        for whom in 0..world.len() {
            world.breaker(whom, false);
        }
        world
    }

    fn len(&self) -> usize {
        self.nesting.hosts * self.nesting.tenants
    }

    /// The host and the tenant of a number.
    fn place(&self, whom: usize) -> (usize, usize) {
        let whom = whom % self.len();
        (whom / self.nesting.tenants, whom % self.nesting.tenants)
    }

    fn breaker(&self, whom: usize, outer: bool) -> CircuitBreaker {
        let (host, tenant) = self.place(whom);
        let key = match tenant {
            _ if outer => Nested::Outer(host),
            // Requests that name no tenant.
            0 => Nested::Inner(host, None),
            _ => Nested::Inner(host, Some(tenant)),
        };
        self.breakers.get_or_insert(&key).unwrap()
    }

    fn acquire(&mut self, whom: usize, retry: bool) -> Result<Option<(Permit, Both)>, TestCaseError> {
        let breaker = self.breaker(whom, false);
        let (host, tenant) = self.place(whom);
        let got = if retry { breaker.try_acquire_retry() } else { breaker.try_acquire() };
        match (got, self.hosts[host].acquire(tenant, retry)) {
            (Ok(permit), Ok(both)) => Ok(Some((permit, both))),
            (Err(open), Err(rejected)) => {
                let (by, (state, until)) = match rejected {
                    Refused::ByTenant(rejection) => (breaker, rejection),
                    Refused::ByHost(rejection) => (self.breaker(whom, true), rejection),
                };
                let now = self.hosts[host].outer.millis();
                let wait = until.map(|until| Duration::from_millis(until - now));
                prop_assert_eq!((open.partition(), open.state(), open.retry_after()), (by.partition(), state, wait));
                Ok(None)
            }
            (Ok(_), Err(rejected)) => Err(TestCaseError::fail(format!("is admitted, but {rejected:?}"))),
            (Err(open), Ok(_)) => Err(TestCaseError::fail(format!("is rejected: {open}"))),
        }
    }

    fn settle(&mut self, whom: usize, (permit, both): (Permit, Both), health: Health, hint: Option<u64>) {
        let (host, tenant) = self.place(whom);
        permit.settle(verdict(health, hint));
        self.hosts[host].settle(tenant, both, health, hint);
    }

    async fn advance(&mut self, mut time: Duration) {
        loop {
            tokio::time::advance(time).await;
            self.hosts.iter_mut().for_each(|host| host.advance(time));
            if !self.hosts.iter().any(Host::laps_wrap) {
                return;
            }
            time = 10 * self.hosts[0].lap_length();
        }
    }

    fn same(&mut self) -> Result<(), TestCaseError> {
        let mut events: Vec<_> = std::iter::from_fn(|| self.events.try_recv()).collect();
        for (whom, outer) in (0..self.len()).flat_map(|whom| [(whom, false), (whom, true)]) {
            let (host, tenant) = self.place(whom);
            let host = &self.hosts[host];
            let model = if outer { &host.outer } else { &host.tenants[tenant].own };
            let breaker = self.breaker(whom, outer);
            same_state(&breaker, model)?;
            if outer {
                let snapshot = breaker.snapshot();
                prop_assert_eq!((snapshot.calls, snapshot.failures), host.votes());
            } else {
                same_window(&breaker, model)?;
            }
            // Every change is reported once, and follows on the one before.
            let first = (State::Closed, model.config.mode, 0);
            let told = self.told.entry(breaker.partition().into()).or_insert(first);
            let changes = (model.stretch - told.2).max(u64::from(model.mode != told.1));
            let is_own = |event: &Event| event.breaker.partition() == breaker.partition();
            let (own, others) = events.into_iter().partition::<Vec<_>, _>(is_own);
            events = others;
            let mut count = 0;
            for event in own {
                prop_assert_eq!(event.from, told.0);
                *told = (event.to, event.mode, model.stretch);
                count += 1;
            }
            prop_assert_eq!((count, *told), (changes, (model.state(), model.mode, model.stretch)));
        }
        prop_assert!(events.is_empty() && self.events.missed() == 0);
        Ok(())
    }
}

async fn agree(config: Config, nesting: Nesting, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::new(&config, nesting);
    let mut upstream = (Health::Success, 0);
    for (index, step) in steps.into_iter().enumerate() {
        let wrong = |error| TestCaseError::fail(format!("step {index}: {step:?}: {error}"));
        match step.clone() {
            Step::Acquire { whom, retry } => {
                if let Some((permit, both)) = world.acquire(whom, retry).map_err(wrong)? {
                    world.permits.push((whom, permit, both));
                }
            }
            Step::Call { whom, retry } => {
                let health = match upstream {
                    (Health::Success, but) if world.place(but) == world.place(whom) => Health::Failure,
                    (health, _) => health,
                };
                if let Some(held) = world.acquire(whom, retry).map_err(wrong)? {
                    world.settle(whom, held, health, None);
                }
            }
            Step::Upstream { health, but } => upstream = (health, but),
            Step::Settle { which, health, hint } if !world.permits.is_empty() => {
                let (whom, permit, both) = world.permits.swap_remove(which % world.permits.len());
                world.settle(whom, (permit, both), health, hint);
            }
            Step::Drop { which } if !world.permits.is_empty() => {
                let (whom, permit, both) = world.permits.swap_remove(which % world.permits.len());
                drop(permit);
                let (host, tenant) = world.place(whom);
                world.hosts[host].drop(tenant, both);
            }
            Step::Settle { .. } | Step::Drop { .. } => {}
            Step::Advance { micros } => {
                // A window of calls does not know when it was last used until it has been read twice.
                let after = world.hosts[0].outer.now + Duration::from_micros(micros);
                if matches!(config.window, WindowConfig::Time { .. }) || after < Duration::from_secs(600) {
                    world.advance(Duration::from_micros(micros)).await;
                }
            }
            Step::SetMode { whom, outer, mode } => {
                world.breaker(whom, outer).set_mode(mode);
                let (host, tenant) = world.place(whom);
                world.hosts[host].by_hand((!outer).then_some(tenant), |model| model.set_mode(mode));
            }
            Step::Reset { whom, outer } => {
                world.breaker(whom, outer).reset();
                let (host, tenant) = world.place(whom);
                world.hosts[host].by_hand((!outer).then_some(tenant), |model| model.reset());
            }
        }
        world.same().map_err(wrong)?;
    }
    recovers(&config, &world).await
}

/// From wherever they are, with a healthy upstream and calls of all tenants that arrive, all close within the open
/// time, the lease of the probes that hang, and the time for which tenants wait for each other.
async fn recovers(config: &Config, world: &World) -> Result<(), TestCaseError> {
    world.breakers.set_mode_all(Mode::Automatic);
    let required = u64::from(config.half_open.1) + config.calls_of_ramp();
    let patience = config.lease.min(config.longest_open() / 2).max(1);
    let limit = config.longest_open() + config.lease + 2 * patience + required;
    for waited in 0..=limit {
        for whom in 0..world.len() {
            if let Ok(permit) = world.breaker(whom, false).try_acquire() {
                permit.settle(Verdict::success());
            }
        }
        if world.breakers.iter().all(|breaker| breaker.state() == State::Closed) {
            return Ok(());
        }
        prop_assert!(waited < limit, "shut out after {waited} ms: {:?}", world.breakers.iter().collect::<Vec<_>>());
        tokio::time::advance(MS).await;
    }
    Ok(())
}

fn nesting() -> impl Strategy<Value = Nesting> {
    let share = prop_oneof![Just(0.3), Just(0.5), Just(1.0), 0.01..1.0_f64];
    (1..3_usize, 1..6_usize, share, 2..4_u32).prop_map(|(hosts, tenants, share, minimum)| Nesting {
        hosts,
        tenants,
        share,
        minimum,
    })
}

/// Mostly settings with which a few failures open a tenant, or the hosts would hardly ever open.
fn eager() -> impl Strategy<Value = Config> {
    (config(), prop::bool::weighted(0.7)).prop_map(|(mut config, eager)| {
        if eager {
            config.minimum = 1;
            config.slow = None;
            config.consecutive = Some(1);
        }
        config
    })
}

fn step() -> impl Strategy<Value = Step> {
    let upstream = prop_oneof![Just(Health::Success), Just(Health::Failure), Just(Health::Throttled)];
    prop_oneof![
        20 => (any::<usize>(), any::<bool>()).prop_map(|(whom, retry)| Step::Acquire { whom, retry }),
        40 => (any::<usize>(), any::<bool>()).prop_map(|(whom, retry)| Step::Call { whom, retry }),
        3 => (upstream, any::<usize>()).prop_map(|(health, but)| Step::Upstream { health, but }),
        16 => (any::<usize>(), health(), prop::option::of(0..200_u64))
            .prop_map(|(which, health, hint)| Step::Settle { which, health, hint }),
        4 => any::<usize>().prop_map(|which| Step::Drop { which }),
        4 => (0..1_500_u64).prop_map(|micros| Step::Advance { micros }),
        10 => (0..30_000_u64).prop_map(|micros| Step::Advance { micros }),
        2 => (0..1_000_000_u64).prop_map(|micros| Step::Advance { micros }),
        1 => (1..1_u64 << 40).prop_map(|micros| Step::Advance { micros }),
        1 => (any::<usize>(), prop::bool::weighted(0.3), mode())
            .prop_map(|(whom, outer, mode)| Step::SetMode { whom, outer, mode }),
        1 => (any::<usize>(), prop::bool::weighted(0.3)).prop_map(|(whom, outer)| Step::Reset { whom, outer }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, max_shrink_time: 30_000, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_of_nested_partitions_is_that_of_the_model(
        (config, nesting) in (eager(), nesting()),
        steps in prop::collection::vec(step(), 0..300),
    ) {
        run(agree(config, nesting, steps))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, max_shrink_time: 30_000, ..ProptestConfig::default() })]

    #[test]
    fn also_of_nested_ones_in_schedules_far_longer_than_the_window(
        (config, nesting) in (eager(), nesting()),
        steps in prop::collection::vec(step(), 3_000..5_000),
    ) {
        run(agree(config, nesting, steps))?;
    }
}
