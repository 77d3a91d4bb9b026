use std::sync::Arc;

use super::cell::{Cell, Ending};
use super::circuit_open::CircuitOpen;
use super::clock::Stopwatch;
use super::engine::Grant;
use crate::classify::body::Settle;
use crate::classify::{Health, Verdict};

/// The right to one call. Settles once, however the call ends: one that is dropped was abandoned.
///
/// With [`judge_body`](crate::CircuitBreakerLayer::judge_body) it goes along with the body of the response.
#[derive(Debug)]
pub struct Ticket {
    cell: Arc<Cell>,
    /// Nothing once it is settled.
    grant: Option<Grant>,
    watch: Option<Stopwatch>,
}

impl Ticket {
    /// Takes the cell along, so that whoever waits in front of it need not count it twice.
    pub(super) fn take(cell: Arc<Cell>) -> Result<Self, Box<CircuitOpen>> {
        match cell.acquire() {
            Ok(grant) => {
                let watch = cell.begins();
                Ok(Self { cell, grant: Some(grant), watch })
            }
            Err(refusal) => Err(Box::new(CircuitOpen::new(cell, refusal))),
        }
    }

    /// The call has panicked. Whatever comes of it after that changes nothing.
    pub(super) fn panicked(&mut self) {
        self.end(Ending::Judged(Health::Failure));
    }

    fn end(&mut self, ending: Ending) {
        if let Some(grant) = self.grant.take() {
            self.cell.settle(grant, self.watch, ending);
        }
    }
}

impl Settle for Ticket {
    fn settle(mut self, verdict: &Verdict) {
        self.end(Ending::Judged(verdict.health()));
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
