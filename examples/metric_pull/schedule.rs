//! In which order tenants are pulled, and how many at once: the same for both clients.

use std::collections::VecDeque;
use std::panic::resume_unwind;

use tokio::task::JoinSet;

/// No tenant holds more slots than this, so that one that hangs or asks to wait leaves room for the others.
pub(crate) const AT_ONCE_PER_TENANT: usize = 8;

/// How much there is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) tenants: usize,
    /// Of each tenant.
    pub(crate) pulls: u32,
    /// Over all tenants.
    pub(crate) concurrency: usize,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    left: u32,
    running: usize,
}

impl Progress {
    const fn may_start(&self) -> bool {
        self.left > 0 && self.running < AT_ONCE_PER_TENANT
    }
}

impl Work {
    pub(crate) fn total(&self) -> u64 {
        self.tenants as u64 * u64::from(self.pulls)
    }

    /// Starts a pull of each tenant in turn, round after round, and hands every result to `done`.
    ///
    /// # Errors
    ///
    /// The first one that `done` returns. The pulls that still run are cancelled.
    pub(crate) async fn run<F, E>(
        self,
        mut pull: impl FnMut(usize) -> F,
        mut done: impl FnMut(F::Output) -> Result<(), E>,
    ) -> Result<(), E>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let mut progress = vec![Progress { left: self.pulls, running: 0 }; self.tenants];
        // Holds exactly the tenants that may start another pull.
        let mut turn: VecDeque<usize> = (0..self.tenants).collect();
        let mut running = JoinSet::new();
        loop {
            while running.len() < self.concurrency {
                let Some(tenant) = turn.pop_front() else { break };
                let pull = pull(tenant);
                running.spawn(async move { (tenant, pull.await) });
                progress[tenant].left -= 1;
                progress[tenant].running += 1;
                if progress[tenant].may_start() {
                    turn.push_back(tenant);
                }
            }
            let (tenant, output) = match running.join_next().await {
                None => return Ok(()),
                Some(Ok(finished)) => finished,
                // Nobody cancels a pull, so it panicked.
                Some(Err(error)) => resume_unwind(error.into_panic()),
            };
            let waited_for_room = !progress[tenant].may_start();
            progress[tenant].running -= 1;
            if waited_for_room && progress[tenant].may_start() {
                turn.push_back(tenant);
            }
            done(output)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test]
    async fn tenants_take_turns() {
        let mut order = Vec::new();
        let work = Work { tenants: 3, pulls: 2, concurrency: 1 };
        let pull = |tenant| async move { tenant };
        let done = |tenant| {
            order.push(tenant);
            Ok::<_, Infallible>(())
        };
        work.run(pull, done).await.unwrap();
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    }

    /// Tenant 0 takes ten seconds a pull, the others one.
    #[tokio::test(start_paused = true)]
    async fn a_slow_tenant_leaves_room_for_the_others() {
        let start = Instant::now();
        let running = Arc::new(Mutex::new([0_usize; 3]));
        let mut ends = [Duration::ZERO; 3];
        let work = Work { tenants: 3, pulls: 20, concurrency: 10 };
        let pull = |tenant: usize| {
            let running = Arc::clone(&running);
            async move {
                {
                    let mut running = running.lock().unwrap();
                    running[tenant] += 1;
                    assert!(running[tenant] <= AT_ONCE_PER_TENANT);
                    assert!(running.iter().sum::<usize>() <= 10);
                }
                sleep(Duration::from_secs(if tenant == 0 { 10 } else { 1 })).await;
                running.lock().unwrap()[tenant] -= 1;
                tenant
            }
        };
        let done = |tenant: usize| {
            ends[tenant] = start.elapsed();
            Ok::<_, Infallible>(())
        };
        work.run(pull, done).await.unwrap();
        // The slow one holds 8 of the 10 slots at most, so the other 40 pulls need 20 seconds at the longest; the slow
        // one needs three rounds.
        assert!(ends[1] <= Duration::from_secs(20) && ends[2] <= Duration::from_secs(20), "{ends:?}");
        assert!((30..=40).contains(&ends[0].as_secs()), "{ends:?}");
    }

    #[tokio::test]
    async fn the_first_error_ends_it() {
        let mut left = 3;
        let work = Work { tenants: 5, pulls: 5, concurrency: 1 };
        let done = |tenant: usize| {
            left -= 1;
            if left == 0 { Err(tenant) } else { Ok(()) }
        };
        assert_eq!(work.run(|tenant| async move { tenant }, done).await, Err(2));
    }
}
