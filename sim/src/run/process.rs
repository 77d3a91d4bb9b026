use tower_rampart::breaker::{Handle, State};

use crate::upstream::Server;

/// One process of a run, for which a stack is made.
#[derive(Debug)]
pub struct Process {
    /// Counted from 0.
    pub number: u32,
    /// For what is random in the stack: another number in each process, the same in each run with the same seed. The
    /// layers of `tower_rampart` take it with their setting `seed`.
    pub seed: u64,
    /// The service at the bottom of the stack.
    pub upstream: Server,
}

/// Changes that can come at one instant of a run, before the task that counts them runs.
const CHANGES: usize = 65_536;

impl Process {
    /// Counts when the breakers of a layer open and close: [`Second::opened`](crate::Second::opened),
    /// [`Report::opened_at`](crate::Report::opened_at).
    ///
    /// ```
    /// use rampart_sim::{Episode, Latency, Load, Process, Upstream, simulate};
    /// use std::time::Duration;
    /// use tower::ServiceBuilder;
    /// use tower_rampart::CircuitBreakerLayer;
    ///
    /// let upstream = Upstream::new(1, Latency::Fixed(Duration::from_millis(10)))
    ///     .episode(Episode::down().between(Duration::from_secs(30), Duration::from_secs(40)));
    /// let stack = |process: Process| {
    ///     let breaker = CircuitBreakerLayer::new_for_http().seed(process.seed).consecutive_failures(5);
    ///     process.watch(&breaker.handle());
    ///     ServiceBuilder::new().layer(breaker).service(process.upstream)
    /// };
    /// let report = simulate(stack, &Load::open(1, 10.0), &upstream, 7);
    /// assert_eq!(report.opened_at(), Some(Duration::from_secs(30)));
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of the closure that a run calls for each process.
    pub fn watch<K: 'static>(&self, breakers: &Handle<K>) {
        let mut events = breakers.subscribe(CHANGES);
        let server = self.upstream.clone();
        tokio::task::spawn_local(async move {
            loop {
                let event = events.recv().await;
                let now = server.elapsed();
                match (event.from, event.to) {
                    (from, to) if from == to => {}
                    (_, State::Open) => server.with_ledger(|ledger| ledger.opened(now)),
                    (_, State::Closed) => server.with_ledger(|ledger| ledger.closed(now)),
                    _ => {}
                }
            }
        });
    }
}
