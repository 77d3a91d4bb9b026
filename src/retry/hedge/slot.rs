use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::attempt::Attempt;
use crate::retry::call::AttemptId;

pin_project! {
    /// A place for an attempt in flight.
    #[derive(Debug)]
    pub(super) struct Slot<F> {
        #[pin]
        future: Option<F>,
        id: AttemptId,
        // When it began. Of a first attempt without a time limit, when it was first pending.
        began: Option<Instant>,
        // When its timeout cuts it.
        ends: Option<Instant>,
    }
}

impl<F> Slot<F> {
    pub(super) const EMPTY: Self =
        Self { future: None, id: AttemptId { attempt: Attempt::FIRST, is_hedge: false }, began: None, ends: None };

    pub(super) fn is_empty(&self) -> bool {
        self.future.is_none()
    }

    /// The attempt that is here, or was last.
    pub(super) fn id(&self) -> AttemptId {
        self.id
    }

    pub(super) fn began(&self) -> Option<Instant> {
        self.began
    }

    /// Its attempt timeout, also once it has ended.
    pub(super) fn timeout(&self) -> Option<Duration> {
        Some(self.ends?.saturating_duration_since(self.began?))
    }

    /// `None` also if it is empty.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends.filter(|_| !self.is_empty())
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
    pub(super) fn begin(self: Pin<&mut Self>, id: AttemptId, began: Option<Instant>, ends: Option<Instant>) {
        let this = self.project();
        (*this.id, *this.began, *this.ends) = (id, began, ends);
    }

    pub(super) fn date(self: Pin<&mut Self>, began: Instant) {
        *self.project().began = Some(began);
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
