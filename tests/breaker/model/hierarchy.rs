//! A host and its tenants, kept in the plainest way.

use std::time::Duration;

use tower_rampart::breaker::{Mode, State};
use tower_rampart::classify::Health;

use super::breaker::{Counts, Held, Model, Phase, Rejection};
use super::config::{Config, WindowConfig};

pub(super) struct Host {
    pub(super) outer: Model,
    pub(super) tenants: Vec<Tenant>,
    share: f64,
    minimum: usize,
    /// Begins anew with every outage, and when all that have failed may probe again.
    cycle: u64,
    /// The stretch in which a tenant found no slot on its turn, if no tenant has got one since.
    awaited_in: Option<u64>,
}

pub(super) struct Tenant {
    pub(super) own: Model,
    /// The stretch of the host in which it last opened.
    opened_in: Option<u64>,
    /// When outcomes, not the user, last changed it.
    changed_at: Option<u64>,
    /// Its last probe of the host, with its cycle, if that has failed or has yet to end.
    probe: Option<(u64, u64)>,
}

#[derive(Clone, Copy)]
pub(super) struct Both {
    own: Held,
    probe: Option<Held>,
}

/// Which breaker rejected, and why.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    ByTenant(Rejection),
    ByHost(Rejection),
}

impl Host {
    pub(super) fn new(config: &Config, tenants: usize, (share, minimum): (f64, usize)) -> Self {
        let mode = match config.mode {
            Mode::ForcedOpen | Mode::Disabled => Mode::Automatic,
            mode => mode,
        };
        let outer = Config { ramp: None, slow: None, mode, ..config.clone() };
        let tenant = || Tenant { own: Model::new(config.clone()), opened_in: None, changed_at: None, probe: None };
        let tenants = (0..tenants).map(|_| tenant()).collect();
        Self { outer: Model::new(outer), tenants, share, minimum, cycle: 0, awaited_in: None }
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.outer.advance(time);
        self.tenants.iter_mut().for_each(|tenant| tenant.own.advance(time));
    }

    pub(super) fn acquire(&mut self, tenant: usize, retry: bool) -> Result<Both, Refused> {
        let own = &mut self.tenants[tenant].own;
        let strict = own.rejects(retry);
        if own.mode == Mode::Disabled {
            let own = self.tenants[tenant].own.acquire(retry).unwrap();
            return Ok(Both { own, probe: None });
        }
        if own.rejection(retry).is_some() {
            return Err(Refused::ByTenant(self.tenants[tenant].own.acquire(retry).err().unwrap()));
        }
        if strict {
            if let Some(rejection) = self.rejection(tenant, retry) {
                self.outer.rejected += 1;
                return Err(Refused::ByHost(rejection));
            }
        }
        let from = self.tenants[tenant].own.stretch;
        let own = self.tenants[tenant].own.acquire(retry).unwrap();
        if self.tenants[tenant].own.stretch != from {
            self.tenants[tenant].changed_at = Some(self.outer.millis());
        }
        let probe = self.probe(tenant, retry);
        Ok(Both { own, probe })
    }

    fn rejection(&mut self, tenant: usize, retry: bool) -> Option<Rejection> {
        if let Some(rejection) = self.outer.rejection(retry) {
            let is_turn = self.tenants[tenant].probe.is_none_or(|probe| probe.0 != self.cycle);
            if rejection.0 == State::HalfOpen && is_turn {
                self.awaited_in = Some(self.outer.stretch);
            }
            return Some(rejection);
        }
        if !self.outer.rejects(retry) {
            return None;
        }
        let until = self.others_first_until(tenant)?;
        Some((self.outer.state(), Some(until)))
    }

    /// Until when the others go first, if it is not the tenant's turn.
    fn others_first_until(&mut self, tenant: usize) -> Option<u64> {
        let Config { lease, open_for, .. } = self.outer.config;
        if self.tenants[tenant].probe?.0 != self.cycle {
            return None;
        }
        let until = match self.outer.phase {
            Phase::Open { until } => until + lease,
            Phase::HalfOpen { began, last_freed, .. } if self.awaited_in == Some(self.outer.stretch) => {
                (began + lease).max(last_freed + lease.min(open_for.0))
            }
            Phase::HalfOpen { began, .. } => began + lease,
            Phase::Closed { .. } | Phase::Ramp { .. } => return None,
        };
        if self.outer.millis() < until {
            return Some(until);
        }
        self.cycle += 1;
        None
    }

    fn probe(&mut self, tenant: usize, retry: bool) -> Option<Held> {
        if let (Mode::Automatic, Phase::Closed { .. }) = (self.outer.mode, &self.outer.phase) {
            return None;
        }
        if self.others_first_until(tenant).is_some() || self.outer.rejection(retry).is_some() {
            return None;
        }
        let probe = self.outer.acquire(retry).unwrap();
        if probe.counts != Counts::AsProbe {
            return None;
        }
        self.tenants[tenant].probe = Some((self.cycle, probe.id));
        self.awaited_in = None;
        Some(probe)
    }

    pub(super) fn drop(&mut self, tenant: usize, both: Both) {
        let health = self.tenants[tenant].own.of_dropped(both.own);
        self.settle(tenant, both, health, None);
    }

    pub(super) fn settle(&mut self, tenant: usize, both: Both, health: Health, hint: Option<u64>) {
        let now = self.outer.millis();
        let Tenant { own, opened_in, changed_at, probe } = &mut self.tenants[tenant];
        let from = own.stretch;
        own.settle(both.own, health, hint);
        let opened = own.stretch != from && own.state() == State::Open;
        if own.stretch != from {
            *changed_at = Some(now);
        }
        if opened {
            *opened_in = Some(self.outer.stretch);
        }
        let excused = both.probe.is_some_and(|held| match health {
            Health::Success => true,
            Health::Neutral => self.awaited_in != Some(held.stretch),
            Health::Failure | Health::Throttled => false,
        });
        let is_last = probe.map(|probe| probe.1) == both.probe.map(|held| held.id);
        if excused && is_last {
            *probe = None;
        }
        if opened {
            self.look();
        }
        if let Some(held) = both.probe {
            self.outer.settle(held, health, None);
        }
    }

    /// A tenant has opened.
    fn look(&mut self) {
        if !matches!(self.outer.phase, Phase::Closed { .. })
            || matches!(self.outer.mode, Mode::ForcedOpen | Mode::Disabled)
        {
            return;
        }
        let counted: Vec<_> = self.tenants.iter().filter(|tenant| tenant.counts()).collect();
        let is_open =
            |tenant: &&&Tenant| tenant.own.state() != State::Closed && tenant.opened_in == Some(self.outer.stretch);
        let open = counted.iter().filter(is_open).count();
        let reached = open as f64 / counted.len() as f64 >= self.share;
        if counted.len() >= self.minimum && open >= 2 && reached {
            self.outer.open(None);
            self.cycle += 1;
        }
    }

    pub(super) fn by_hand(&mut self, tenant: Option<usize>, change: impl FnOnce(&mut Model)) {
        let Some(tenant) = tenant else { return change(&mut self.outer) };
        let tenant = &mut self.tenants[tenant];
        let from = tenant.own.stretch;
        change(&mut tenant.own);
        if tenant.own.stretch != from {
            tenant.changed_at = None;
        }
    }
}

impl Tenant {
    /// Whether it had calls lately, and is not held by hand.
    fn counts(&self) -> bool {
        let long = match self.own.config.window {
            WindowConfig::Count(_) => 600_000,
            window @ WindowConfig::Time { buckets, .. } => {
                u64::from(buckets) * (window.bucket_nanos() / 1_000_000) as u64
            }
        };
        let last = match self.own.phase {
            Phase::Open { until } => Some(until),
            _ => self.changed_at,
        };
        let lately = last.is_some_and(|last| self.own.millis() <= last + long) || !self.own.live().is_empty();
        lately && !matches!(self.own.mode, Mode::ForcedOpen | Mode::Disabled)
    }
}
