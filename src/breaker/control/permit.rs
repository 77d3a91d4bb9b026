use std::mem;
use std::sync::Arc;
use std::thread;

use super::circuit_open::{CircuitOpen, Named};
use crate::breaker::core::node::node_ref::NodeRef;
use crate::breaker::core::node::{Admission, Completion, Node};
use crate::breaker::core::state_machine::{Attempt, Rejection};
use crate::call::attempt_span;
use crate::call::cut::{self, Sent};
use crate::classify::body::Settle;
use crate::classify::{Health, Reason, Verdict};
use crate::clock::{Moment, Stopwatch};

/// The right to one call, from [`CircuitBreaker::try_acquire`](crate::breaker::CircuitBreaker::try_acquire). Guards a
/// block of code that [`call`](crate::breaker::CircuitBreaker::call) cannot wrap.
///
/// Settles once, however the call ends. Its time runs from when it was acquired until it is settled. Dropped without a
/// verdict, for example by `?`, the call was abandoned, which teaches nothing unless it had already run too long or a
/// time limit cut it: see [`Abandoned`](crate::breaker::Abandoned). Dropped by a panic that began after it was
/// acquired, the call failed.
///
/// ```
/// use tower_rampart::BoxError;
/// use tower_rampart::breaker::CircuitBreaker;
/// use tower_rampart::classify::Class;
///
/// fn rows(breaker: &CircuitBreaker, input: &str) -> Result<u32, BoxError> {
///     let permit = breaker.try_acquire()?;
///     let rows: u32 = input.parse()?; // our own mistake: the block ends here, and the permit is neutral
///     match rows {
///         0 => permit.fail(),
///         13 => permit.settle(Class::Ambiguous),
///         _ => permit.succeed(),
///     }
///     Ok(rows)
/// }
///
/// let breaker = CircuitBreaker::builder().name("database").build();
/// for input in ["1", "no number", "0", "2"] {
///     let _ = rows(&breaker, input);
/// }
/// let totals = breaker.snapshot().totals;
/// assert_eq!((totals.succeeded, totals.failed), (2, 1));
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped is an abandoned call"]
pub struct Permit {
    ticket: Ticket,
    /// Whether the thread was panicking before: such a panic does not fail the call.
    panicking: bool,
}

/// A permit whose owner detects panics itself: when dropped, the call was abandoned.
///
/// With [`judge_body`](crate::CircuitBreakerLayer::judge_body) it goes along with the body of the response.
#[derive(Debug)]
pub struct Ticket {
    /// `None` once it is settled.
    outstanding: Option<Outstanding>,
}

#[derive(Debug)]
struct Outstanding {
    node: NodeRef,
    admission: Admission,
    watch: Option<Stopwatch>,
    /// The moment at which a time limit cuts the call.
    deadline: Moment,
}

impl Permit {
    pub(crate) fn acquire(node: &Arc<Node>, attempt: Attempt) -> Result<Self, Box<CircuitOpen>> {
        match node.admit(attempt) {
            Ok(admission) => {
                let ticket = Ticket::new(NodeRef::Node(node.clone()), admission, Moment::NEVER);
                Ok(Self { ticket, panicking: thread::panicking() })
            }
            Err(rejection) => Err(rejected(NodeRef::Node(node.clone()), rejection)),
        }
    }

    /// Records how the call ended. A [`Class`](crate::classify::Class) stands for the usual verdict of that class.
    pub fn settle(mut self, verdict: impl Into<Verdict>) {
        self.ticket.end((&verdict.into()).into());
    }

    /// Records a success.
    pub fn succeed(self) {
        self.settle(Verdict::success());
    }

    /// Records a failure.
    pub fn fail(self) {
        self.settle(Verdict::transient());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if thread::panicking() && !self.panicking {
            self.ticket.end((&panicked()).into());
        }
    }
}

impl Ticket {
    /// Begins an admitted call.
    // Inlined, as everything on the path of such a call, so that the ticket travels in registers.
    #[inline(always)]
    pub(crate) fn new(node: NodeRef, admission: Admission, deadline: Moment) -> Self {
        let watch = node.begins();
        Self { outstanding: Some(Outstanding { node, admission, watch, deadline }) }
    }

    /// Moves the ticket out and leaves a settled one behind.
    #[inline(always)]
    pub(crate) fn hand_over(&mut self) -> Self {
        Self { outstanding: self.outstanding.take() }
    }

    /// The call has panicked. Its later end changes nothing.
    #[cold]
    pub(crate) fn panicked(&mut self) {
        self.end((&panicked()).into());
    }

    #[inline(always)]
    fn end(&mut self, completion: Completion) {
        if let Some(Outstanding { node, admission, watch, deadline: _ }) = self.outstanding.take() {
            node.settle_admission(admission, watch, completion);
        }
    }

    #[cold]
    fn abandon(&mut self) {
        let is_cut = self.outstanding.as_ref().is_some_and(|call| call.node.is_cut(call.deadline));
        // The request was handed on when the ticket was taken.
        cut::report(Sent::Maybe);
        self.end(if is_cut { Completion::TimedOut } else { Completion::Abandoned });
    }
}

impl Settle for Ticket {
    #[inline(always)]
    fn settle(mut self, verdict: &Verdict) {
        self.end(verdict.into());
        mem::forget(self);
    }

    /// The duration of a call ends with its head: a slow reader of the body does not make a slow upstream.
    fn await_end(&mut self) {
        let Some(Outstanding { node, admission, watch, deadline: _ }) = &mut self.outstanding else { return };
        if let Some(watch) = watch {
            watch.stop(node.now());
        }
        node.head_succeeded(admission, *watch);
    }
}

impl Drop for Ticket {
    #[inline(always)]
    fn drop(&mut self) {
        if self.outstanding.is_some() {
            self.abandon();
        }
    }
}

/// The error of a call that a breaker rejects.
#[cold]
pub(crate) fn rejected(node: NodeRef, rejection: Rejection) -> Box<CircuitOpen> {
    let Rejection { state, wait, by_outer } = rejection;
    let (named, trip): (Arc<dyn Named>, _) = match node.outer().filter(|_| by_outer) {
        Some(outer) => (outer.clone(), outer.trip_in_era()),
        None => {
            let trip = node.trip_in_era();
            (node.into_named(), trip)
        }
    };
    let open = Box::new(CircuitOpen::by(named, state, wait, trip));
    if attempt_span::is_open() {
        attempt_span::record_breaker(open.name(), open.partition());
    }
    open
}

/// The verdict on a call that panicked.
pub(crate) fn panicked() -> Verdict {
    Verdict::ambiguous().with_health(Health::Failure).with_reason(Reason::PANIC)
}
