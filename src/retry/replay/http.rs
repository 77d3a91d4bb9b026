use std::time::Duration;

use http::request::Parts;
use http::{Extensions, Request, Response};
use tokio::time::Instant;

use super::AttemptPlan;
use crate::call::attempt::Attempt;
use crate::call::deadline::{AttemptDeadline, Deadline};
use crate::classify::{Health, Processed, Reason, Verdict};
use crate::retry::headers::Headers;
use crate::retry::observe::{Origin, PartitionLabel, RetryReport};
use crate::retry::policy;
use crate::retry::settings::LayerSettings;

/// What is the same for all HTTP requests, however their bodies are kept.
#[derive(Clone, Debug)]
pub(in crate::retry) struct Http<Idempotency> {
    pub(in crate::retry) idempotency: Idempotency,
    pub(in crate::retry) partition_label: Option<PartitionLabel>,
    /// `None` if there are none to read or to write, so that this costs one comparison.
    pub(in crate::retry) headers: Option<Headers>,
}

/// The limit that an outer retry layer set, in the extensions of a request: this layer replaces it in each attempt.
#[derive(Clone, Copy)]
struct OuterAttempt(AttemptDeadline);

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
    pub(in crate::retry) fn new(idempotency: Idempotency, is_grpc: bool) -> Self {
        let headers = is_grpc.then(|| Headers { is_grpc, ..Headers::default() });
        Self { idempotency, partition_label: None, headers }
    }

    pub(in crate::retry) fn idempotency<Other>(self, idempotency: Other) -> Http<Other> {
        let Self { idempotency: _, partition_label, headers } = self;
        Http { idempotency, partition_label, headers }
    }

    // On the path of every call, where a call of its own costs 20 instructions.
    #[inline(always)]
    pub(super) fn deadline<B>(&self, request: &Request<B>, of_layer: Option<Duration>) -> Option<Deadline> {
        let carried = if request.extensions().is_empty() { None } else { request.extensions().get().copied() };
        let deadline = carried.or_else(|| of_layer.map(Deadline::within));
        match &self.headers {
            None => deadline,
            Some(headers) => headers.deadline(request.headers(), deadline),
        }
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
        let AttemptPlan { attempt, is_first, more, deadline, ends } = plan;
        if attempt.is_retry() {
            head.extensions.insert(attempt);
        }
        if let Some(ends) = ends {
            write_attempt_deadline(&mut head.extensions, ends, is_first);
        }
        if let Some(headers) = &self.headers {
            headers.write(head, attempt, more, deadline);
        }
    }

    pub(super) fn settings(&self) -> LayerSettings {
        let Headers { is_grpc: _, deadline, guard } = self.headers.clone().unwrap_or_default();
        LayerSettings { deadline_header: deadline, guard, ..LayerSettings::default() }
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.headers.as_ref().is_some_and(|headers| headers.is_grpc)
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

    pub(super) fn has_key<Body, Rest>(kept: &Kept<Body, Rest>) -> bool {
        matches!(kept, Kept::Whole { head, body: _ } if policy::has_key(head))
    }

    pub(super) fn outer_limit<Body, Rest>(kept: &Kept<Body, Rest>, is_limited: bool) -> Option<AttemptDeadline> {
        let Kept::Whole { head, body: _ } = kept else { return None };
        match is_limited {
            true => head.extensions.get().map(|&OuterAttempt(limit)| limit),
            false => head.extensions.get().copied(),
        }
    }

    pub(super) fn is_retried_above<Body, Rest>(&self, kept: &Kept<Body, Rest>) -> bool {
        match (&self.headers, kept) {
            (Some(headers), Kept::Whole { head, body: _ }) => headers.is_retried_above(&head.extensions),
            _ => false,
        }
    }

    pub(super) fn origin<Body, Rest>(&self, kept: &Kept<Body, Rest>) -> Origin {
        match kept {
            Kept::Whole { head, body: _ } => Origin::of(head, self.partition_label.as_ref()),
            Kept::Sent { origin, rest: _ } => origin.clone().unwrap_or_default(),
        }
    }

    /// Returns the origin of a request that is sent for the last time. A first attempt that is also the last one is
    /// never reported, so it needs none.
    pub(super) fn last_origin(&self, head: &Parts, attempt: Attempt) -> Option<Origin> {
        attempt.is_retry().then(|| Origin::of(head, self.partition_label.as_ref()))
    }
}

/// Writes when an attempt is cut: by this layer, or before that by an outer one.
fn write_attempt_deadline(extensions: &mut Extensions, ends: Instant, is_first: bool) {
    let outer = if is_first {
        let outer = extensions.get().copied().map(OuterAttempt);
        outer.map(|outer| extensions.insert(outer));
        outer
    } else {
        extensions.get().copied()
    };
    let ends = AttemptDeadline::at(ends);
    extensions.insert(outer.map_or(ends, |OuterAttempt(outer)| outer.min(ends)));
}

pub(super) fn leave_report<B>(report: RetryReport, response: &mut Response<B>) {
    // An outer layer must not treat the verdict on the last attempt as that on the whole call.
    if let Some(last) = report.history().last().map(|last| last.verdict()) {
        if last.processed() != report.processed() {
            last.with_processed(report.processed()).leave_in(response);
        }
    }
    response.extensions_mut().insert(report);
}

/// Returns true if the classifier recognised the error as a failure of the caller's own body.
pub(super) fn is_own_body_failure(verdict: &Verdict) -> bool {
    (verdict.reason(), verdict.processed(), verdict.health()) == (Reason::USER, Processed::Maybe, Health::Neutral)
}
