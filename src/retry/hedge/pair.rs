//! What is in flight of a call that hedges.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::race::{Hedging, Race, Which};
use super::slot::Slot;
use crate::BoxError;
use crate::call::cut::{self, Sent};
use crate::classify::Classifier;
use crate::retry::call::{AttemptId, AttemptOutcome, Call};
use crate::retry::config::Shared;
use crate::retry::future::{InFlight, PartsOf};
use crate::retry::observe::OnRetry;
use crate::retry::replay::Replay;

pin_project! {
    /// The places of an attempt and its hedge.
    #[project = PairProj]
    pub(super) struct Pair<F> {
        #[pin]
        first: Slot<F>,
        #[pin]
        hedge: Slot<F>,
        hedging: Hedging,
    }

    impl<F> PinnedDrop for Pair<F> {
        /// An outer retry layer that cuts this call learns from the layers inside whether one request was sent, but
        /// not of two.
        fn drop(this: Pin<&mut Self>) {
            if !this.project().hedge.is_empty() {
                cut::report(Sent::Maybe);
            }
        }
    }
}

/// Both are empty.
impl<F> Default for Pair<F> {
    #[inline]
    fn default() -> Self {
        Self { first: Slot::EMPTY, hedge: Slot::EMPTY, hedging: Hedging::Over }
    }
}

impl<S, Req, SharedT> InFlight<S, Req, SharedT> for Pair<S::Future>
where
    S: Service<<SharedT::Replay as Replay<Req>>::Request> + Clone,
    S::Error: Into<BoxError>,
    SharedT: Shared<Classifier: Classifier<S::Response>, Replay: Replay<Req>, OnRetry: OnRetry>,
{
    #[inline]
    fn first(self: Pin<&mut Self>) -> Pin<&mut Option<S::Future>> {
        self.project().first.future()
    }

    #[inline]
    fn begin(self: Pin<&mut Self>, call: &Call<SharedT>) {
        let this = self.project();
        let id = AttemptId { attempt: call.attempt, is_hedge: false };
        this.first.begin(id, call.clock);
        *this.hedging = Hedging::Undecided;
    }

    #[inline]
    fn first_won(self: Pin<&mut Self>, parts: PartsOf<'_, S, Req, SharedT>) {
        self.race(parts).first_won();
    }

    fn first_failed(
        self: Pin<&mut Self>,
        parts: PartsOf<'_, S, Req, SharedT>,
        outcome: AttemptOutcome<S::Response>,
    ) -> Option<AttemptOutcome<S::Response>> {
        self.race(parts).end(Which::First, outcome)
    }

    fn poll_rest(
        self: Pin<&mut Self>,
        parts: PartsOf<'_, S, Req, SharedT>,
        cx: &mut Context<'_>,
    ) -> Poll<AttemptOutcome<S::Response>> {
        self.race(parts).poll(cx)
    }
}

impl<F> Pair<F> {
    fn race<'a, S, Req, SharedT>(
        self: Pin<&'a mut Self>,
        parts: PartsOf<'a, S, Req, SharedT>,
    ) -> Race<'a, S, Req, SharedT>
    where
        S: Service<<SharedT::Replay as Replay<Req>>::Request, Future = F>,
        SharedT: Shared<Replay: Replay<Req>>,
    {
        let PairProj { first, hedge, hedging } = self.project();
        Race { first, hedge, hedging, parts }
    }
}
