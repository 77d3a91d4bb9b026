use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::call::attempt::Attempt;
use crate::retry::call::{AttemptClock, AttemptId};

pin_project! {
    /// A place for an attempt in flight.
    pub(super) struct Slot<F> {
        #[pin]
        future: Option<F>,
        id: AttemptId,
        // Of a first attempt without a time limit, since it was first pending.
        clock: Option<AttemptClock>,
    }
}

impl<F> Slot<F> {
    pub(super) const EMPTY: Self =
        Self { future: None, id: AttemptId { attempt: Attempt::FIRST, is_hedge: false }, clock: None };

    pub(super) fn is_empty(&self) -> bool {
        self.future.is_none()
    }

    /// The attempt that is here, or was last.
    pub(super) fn id(&self) -> AttemptId {
        self.id
    }

    /// Its time, also once it has ended.
    pub(super) fn clock(&self) -> Option<AttemptClock> {
        self.clock
    }

    /// When its timeout cuts it. `None` also if it is empty.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.clock.filter(|_| !self.is_empty())?.ends()
    }

    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.ends().is_some_and(|ends| ends <= now)
    }

    /// The attempt itself. `None` if the place is empty.
    #[inline]
    pub(super) fn future(self: Pin<&mut Self>) -> Pin<&mut Option<F>> {
        self.project().future
    }

    #[inline]
    pub(super) fn begin(self: Pin<&mut Self>, id: AttemptId, clock: Option<AttemptClock>) {
        let this = self.project();
        (*this.id, *this.clock) = (id, clock);
    }

    /// Returns when it began, which for one without a time limit is now.
    pub(super) fn date(self: Pin<&mut Self>) -> Instant {
        self.project().clock.get_or_insert_with(|| AttemptClock { began: Instant::now(), timeout: None }).began
    }

    /// Drops the attempt. What is known of it stays.
    pub(super) fn empty(self: Pin<&mut Self>) {
        self.project().future.set(None);
    }

    /// Pending if it is empty.
    pub(super) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output>
    where
        F: Future,
    {
        match self.project().future.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }
}
