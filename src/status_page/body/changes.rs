use std::collections::HashMap;

use crate::breaker::CircuitBreaker;
use crate::status_page::breakers::{Id, Watched};
use crate::status_page::row::Row;

/// What the client of one stream knows.
#[derive(Debug, Default)]
pub(super) struct Changes {
    known: HashMap<Id, Known>,
    round: u64,
    /// The breakers seen in this round.
    seen: usize,
}

#[derive(Debug)]
struct Known {
    version: u64,
    /// The round in which it was last seen.
    round: u64,
}

impl Changes {
    /// Returns the rows of those breakers that are new to the client or have changed.
    pub(super) fn of<'a>(&mut self, breakers: &'a [CircuitBreaker], watched: &Watched) -> Vec<Row<'a>> {
        let rows = breakers.iter().map(|breaker| Row::of(breaker, watched));
        rows.filter(|row| self.is_news(row)).collect()
    }

    /// Ends the round. Returns the number of breakers and those that are gone since the last.
    pub(super) fn end_round(&mut self) -> (usize, Vec<Id>) {
        let Self { known, round, seen } = self;
        let mut gone = Vec::new();
        if known.len() > *seen {
            known.retain(|id, known| {
                let is_here = known.round == *round;
                if !is_here {
                    gone.push(*id);
                }
                is_here
            });
        }
        *round += 1;
        (std::mem::take(seen), gone)
    }

    fn is_news(&mut self, row: &Row<'_>) -> bool {
        let Self { known, round, seen } = self;
        let was = known.insert(row.id, Known { version: row.version, round: *round });
        *seen += usize::from(was.as_ref().is_none_or(|was| was.round < *round));
        was.is_none_or(|was| was.version != row.version)
    }
}
