use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp1, Zipf};

use crate::run::load::{Arrival, Arrivals, Kind, Load};

/// The calls of an open loop in the order of their times.
struct Schedule<'a> {
    load: &'a Load,
    per_second: f64,
    arrivals: Arrivals,
    tenants: Tenants,
    rng: SmallRng,
    at: Duration,
    next: u32,
}

/// The tenants of the calls of one load.
#[derive(Debug)]
pub(crate) enum Tenants {
    One,
    Weighted(Zipf<f64>),
}

impl Load {
    /// The calls in the order of their times; `None` for a closed loop, whose calls depend on the answers.
    pub(crate) fn schedule(&self, rng: SmallRng) -> Option<Box<dyn Iterator<Item = Arrival> + '_>> {
        match &self.kind {
            Kind::Open { per_second, arrivals } => Some(Box::new(Schedule::new(self, *per_second, *arrivals, rng))),
            Kind::Trace(calls) => Some(Box::new(calls.iter().copied().take_while(|call| call.at < self.duration))),
            Kind::Closed { .. } => None,
        }
    }
}

impl<'a> Schedule<'a> {
    fn new(load: &'a Load, per_second: f64, arrivals: Arrivals, rng: SmallRng) -> Self {
        let per_second = per_second * f64::from(load.processes);
        Self { load, per_second, arrivals, tenants: Tenants::of(load), rng, at: Duration::ZERO, next: 0 }
    }

    /// The factor at this time, and when it changes.
    fn factor(&self) -> (f64, Option<Duration>) {
        let past = self.load.changes.partition_point(|change| change.0 <= self.at);
        let factor = past.checked_sub(1).and_then(|last| self.load.changes.get(last)).map_or(1.0, |change| change.1);
        (factor, self.load.changes.get(past).map(|change| change.0))
    }

    /// Moves to the time of the next call. A time that is left at a change counts anew: neither spread has a memory
    /// that a change of the rate would keep.
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

impl Iterator for Schedule<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.advance()?;
        let process = match self.arrivals {
            Arrivals::Poisson => self.rng.random_range(0..self.load.processes),
            Arrivals::Even => {
                self.next = (self.next + 1) % self.load.processes;
                self.next
            }
        };
        Some(Arrival { at: self.at, process, tenant: self.tenants.draw(&mut self.rng) })
    }
}

impl Tenants {
    pub(crate) fn of(load: &Load) -> Self {
        match load.tenants {
            0 => Self::One,
            // The parameters were checked where they were set.
            tenants => Zipf::new(f64::from(tenants), load.zipf).map_or(Self::One, Self::Weighted),
        }
    }

    /// The number of a tenant, from 0.
    pub(crate) fn draw(&self, rng: &mut SmallRng) -> u32 {
        match self {
            Self::One => 0,
            Self::Weighted(zipf) => zipf.sample(rng) as u32 - 1,
        }
    }
}
