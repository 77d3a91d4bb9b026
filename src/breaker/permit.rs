use std::sync::Arc;

use super::cell::{Cell, Ending};
use super::circuit_open::CircuitOpen;
use super::clock::Moment;
use super::engine::Grant;
use crate::classify::Health;

/// The right to one call. Settles once, however the call ends: one that is dropped was abandoned.
#[derive(Debug)]
pub(super) struct Ticket {
    cell: Arc<Cell>,
    /// Nothing once it is settled.
    grant: Option<Grant>,
    began: Option<Moment>,
}

impl Ticket {
    /// Takes the cell along, so that whoever waits in front of it need not count it twice.
    #[inline]
    pub(super) fn take(cell: Arc<Cell>) -> Result<Self, Box<CircuitOpen>> {
        match cell.acquire() {
            Ok(grant) => {
                let began = cell.begins();
                Ok(Self { cell, grant: Some(grant), began })
            }
            Err(refusal) => Err(Box::new(CircuitOpen::new(cell, refusal))),
        }
    }

    #[inline]
    pub(super) fn settle(mut self, health: Health) {
        self.end(Ending::Judged(health));
    }

    #[inline]
    fn end(&mut self, ending: Ending) {
        if let Some(grant) = self.grant.take() {
            self.cell.settle(grant, self.began, ending);
        }
    }
}

impl Drop for Ticket {
    #[inline]
    fn drop(&mut self) {
        self.end(Ending::Abandoned);
    }
}
