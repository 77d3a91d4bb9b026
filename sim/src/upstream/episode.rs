use std::time::Duration;

/// What goes wrong with an upstream, and when.
#[derive(Clone, Debug)]
pub struct Episode {
    pub(crate) trouble: Trouble,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
    pub(crate) tenant: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    Down,
    Slow(f64),
    Errors(f64),
    Throttled { share: f64, retry_after: Duration },
    Capacity(f64),
    Rolling { replicas: u32, each: Duration },
}

impl Episode {
    /// Refuses every connection at once.
    #[must_use]
    pub fn down() -> Self {
        Self::new(Trouble::Down)
    }

    /// Works so many times as long on each request.
    ///
    /// # Panics
    ///
    /// If the factor is not positive and finite.
    #[must_use]
    pub fn slow(factor: f64) -> Self {
        assert!(factor > 0.0 && factor.is_finite(), "slow: the factor must be positive, but is {factor}");
        Self::new(Trouble::Slow(factor))
    }

    /// Answers this share of the requests with 500, each on its own, after the usual work.
    ///
    /// # Panics
    ///
    /// If the share does not lie between 0 and 1.
    #[must_use]
    pub fn errors(share: f64) -> Self {
        Self::new(Trouble::Errors(checked("errors", share)))
    }

    /// Answers this share of the requests at once with 429 and a `Retry-After`.
    ///
    /// # Panics
    ///
    /// If the share does not lie between 0 and 1.
    #[must_use]
    pub fn throttled(share: f64, retry_after: Duration) -> Self {
        Self::new(Trouble::Throttled { share: checked("throttled", share), retry_after })
    }

    /// Leaves this share of the servers.
    ///
    /// # Panics
    ///
    /// If the share does not lie between 0 and 1.
    #[must_use]
    pub fn capacity(share: f64) -> Self {
        Self::new(Trouble::Capacity(checked("capacity", share)))
    }

    /// Restarts so many replicas, among which the servers are divided, one after the other: each is down for this time,
    /// and the next one goes down as it returns. Begins with the [episode](Self::between), which the last restart ends.
    ///
    /// When a replica goes down, the requests that it works on are lost with their connection. Those that wait for a
    /// server go to the others. The load balancer learns nothing before the replica is back, so it sends it its share
    /// of the new requests, which are refused: of four replicas every fourth.
    ///
    /// # Panics
    ///
    /// If there is no replica.
    #[must_use]
    pub fn rolling(replicas: u32, each: Duration) -> Self {
        assert!(replicas > 0, "rolling: there must be at least one replica");
        Self::new(Trouble::Rolling { replicas, each })
    }

    fn new(trouble: Trouble) -> Self {
        Self { trouble, from: Duration::ZERO, until: Duration::MAX, tenant: None }
    }

    /// Limits it to this time of the run. Default: all of it.
    #[must_use]
    pub fn between(mut self, from: Duration, until: Duration) -> Self {
        self.from = from;
        self.until = until;
        self
    }

    /// Limits it to the requests of one tenant, counted from 0.
    #[must_use]
    pub fn for_tenant(mut self, tenant: u32) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// When this server goes down in a rolling restart, and when it returns.
    pub(crate) fn down_time(&self, server: u32, servers: u32) -> Option<(Duration, Duration)> {
        let Trouble::Rolling { replicas, each } = self.trouble else { return None };
        let replica = (u64::from(server) * u64::from(replicas) / u64::from(servers)) as u32;
        let down = self.from.saturating_add(each.saturating_mul(replica));
        Some((down.min(self.until), down.saturating_add(each).min(self.until)))
    }

    /// The share of the requests that a rolling restart refuses at this time.
    pub(crate) fn refuses(&self, at: Duration) -> Option<f64> {
        let Trouble::Rolling { replicas, each } = self.trouble else { return None };
        let until = self.from.saturating_add(each.saturating_mul(replicas)).min(self.until);
        (self.from <= at && at < until).then(|| f64::from(replicas).recip())
    }

    pub(crate) fn covers(&self, at: Duration, tenant: u32) -> bool {
        self.from <= at && at < self.until && self.tenant.is_none_or(|only| only == tenant)
    }
}

fn checked(setter: &str, share: f64) -> f64 {
    assert!((0.0..=1.0).contains(&share), "{setter}: the share must lie between 0 and 1, but is {share}");
    share
}
