use std::sync::Arc;
use std::thread;

use super::cell::{Cell, Ending, Held};
use super::circuit_open::CircuitOpen;
use super::clock::Stopwatch;
use super::engine::Attempt;
use crate::classify::body::Settle;
use crate::classify::{Health, Reason, Verdict};

/// The right to one call, from [`CircuitBreaker::try_acquire`](super::CircuitBreaker::try_acquire).
///
/// Settles once, however the call ends. Dropped without a verdict it was abandoned, which teaches nothing unless the call
/// had already run too long: see [`Abandoned`](super::Abandoned). Dropped by a panic that began after it was taken, the
/// call failed.
///
/// ```
/// use tower_rampart::breaker::CircuitBreaker;
/// use tower_rampart::classify::Verdict;
///
/// let breaker = CircuitBreaker::builder().name("database").consecutive_failures(5).breaker();
/// match breaker.try_acquire() {
///     Ok(permit) => {
///         // … the call …
///         permit.settle(Verdict::success());
///     }
///     Err(open) => println!("not now, perhaps in {:?}", open.retry_after()),
/// }
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped is an abandoned call"]
pub struct Permit {
    ticket: Ticket,
    /// A panic that was under way before is not this call's.
    panicking: bool,
}

/// The same for those who know themselves whether their call panicked: dropped, it was abandoned.
///
/// With [`judge_body`](crate::CircuitBreakerLayer::judge_body) it goes along with the body of the response.
#[derive(Debug)]
pub struct Ticket {
    cell: Arc<Cell>,
    /// Nothing once it is settled.
    grant: Option<Held>,
    watch: Option<Stopwatch>,
}

impl Permit {
    pub(super) fn new(ticket: Ticket) -> Self {
        Self { ticket, panicking: thread::panicking() }
    }

    /// Says how the call ended. A [`Class`](crate::classify::Class) alone stands for what is usual for it.
    pub fn settle(mut self, verdict: impl Into<Verdict>) {
        self.ticket.end((&verdict.into()).into());
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
    /// Takes the cell along, so that whoever waits in front of it need not count it twice.
    #[inline]
    pub(super) fn take(cell: Arc<Cell>, attempt: Attempt) -> Result<Self, Box<CircuitOpen>> {
        match cell.acquire(attempt) {
            Ok(grant) => {
                let watch = cell.begins();
                Ok(Self { cell, grant: Some(grant), watch })
            }
            Err(refusal) => Err(Box::new(CircuitOpen::new(cell, refusal))),
        }
    }

    /// The call has panicked. Whatever comes of it after that changes nothing.
    pub(super) fn panicked(&mut self) {
        self.end((&panicked()).into());
    }

    #[inline]
    fn end(&mut self, ending: Ending) {
        if let Some(grant) = self.grant.take() {
            self.cell.settle_held(grant, self.watch, ending);
        }
    }
}

impl Settle for Ticket {
    #[inline]
    fn settle(mut self, verdict: &Verdict) {
        self.end(verdict.into());
    }

    /// Who reads a body slowly does not make a slow upstream: the time that counts is that until the head.
    fn await_end(&mut self) {
        if let Some(watch) = &mut self.watch {
            *watch = Stopwatch::Stopped { elapsed: watch.elapsed(self.cell.now()) };
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end(Ending::Abandoned);
    }
}

/// The verdict on a call that panicked.
pub(super) fn panicked() -> Verdict {
    Verdict::ambiguous().with_health(Health::Failure).with_reason(Reason::PANIC)
}
