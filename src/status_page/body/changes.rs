use std::collections::BTreeMap;
use std::mem;

use crate::status_page::breakers::{Id, Listed, Watched};
use crate::status_page::row::{Row, Version};

/// What the client of one stream knows.
#[derive(Debug)]
pub(super) struct Changes {
    /// No hash map, which would now and then move all of them at once.
    known: BTreeMap<Id, Known>,
    round: u64,
    /// The breakers seen in this round.
    seen: usize,
    /// A breaker of which only the counts change has its turn once in so many rounds.
    turns: u64,
}

#[derive(Debug)]
struct Known {
    version: Version,
    /// The round in which it was last seen.
    seen: u64,
}

/// If all breakers are busy, about as many rows a round.
const BUSY: usize = 4_096;

impl Changes {
    pub(super) fn new() -> Self {
        Self { known: BTreeMap::new(), round: 0, seen: 0, turns: 1 }
    }

    /// Returns the rows of those breakers that are new to the client or have changed.
    pub(super) fn of<'a>(&mut self, breakers: &'a [Listed], watched: &Watched) -> Vec<Row<'a>> {
        let rows = breakers.iter().map(|listed| Row::of(listed, watched));
        rows.filter(|row| self.is_news(row)).collect()
    }

    /// Ends the round. Returns the number of breakers and those that are gone since the last.
    pub(super) fn end_round(&mut self) -> (usize, Vec<Id>) {
        let Self { known, round, seen, turns } = self;
        let mut gone = Vec::new();
        if known.len() > *seen {
            known.retain(|id, known| {
                let is_here = known.seen == *round;
                if !is_here {
                    gone.push(*id);
                }
                is_here
            });
        }
        *round += 1;
        *turns = 1 + (*seen / BUSY) as u64;
        (mem::take(seen), gone)
    }

    fn is_news(&mut self, row: &Row<'_>) -> bool {
        let round = self.round;
        let Some(known) = self.known.get_mut(&row.id) else {
            self.known.insert(row.id, Known { version: row.version, seen: round });
            self.seen += 1;
            return true;
        };
        self.seen += usize::from(mem::replace(&mut known.seen, round) != round);
        let is_turn = row.id.number().wrapping_add(round) % self.turns == 0;
        let is_news = known.version.state != row.version.state || (known.version != row.version && is_turn);
        if is_news {
            known.version = row.version;
        }
        is_news
    }
}
