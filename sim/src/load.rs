use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp1, Zipf};

/// Who calls how often.
#[derive(Clone, Debug)]
pub struct Load {
    pub(crate) processes: u32,
    pub(crate) kind: Kind,
    pub(crate) duration: Duration,
    pub(crate) tenants: u32,
    pub(crate) zipf: f64,
    pub(crate) changes: Vec<(Duration, f64)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Open { per_second: f64, arrivals: Arrivals },
    Closed { think: Duration },
}

/// How the calls of an open loop are spread over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// Independent calls of many users.
    #[default]
    Poisson,
    /// The same time between one call and the next.
    Even,
}

/// The next call of an open loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Duration,
    pub(crate) process: usize,
    pub(crate) tenant: u32,
}

/// The calls of an open loop in the order of their times.
pub(crate) struct Schedule<'a> {
    load: &'a Load,
    per_second: f64,
    arrivals: Arrivals,
    rng: SmallRng,
    at: Duration,
    next: usize,
}

/// The tenants of the calls of one load.
#[derive(Debug)]
pub(crate) enum Tenants {
    One,
    Weighted(Zipf<f64>),
}

impl Load {
    /// Processes that each make so many calls a second, whether or not the earlier ones have been answered.
    ///
    /// # Panics
    ///
    /// If there is no process, or the rate is not positive and finite.
    #[must_use]
    pub fn open(processes: u32, per_second: f64) -> Self {
        assert!(per_second > 0.0 && per_second.is_finite(), "open: the rate must be positive, but is {per_second}");
        Self::new(processes, Kind::Open { per_second, arrivals: Arrivals::default() })
    }

    /// Processes that each make one call after the other, with a pause between an answer and the next call.
    ///
    /// # Panics
    ///
    /// If there is no process, or the pause is zero, because time would stand still in an outage.
    #[must_use]
    pub fn closed(processes: u32, think: Duration) -> Self {
        assert!(!think.is_zero(), "closed: the pause must not be zero");
        Self::new(processes, Kind::Closed { think })
    }

    fn new(processes: u32, kind: Kind) -> Self {
        assert!(processes > 0, "there must be at least one process");
        let duration = Duration::from_secs(60);
        Self { processes, kind, duration, tenants: 0, zipf: 0.0, changes: Vec::new() }
    }

    /// Sets how the calls of an open loop are spread. Default: [`Arrivals::Poisson`].
    #[must_use]
    pub fn arrivals(mut self, spread: Arrivals) -> Self {
        if let Kind::Open { arrivals, .. } = &mut self.kind {
            *arrivals = spread;
        }
        self
    }

    /// Sets how long calls are made. Default: 60 s.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Makes the calls those of so many tenants, named in the header `x-tenant-id`. Tenant k calls as often as Zipf's law
    /// with this exponent says: with 0 all call alike, with 1 the tenth a tenth as often as the first.
    ///
    /// # Panics
    ///
    /// If there is no tenant, or the exponent is negative or not finite.
    #[must_use]
    pub fn tenants(mut self, tenants: u32, zipf: f64) -> Self {
        assert!(tenants > 0, "tenants: there must be at least one");
        assert!(zipf >= 0.0 && zipf.is_finite(), "tenants: the exponent must not be negative, but is {zipf}");
        self.tenants = tenants;
        self.zipf = zipf;
        self
    }

    /// Multiplies the rate of an open loop from this time on, until the next change. 0 stops the calls.
    ///
    /// # Panics
    ///
    /// If the factor is negative or not finite, or the change is earlier than the one before.
    #[must_use]
    pub fn change_rate(mut self, from: Duration, factor: f64) -> Self {
        assert!(factor >= 0.0 && factor.is_finite(), "change_rate: the factor must not be negative, but is {factor}");
        let last = self.changes.last().map_or(Duration::ZERO, |change| change.0);
        assert!(from >= last, "change_rate: {from:?} is before the change at {last:?}");
        self.changes.push((from, factor));
        self
    }

    pub(crate) fn weights(&self) -> Tenants {
        match self.tenants {
            0 => Tenants::One,
            // The parameters were checked where they were set.
            tenants => Zipf::new(f64::from(tenants), self.zipf).map_or(Tenants::One, Tenants::Weighted),
        }
    }
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(load: &'a Load, per_second: f64, arrivals: Arrivals, rng: SmallRng) -> Self {
        let per_second = per_second * f64::from(load.processes);
        Self { load, per_second, arrivals, rng, at: Duration::ZERO, next: 0 }
    }

    /// The factor at this time, and when it changes.
    fn factor(&self) -> (f64, Option<Duration>) {
        let past = self.load.changes.partition_point(|change| change.0 <= self.at);
        let factor = past.checked_sub(1).and_then(|last| self.load.changes.get(last)).map_or(1.0, |change| change.1);
        (factor, self.load.changes.get(past).map(|change| change.0))
    }

    /// Moves to the time of the next call. A time that is left at a change counts anew: neither spread has a memory that
    /// a change of the rate would keep.
    fn advance(&mut self) -> Option<()> {
        loop {
            let (factor, change) = self.factor();
            let calls: f64 = match self.arrivals {
                Arrivals::Poisson => Exp1.sample(&mut self.rng),
                Arrivals::Even => 1.0,
            };
            let wait = calls / (self.per_second * factor);
            let at = wait.is_finite().then(|| self.at.saturating_add(Duration::from_secs_f64(wait.min(1e9))));
            match (at, change) {
                (Some(at), Some(change)) if at >= change => self.at = change,
                (Some(at), _) => {
                    self.at = at;
                    return (at < self.load.duration).then_some(());
                }
                (None, Some(change)) => self.at = change,
                (None, None) => return None,
            }
        }
    }
}

impl Schedule<'_> {
    pub(crate) fn next(&mut self, tenants: &Tenants) -> Option<Arrival> {
        self.advance()?;
        let processes = self.load.processes as usize;
        let process = match self.arrivals {
            Arrivals::Poisson => self.rng.random_range(0..processes),
            Arrivals::Even => {
                self.next = (self.next + 1) % processes;
                self.next
            }
        };
        Some(Arrival { at: self.at, process, tenant: tenants.draw(&mut self.rng) })
    }
}

impl Tenants {
    /// The number of a tenant, from 0.
    pub(crate) fn draw(&self, rng: &mut SmallRng) -> u32 {
        match self {
            Self::One => 0,
            Self::Weighted(zipf) => zipf.sample(rng) as u32 - 1,
        }
    }
}
