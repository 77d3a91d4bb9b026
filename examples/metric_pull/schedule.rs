//! When each tenant is pulled: at the same moments in both runs, however long the answers take.

use std::panic::resume_unwind;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How much there is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) tenants: usize,
    /// Of each tenant.
    pub(crate) pulls: u32,
    /// From one pull of a tenant to the next.
    pub(crate) every: Duration,
    /// How many pulls run at once. One that finds no room starts late.
    pub(crate) concurrency: usize,
}

impl Work {
    /// How long the pulls take if none is late, but for the last answers.
    pub(crate) fn length(&self) -> Duration {
        self.every * self.pulls
    }

    /// Starts a pull of each tenant in turn, spread evenly over each round, and hands every result to `done`.
    ///
    /// # Errors
    ///
    /// The first one that `done` returns. The pulls that still run are cancelled.
    pub(crate) async fn run<F, E>(
        self,
        start: Instant,
        mut pull: impl FnMut(usize) -> F,
        mut done: impl FnMut(F::Output) -> Result<(), E>,
    ) -> Result<(), E>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let mut running = JoinSet::new();
        for round in 0..self.pulls {
            for tenant in 0..self.tenants {
                let due = start + self.every * round + self.every.mul_f64(tenant as f64 / self.tenants as f64);
                let due = sleep_until(due);
                tokio::pin!(due);
                loop {
                    tokio::select! {
                        () = &mut due, if running.len() < self.concurrency => break,
                        Some(finished) = running.join_next() => done(output(finished))?,
                    }
                }
                running.spawn(pull(tenant));
            }
        }
        while let Some(finished) = running.join_next().await {
            done(output(finished))?;
        }
        Ok(())
    }
}

fn output<T>(finished: Result<T, tokio::task::JoinError>) -> T {
    // No pull is cancelled while it is waited for, so it panicked.
    finished.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::time::sleep;

    use super::*;

    const WORK: Work = Work { tenants: 4, pulls: 3, every: Duration::from_millis(100), concurrency: 100 };

    async fn starts(work: Work, takes: Duration) -> Vec<(usize, u128)> {
        let start = Instant::now();
        let mut starts = Vec::new();
        let pull = |tenant| {
            let at = start.elapsed().as_millis();
            async move {
                sleep(takes).await;
                (tenant, at)
            }
        };
        let done = |started| {
            starts.push(started);
            Ok::<_, Infallible>(())
        };
        work.run(start, pull, done).await.unwrap();
        starts.sort_by_key(|&(tenant, at)| (at, tenant));
        starts
    }

    #[tokio::test(start_paused = true)]
    async fn pulls_start_on_time_however_long_they_take() {
        let expected: Vec<_> = (0..12).map(|n| (n % 4, 25 * n as u128)).collect();
        assert_eq!(starts(WORK, Duration::ZERO).await, expected);
        assert_eq!(starts(WORK, Duration::from_secs(10)).await, expected);
        assert_eq!(WORK.length(), Duration::from_millis(300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pull_without_room_starts_late() {
        let starts = starts(Work { concurrency: 1, ..WORK }, Duration::from_millis(50)).await;
        assert_eq!(starts, (0..12).map(|n| (n % 4, 50 * n as u128)).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_error_ends_it() {
        let mut left = 3;
        let done = |tenant: usize| {
            left -= 1;
            if left == 0 { Err(tenant) } else { Ok(()) }
        };
        assert_eq!(WORK.run(Instant::now(), |tenant| async move { tenant }, done).await, Err(2));
    }
}
