use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

pin_project! {
    /// The time limit of the current state. Created only once something is pending.
    #[derive(Default)]
    pub(in crate::retry) struct Timer {
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Timer {
    #[inline(always)]
    pub(in crate::retry) fn stop(self: Pin<&mut Self>) {
        if self.sleep.is_some() {
            self.project().sleep.set(None);
        }
    }

    pub(in crate::retry) fn set_to(self: Pin<&mut Self>, wait: Duration) {
        self.project().sleep.set(Some(tokio::time::sleep(wait)));
    }

    /// Ready once the time that was set has passed.
    pub(in crate::retry) fn poll_wait(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut sleep = self.project().sleep;
        if let Some(timer) = sleep.as_mut().as_pin_mut() {
            ready!(timer.poll(cx));
        }
        sleep.set(None);
        Poll::Ready(())
    }

    /// Ready once the moment has come, and returns it. `moment` is evaluated on the first poll; with `None` this stays
    /// pending.
    pub(in crate::retry) fn poll_until(
        self: Pin<&mut Self>,
        moment: impl FnOnce() -> Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<Instant> {
        let mut sleep = self.project().sleep;
        if sleep.is_none() {
            sleep.set(moment().map(tokio::time::sleep_until));
        }
        let Some(mut timer) = sleep.as_pin_mut() else {
            return Poll::Pending;
        };
        // Checks the clock too: a future that uses up the task's cooperative budget in every poll starves the timer.
        if timer.as_mut().poll(cx).is_ready() || timer.deadline() <= Instant::now() {
            Poll::Ready(timer.deadline())
        } else {
            Poll::Pending
        }
    }
}
