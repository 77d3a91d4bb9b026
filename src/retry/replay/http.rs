use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use tokio::time::Instant;

use super::{AttemptPlan, grpc_timeout};
use crate::attempt::Attempt;
use crate::classify::{Health, Processed, Reason, Verdict};
use crate::deadline::{AttemptDeadline, Deadline};
use crate::retry::observe::{Origin, PartitionLabel, RetryReport};
use crate::retry::policy;

/// What is the same for all HTTP requests, however their bodies are kept.
#[derive(Clone, Debug)]
pub(in crate::retry) struct Http<Idempotency> {
    pub(in crate::retry) idempotency: Idempotency,
    pub(in crate::retry) is_grpc: bool,
    pub(in crate::retry) partition_label: Option<PartitionLabel>,
}

/// An HTTP request that will be sent, or may be sent again, with what stands for its body.
// The small variant is the rare one: it exists during the last attempt alone.
#[allow(clippy::large_enum_variant)]
pub(super) enum Kept<Body, Rest> {
    Whole {
        head: Parts,
        body: Body,
    },
    /// The last attempt took it. What a report needs stays, and what is left of the body.
    Sent {
        origin: Option<Origin>,
        rest: Rest,
    },
}

impl<Idempotency> Http<Idempotency> {
    pub(in crate::retry) const fn new(idempotency: Idempotency, is_grpc: bool) -> Self {
        Self { idempotency, is_grpc, partition_label: None }
    }

    pub(in crate::retry) fn idempotency<Other>(self, idempotency: Other) -> Http<Other> {
        let Self { idempotency: _, is_grpc, partition_label } = self;
        Http { idempotency, is_grpc, partition_label }
    }

    // On the path of every call, where a call of its own costs 20 instructions.
    #[inline(always)]
    pub(super) fn deadline<B>(&self, request: &Request<B>, of_layer: Option<Duration>) -> Option<Deadline> {
        let carried = if request.extensions().is_empty() { None } else { request.extensions().get().copied() };
        let deadline = carried.or_else(|| of_layer.map(Deadline::within));
        if !self.is_grpc {
            return deadline;
        }
        let asked = grpc_timeout::read(request.headers()).map(Deadline::within);
        deadline.into_iter().chain(asked).min()
    }

    /// Writes the deadline of the call into its request.
    #[inline]
    pub(super) fn write_deadline(head: &mut Parts, deadline: Option<Deadline>) {
        if let Some(deadline) = deadline {
            head.extensions.insert(deadline);
        }
    }

    /// Writes the number and the time limits of an attempt into its request.
    #[inline]
    pub(super) fn write_attempt(&self, head: &mut Parts, plan: AttemptPlan) {
        let AttemptPlan { attempt, more: _, deadline, ends } = plan;
        if attempt.is_retry() {
            head.extensions.insert(attempt);
        }
        if let Some(ends) = ends {
            head.extensions.insert(AttemptDeadline::at(ends));
        }
        if let Some(deadline) = deadline.filter(|_| self.is_grpc) {
            grpc_timeout::write(&mut head.headers, deadline.remaining());
        }
    }

    /// Returns the head of a request that is sent beside another attempt.
    pub(super) fn hedge_head(&self, head: &Parts, plan: AttemptPlan) -> Parts {
        let mut head = head.clone();
        self.write_attempt(&mut head, plan);
        head
    }

    pub(super) fn is_idempotent<Body, Rest>(&self, kept: &Kept<Body, Rest>) -> bool
    where
        Idempotency: policy::Idempotency<Parts>,
    {
        match kept {
            Kept::Whole { head, body: _ } => self.idempotency.is_idempotent(head),
            Kept::Sent { .. } => false,
        }
    }

    pub(super) fn origin<Body, Rest>(&self, kept: &Kept<Body, Rest>) -> Origin {
        match kept {
            Kept::Whole { head, body: _ } => Origin::of(head, self.partition_label.as_ref()),
            Kept::Sent { origin, rest: _ } => origin.clone().unwrap_or_default(),
        }
    }

    /// Returns the origin of a request that is sent for the last time. A first attempt that is also the last one is never
    /// reported, so it needs none.
    pub(super) fn last_origin(&self, head: &Parts, attempt: Attempt) -> Option<Origin> {
        attempt.is_retry().then(|| Origin::of(head, self.partition_label.as_ref()))
    }
}

pub(super) fn outer_attempt_ends<B>(request: &Request<B>) -> Option<Instant> {
    request.extensions().get().copied().map(AttemptDeadline::instant)
}

pub(super) fn leave_report<B>(report: RetryReport, response: &mut Response<B>) {
    // An outer layer must not treat the verdict on the last attempt as that on the whole call.
    if let Some(last) = report.history().last().map(|last| last.verdict()) {
        if last.is_unprocessed() && report.processed() != Processed::No {
            last.with_processed(report.processed()).leave_in(response);
        }
    }
    response.extensions_mut().insert(report);
}

/// Returns true if the classifier recognised the error as a failure of the caller's own body.
pub(super) fn is_own_body_failure(verdict: &Verdict) -> bool {
    (verdict.reason(), verdict.processed(), verdict.health()) == (Reason::USER, Processed::Maybe, Health::Neutral)
}
