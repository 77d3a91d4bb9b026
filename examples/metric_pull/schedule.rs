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
