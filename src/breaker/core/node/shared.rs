use std::sync::Arc;

use crate::breaker::core::observer::Observer;
use crate::breaker::core::policy::Policy;
use crate::breaker::core::waiters::Waiters;
use crate::breaker::flight_recorder::FlightRecorder;
use crate::clock::Clock;
use crate::seed::SharedRng;
use crate::sync::{AtomicBool, Ordering};

/// What all nodes of one layer share.
#[derive(Debug)]
pub(crate) struct Shared<N> {
    pub(crate) policy: Policy,
    /// Whether calls are timed now, also by later settings: a call that begins need not know which hold.
    times_calls: AtomicBool,
    /// Whether the layer has more than one node.
    pub(crate) is_partitioned: bool,
    pub(crate) clock: Clock,
    pub(crate) observer: Arc<dyn Observer<N>>,
    pub(crate) waiters: Arc<Waiters>,
    /// The jitter of open times, drawn from only when a breaker opens. Not the thread's own generator: a call can be
    /// dropped while its thread exits, when that generator is gone.
    pub(in crate::breaker::core) rng: Arc<SharedRng>,
    pub(crate) recorder: Option<Arc<FlightRecorder>>,
}

impl<N> Shared<N> {
    pub(crate) fn new(
        policy: Policy,
        is_partitioned: bool,
        clock: Clock,
        observer: Arc<dyn Observer<N>>,
        recorder: Option<Arc<FlightRecorder>>,
    ) -> Arc<Self> {
        let rng = Arc::new(SharedRng::new(policy.seed));
        let (times_calls, waiters) = (AtomicBool::new(policy.times_calls), Arc::default());
        Arc::new(Self { policy, times_calls, is_partitioned, clock, observer, waiters, rng, recorder })
    }

    /// The same with other settings.
    pub(crate) fn with(&self, policy: Policy) -> Arc<Self> {
        let Self { policy: _, times_calls: _, is_partitioned, clock, observer, waiters, rng, recorder } = self;
        let (is_partitioned, clock, observer) = (*is_partitioned, clock.clone(), observer.clone());
        let (waiters, rng, recorder) = (waiters.clone(), rng.clone(), recorder.clone());
        let times_calls = AtomicBool::new(policy.times_calls);
        Arc::new(Self { policy, times_calls, is_partitioned, clock, observer, waiters, rng, recorder })
    }

    /// Whether calls are timed.
    #[inline(always)]
    pub(super) fn times_calls(&self) -> bool {
        self.times_calls.load(Ordering::Relaxed)
    }

    /// Lets calls be timed as these settings need it.
    pub(crate) fn time_calls_for(&self, policy: &Policy) {
        self.times_calls.store(policy.times_calls, Ordering::Relaxed);
    }
}
