use std::sync::Arc;
use std::time::Duration;

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

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Open { per_second: f64, arrivals: Arrivals },
    Closed { think: Duration },
    Trace(Arc<[Arrival]>),
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

/// One call of an open loop or a trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Duration,
    pub(crate) process: u32,
    pub(crate) tenant: u32,
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

    /// Replays recorded calls: when each came, from which process, counted from 0, and of which tenant, counted from 0.
    /// If all are of tenant 0, there are no tenants. The order does not matter.
    ///
    /// ```
    /// use rampart_sim::{Latency, Load, Process, Upstream, simulate};
    /// use std::time::Duration;
    ///
    /// let recorded = [(0, 0, 0), (20, 1, 0), (25, 0, 0)];
    /// let load = Load::trace(recorded.map(|(millis, process, tenant)| (Duration::from_millis(millis), process, tenant)));
    /// let upstream = Upstream::new(1, Latency::Fixed(Duration::from_millis(10)));
    /// let report = simulate(|process: Process| process.upstream, &load, &upstream, 7);
    /// assert_eq!((report.good, report.latency_ms.p999), (3, 15));
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no call.
    #[must_use]
    pub fn trace(calls: impl IntoIterator<Item = (Duration, u32, u32)>) -> Self {
        let arrival = |(at, process, tenant)| Arrival { at, process, tenant };
        let mut calls: Vec<Arrival> = calls.into_iter().map(arrival).collect();
        calls.sort_by_key(|call| call.at);
        let tenants = calls.iter().map(|call| call.tenant).max().filter(|last| *last > 0).map_or(0, |last| last + 1);
        let processes = calls.iter().map(|call| call.process).max().map_or(0, |last| last + 1);
        let duration = calls.last().map_or(Duration::ZERO, |last| last.at + Duration::from_millis(1));
        Self { tenants, duration, ..Self::new(processes, Kind::Trace(calls.into())) }
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

    /// Sets how long calls are made. Default: 60 s, or the whole of a trace.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Makes the calls those of so many tenants (a trace keeps its own), named in the header `x-tenant-id`. Tenant k
    /// calls as often as Zipf's law with this exponent says: with 0 all call alike, with 1 the tenth a tenth as often
    /// as the first.
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

    /// The pause of a closed loop.
    pub(crate) fn think(&self) -> Duration {
        match self.kind {
            Kind::Closed { think } => think,
            Kind::Open { .. } | Kind::Trace(_) => Duration::ZERO,
        }
    }
}
