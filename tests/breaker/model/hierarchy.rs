//! A host and its tenants, kept in the plainest way.

use std::collections::BTreeSet;
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
    /// The stretch that is under way, and when it began.
    stretch: u64,
    began: Duration,
    probing: Probing,
    /// The laps of the ring of buckets in which there were votes.
    laps: BTreeSet<u128>,
}

pub(super) struct Tenant {
    pub(super) own: Model,
    /// The stretch of the host in which it has voted last, the bucket, and whether the vote is bad.
    vote: Option<(u64, u128, bool)>,
    /// The stretch in which it has probed the host, and how that ended.
    probed: Option<(u64, Option<bool>)>,
}

/// One stretch in which the host is due.
struct Probing {
    stretch: u64,
    since: u64,
    newcomer_at: u64,
    crowded_at: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Both {
    own: Held,
    outer: Option<Held>,
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
        let tenant = || Tenant { own: Model::new(config.clone()), vote: None, probed: None };
        Self {
            outer: Model::new(outer),
            tenants: (0..tenants).map(|_| tenant()).collect(),
            share,
            minimum,
            stretch: 0,
            began: Duration::ZERO,
            probing: Probing { stretch: u64::MAX, since: 0, newcomer_at: 0, crowded_at: 0 },
            laps: BTreeSet::new(),
        }
    }

    /// Half the last open time, and no longer than a lease.
    fn patience(&self) -> u64 {
        self.outer.config.lease.min(self.outer.opened_for() / 2).max(1)
    }

    /// How many buckets votes count for, and the length of each: a power of two between 8 and 16 to the window.
    fn buckets(&self) -> (u128, u128) {
        let length = match self.outer.config.window {
            WindowConfig::Count(_) => 60_000_000_000,
            WindowConfig::Time { millis, .. } => u128::from(millis) * 1_000_000,
        };
        let bucket = (0..).map(|shift| 1 << shift).take_while(|bucket| bucket * 8 <= length).last().unwrap();
        (length.div_ceil(bucket), bucket)
    }

    fn tick(&self, at: Duration) -> u128 {
        at.as_nanos() / self.buckets().1
    }

    fn lap(&self) -> u128 {
        self.tick(self.outer.now) / 16
    }

    pub(super) fn lap_length(&self) -> Duration {
        Duration::from_nanos((self.buckets().1 * 16) as u64)
    }

    /// Whether some buckets look like those of now, or of the near future: the breaker counts laps in 16 bits, so that
    /// it takes votes of about 65,536 laps ago for others.
    pub(super) fn laps_wrap(&self) -> bool {
        let lap = self.lap();
        self.laps.iter().map(|voted| lap - voted).any(|laps| laps > 5 && (laps + 5) % 65_536 < 10)
    }

    /// All votes that count, and the bad ones.
    pub(super) fn votes(&self) -> (u64, u64) {
        let oldest = self.tick(self.outer.now) + 1;
        let counts = |vote: &(u64, u128, bool)| vote.0 == self.outer.stretch && vote.1 + self.buckets().0 >= oldest;
        let votes = self.tenants.iter().filter_map(|tenant| tenant.vote).filter(counts);
        votes.fold((0, 0), |(all, bad), vote| (all + 1, bad + u64::from(vote.2)))
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.outer.advance(time);
        self.tenants.iter_mut().for_each(|tenant| tenant.own.advance(time));
    }

    /// After each step: whether a new stretch of the host has begun.
    fn note(&mut self) {
        if self.stretch != self.outer.stretch {
            (self.stretch, self.began) = (self.outer.stretch, self.outer.now);
        }
    }

    pub(super) fn acquire(&mut self, tenant: usize, retry: bool) -> Result<Both, Refused> {
        let own = &mut self.tenants[tenant].own;
        if own.mode == Mode::Disabled {
            let own = self.tenants[tenant].own.acquire(retry).unwrap();
            return Ok(Both { own, outer: None });
        }
        // What needs no more than a look comes first.
        let is_plain = |model: &Model| match model.phase {
            _ if model.mode == Mode::ForcedOpen => true,
            Phase::Open { until } => model.rejects(retry) && model.millis() < until,
            _ => false,
        };
        if own.rejects(retry) && is_plain(&self.outer) && !is_plain(own) {
            self.outer.rejected += 1;
            return Err(Refused::ByHost(self.outer.rejection(retry).unwrap()));
        }
        if own.rejection(retry).is_some() {
            return Err(Refused::ByTenant(self.tenants[tenant].own.acquire(retry).err().unwrap()));
        }
        let is_closed = matches!(own.phase, Phase::Closed { .. });
        if own.rejects(retry) && self.outer.rejects(retry) {
            if let Err(rejection) = self.asks(tenant, is_closed, retry) {
                self.outer.rejected += 1;
                return Err(Refused::ByHost(rejection));
            }
        }
        let own = self.tenants[tenant].own.acquire(retry).unwrap();
        let outer = self.asks(tenant, is_closed, retry).is_ok().then(|| {
            let (since, before) = (self.probing.since, self.outer.stretch);
            let held = self.outer.acquire(retry).unwrap();
            self.note();
            if held.counts == Counts::AsProbe {
                self.probing.stretch = held.stretch;
                if before != held.stretch {
                    self.probing = Probing { stretch: held.stretch, since, newcomer_at: 0, crowded_at: 0 };
                }
                let tenant = &mut self.tenants[tenant];
                if tenant.probed.is_none_or(|probed| probed.0 != held.stretch) {
                    tenant.probed = Some((held.stretch, None));
                    if is_closed {
                        self.probing.newcomer_at = self.outer.millis();
                    }
                }
            }
            held
        });
        Ok(Both { own, outer })
    }

    /// Whether the host admits a call of this tenant now.
    fn asks(&mut self, tenant: usize, is_closed: bool, retry: bool) -> Result<(), Rejection> {
        let now = self.outer.millis();
        if self.outer.mode == Mode::ForcedOpen {
            return Err((State::Open, None));
        }
        let since = match self.outer.phase {
            Phase::Closed { .. } | Phase::Ramp { .. } => return Ok(()),
            Phase::Open { until } if now < until => return Err((State::Open, Some(until))),
            Phase::Open { until } => until,
            Phase::HalfOpen { .. } => self.began.as_millis() as u64,
        };
        if self.probing.stretch != self.outer.stretch {
            self.probing = Probing { stretch: self.outer.stretch, since, newcomer_at: 0, crowded_at: 0 };
        }
        let probed = self.tenants[tenant].probed.filter(|probed| probed.0 == self.outer.stretch);
        let is_newcomer = probed.is_none() && is_closed;
        match probed {
            None if is_closed => self.probing.newcomer_at = now,
            Some((_, Some(true))) if is_closed => {}
            _ => {
                let until = self.probing.since.max(self.probing.newcomer_at) + self.patience();
                if now < until {
                    return Err((self.outer.read_state(), Some(until)));
                }
            }
        }
        let rejection = self.outer.rejection(retry);
        if rejection.is_some() && is_newcomer {
            self.probing.crowded_at = now;
        }
        rejection.map_or(Ok(()), Err)
    }

    pub(super) fn drop(&mut self, tenant: usize, both: Both) {
        let health = self.tenants[tenant].own.of_dropped(both.own);
        self.settle(tenant, both, health, None);
    }

    pub(super) fn settle(&mut self, tenant: usize, both: Both, health: Health, hint: Option<u64>) {
        let lasts = self.tenants[tenant].own.stretch == both.own.stretch;
        self.tenants[tenant].own.settle(both.own, health, hint);
        match both.outer {
            Some(held) if held.counts == Counts::AsProbe => self.probed(tenant, held, health),
            Some(held)
                if held.counts == Counts::InWindow
                    && both.own.counts == Counts::InWindow
                    && lasts
                    && held.stretch == self.outer.stretch =>
            {
                self.vote(tenant, health);
            }
            _ => {}
        }
        self.note();
    }

    fn vote(&mut self, tenant: usize, health: Health) {
        let failed = match health {
            Health::Neutral => return,
            Health::Success => false,
            Health::Failure | Health::Throttled => true,
        };
        let (stretch, tick) = (self.outer.stretch, self.tick(self.outer.now));
        let Tenant { own, vote, .. } = &mut self.tenants[tenant];
        let opened = matches!(own.phase, Phase::Open { .. });
        let live = own.live();
        let failures = live.iter().filter(|outcome| outcome.failed).count();
        let is_bad =
            failures >= own.config.minimum.min(3) as usize && failures as f64 / live.len() as f64 >= own.config.rate;
        let was_bad = vote.is_some_and(|vote| vote.0 == stretch && vote.2);
        let bad = opened || ((failed || was_bad) && is_bad);
        *vote = Some((stretch, tick, bad));
        self.laps.insert(self.lap());
        if !((failed && bad) || opened) {
            return;
        }
        let ((all, all_bad), age) = (self.votes(), tick - self.tick(self.began));
        let share = if age >= self.buckets().0 { self.share } else { 1.0 };
        let here = self.tenants.iter().filter(|tenant| tenant.vote == Some((stretch, tick, true))).count();
        let enough = all >= self.minimum as u64 && here >= self.minimum.min(3) && age >= 2;
        if enough && all_bad as f64 / all as f64 >= share {
            self.outer.open(None);
        }
    }

    /// A probe of the host has ended.
    fn probed(&mut self, tenant: usize, held: Held, health: Health) {
        let stretch = held.stretch;
        if stretch != self.outer.stretch || health == Health::Neutral {
            return self.outer.settle(held, Health::Neutral, None);
        }
        let good = health == Health::Success;
        let before = self.tenants[tenant].probed;
        self.tenants[tenant].probed = Some((stretch, Some(good)));
        let that = |good| self.tenants.iter().filter(|tenant| tenant.probed == Some((stretch, Some(good)))).count();
        let (goods, bads) = (that(true), that(false));
        let begin = (self.began.as_millis() as u64).max(self.probing.crowded_at);
        let is_late = self.outer.millis() >= begin + self.patience();
        let decides = if good {
            is_late || before == Some((stretch, None))
        } else {
            is_late && bads as f64 / (goods + bads) as f64 >= self.share
        };
        self.outer.settle(held, if decides { health } else { Health::Neutral }, None);
    }

    pub(super) fn by_hand(&mut self, tenant: Option<usize>, change: impl FnOnce(&mut Model)) {
        match tenant {
            Some(tenant) => change(&mut self.tenants[tenant].own),
            None => change(&mut self.outer),
        }
        self.note();
    }
}
