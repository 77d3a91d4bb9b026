use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, StandardNormal};
use tokio::time::{Instant, sleep};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::RetryLayer;
use tower_rampart::classify::{Verdict, classifier_fn};
use tower_rampart::retry::Backoff;

use crate::run::simulate::on_paused_time;

/// What clients needed until each of them had written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contended {
    /// Writes tried, in vain or not.
    pub calls: u64,
    /// When the last client had its answer.
    pub took: Duration,
}

/// One row, which accepts a write only with the version that it has.
#[derive(Debug)]
struct Row {
    version: Cell<u64>,
    calls: Cell<u64>,
    /// How long a message takes on average.
    message: Duration,
    network: RefCell<SmallRng>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    Accepted,
    Conflict,
}

/// Clients that begin together and each write one row once, with optimistic concurrency: read the version, write with
/// it, and after a conflict wait and begin again.
///
/// The model is that of Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: the time of a
/// message is normally distributed around `message` with a standard deviation of a fifth, and the row takes no time.
/// The waits are those of a [`RetryLayer`] with this backoff.
///
/// Only the proportions count, and tokio's timers round up to a millisecond: give all times in seconds where you mean
/// milliseconds. Brooker's first wait is twice his base: his base of 5, cap of 2,000 and messages of 10 are these.
///
/// ```
/// use std::time::Duration;
///
/// use rampart_sim::contend;
/// use tower_rampart::retry::{Backoff, Jitter};
///
/// let message = Duration::from_secs(10);
/// let backoff = Backoff::exponential(Duration::from_secs(10), Duration::from_secs(2_000));
/// let spread = contend(50, message, backoff.clone(), 1);
/// let together = contend(50, message, backoff.jitter(Jitter::None), 1);
/// assert!(spread.calls < together.calls && spread.took < together.took);
/// ```
///
/// # Panics
///
/// If it is called within a tokio runtime.
#[must_use]
pub fn contend(clients: u32, message: Duration, backoff: Backoff, seed: u64) -> Contended {
    on_paused_time(run(clients, message, backoff, seed))
}

async fn run(clients: u32, message: Duration, backoff: Backoff, seed: u64) -> Contended {
    let network = RefCell::new(SmallRng::seed_from_u64(seed));
    let row = Rc::new(Row { version: Cell::new(0), calls: Cell::new(0), message, network });
    let classifier = classifier_fn(|outcome: Result<&Write, _>| match outcome {
        Ok(Write::Accepted) => Verdict::success(),
        Ok(Write::Conflict) => Verdict::transient(),
        Err(error) => Verdict::of_error(error),
    });
    let retry = RetryLayer::new(classifier).max_attempts(u32::MAX).no_budget().backoff(backoff).seed(seed);
    let began = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let row = row.clone();
            let client = ServiceBuilder::new().layer(&retry).service(service_fn(move |()| row.clone().update()));
            tokio::task::spawn_local(client.oneshot(()))
        })
        .collect();
    for task in tasks {
        let written = task.await.ok().and_then(Result::ok);
        assert_eq!(written, Some(Write::Accepted), "a client gives up only after {} attempts", u32::MAX);
    }
    Contended { calls: row.calls.get(), took: began.elapsed() }
}

impl Row {
    /// Reads the version and writes with it: four messages.
    async fn update(self: Rc<Self>) -> Result<Write, tower::BoxError> {
        self.message().await;
        let read = self.version.get();
        self.message().await;
        self.message().await;
        self.calls.set(self.calls.get() + 1);
        let write = if read == self.version.get() { Write::Accepted } else { Write::Conflict };
        if write == Write::Accepted {
            self.version.set(read + 1);
        }
        self.message().await;
        Ok(write)
    }

    async fn message(&self) {
        let draw: f64 = StandardNormal.sample(&mut *self.network.borrow_mut());
        sleep(self.message.mul_f64((1.0 + 0.2 * draw).abs())).await;
    }
}
