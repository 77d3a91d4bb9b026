use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use http::StatusCode;
use rand::RngExt;
use rand::rngs::SmallRng;

use super::Upstream;
use super::episode::{Episode, Trouble};

/// When a request ends that is never answered: thirty years after the beginning, which every clock and timer can count.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// The servers and the queue as numbers: with one queue in order, a request's beginning and end are known when it
/// comes.
#[derive(Debug)]
pub(super) struct Queue {
    upstream: Upstream,
    /// When each server is free, and its number.
    free: BinaryHeap<Reverse<(Duration, u32)>>,
    /// When the requests that wait will begin, in order.
    begins: VecDeque<Duration>,
    rng: SmallRng,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The connection is refused.
    Refused,
    /// Answered at once, without work.
    Rejected { status: StatusCode, retry_after: Option<Duration> },
    /// A server works on it until it goes down.
    Lost { begins: Duration, at: Duration },
    /// A server works on it and then answers.
    Served { status: StatusCode, begins: Duration, ends: Duration },
}

impl Queue {
    pub(super) fn new(upstream: Upstream, rng: SmallRng) -> Self {
        let free = (0..upstream.servers).map(|server| Reverse((Duration::ZERO, server))).collect();
        Self { upstream, free, begins: VecDeque::new(), rng }
    }

    pub(super) fn arrive(&mut self, now: Duration, tenant: u32) -> Fate {
        if let Some(fate) = self.turned_away(now, tenant) {
            return fate;
        }
        let (begins, server) = self.next_server(now);
        let work = self.upstream.latency.draw(&mut self.rng).as_secs_f64() * self.slowness(begins, tenant);
        let work = Duration::try_from_secs_f64(work).unwrap_or(FAR);
        let ends = begins.saturating_add(work).min(FAR);
        if begins > now {
            self.begins.push_back(begins);
        }
        if let Some(at) = self.goes_down(server, begins, ends) {
            self.free.push(Reverse((at, server)));
            return Fate::Lost { begins, at };
        }
        self.free.push(Reverse((ends, server)));
        let failed = self.upstream.episodes.iter().any(|episode| match episode.trouble {
            Trouble::Errors(share) => episode.covers(ends, tenant) && self.rng.random_bool(share),
            _ => false,
        });
        let status = if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        Fate::Served { status, begins, ends }
    }

    /// Whether a request that came now would be answered well, and when, by the usual work.
    pub(super) fn would_answer(&self, now: Duration, tenant: u32) -> bool {
        let full = self.waiting(now) >= self.upstream.queue;
        let troubled = self.upstream.episodes.iter().any(|episode| {
            episode.covers(now, tenant)
                && match episode.trouble {
                    Trouble::Down => true,
                    Trouble::Errors(share) | Trouble::Throttled { share, .. } => share >= 0.5,
                    Trouble::Rolling { replicas, .. } => replicas == 1,
                    Trouble::Slow(_) | Trouble::Capacity(_) => false,
                }
        });
        !full && !troubled
    }

    fn turned_away(&mut self, now: Duration, tenant: u32) -> Option<Fate> {
        for episode in self.upstream.episodes.iter().filter(|episode| episode.covers(now, tenant)) {
            match episode.trouble {
                Trouble::Down => return Some(Fate::Refused),
                Trouble::Rolling { .. } if episode.refuses(now).is_some_and(|share| self.rng.random_bool(share)) => {
                    return Some(Fate::Refused);
                }
                Trouble::Throttled { share, retry_after } if self.rng.random_bool(share) => {
                    let status = StatusCode::TOO_MANY_REQUESTS;
                    return Some(Fate::Rejected { status, retry_after: Some(retry_after) });
                }
                _ => {}
            }
        }
        while self.begins.front().is_some_and(|begins| *begins <= now) {
            self.begins.pop_front();
        }
        let full = self.begins.len() >= self.upstream.queue && !self.is_free(now);
        full.then_some(Fate::Rejected { status: StatusCode::SERVICE_UNAVAILABLE, retry_after: None })
    }

    fn is_free(&self, now: Duration) -> bool {
        self.free.peek().is_some_and(|Reverse((free, _))| *free <= now)
    }

    fn waiting(&self, now: Duration) -> usize {
        self.begins.len() - self.begins.partition_point(|begins| *begins <= now)
    }

    /// Takes the server that is free first, and returns when it begins. A server that is missing then is passed over
    /// until it is back.
    fn next_server(&mut self, now: Duration) -> (Duration, u32) {
        loop {
            // There is at least one server, and each one taken is put back.
            let Some(Reverse((free, server))) = self.free.pop() else { return (FAR, 0) };
            let begins = free.max(now);
            match self.missing_until(begins, server) {
                Some(until) => self.free.push(Reverse((until, server))),
                None => return (begins.min(FAR), server),
            }
        }
    }

    fn missing_until(&self, at: Duration, server: u32) -> Option<Duration> {
        self.upstream.episodes.iter().find_map(|episode| match episode.trouble {
            Trouble::Capacity(share) if episode.from <= at && at < episode.until => {
                let left = (f64::from(self.upstream.servers) * share).round();
                (f64::from(server) >= left).then_some(episode.until)
            }
            _ => {
                let (down, back) = episode.down_time(server, self.upstream.servers)?;
                (down <= at && at < back).then_some(back)
            }
        })
    }

    /// When a server goes down while it works.
    fn goes_down(&self, server: u32, begins: Duration, ends: Duration) -> Option<Duration> {
        let down = |episode: &Episode| Some(episode.down_time(server, self.upstream.servers)?.0);
        self.upstream.episodes.iter().filter_map(down).filter(|down| begins < *down && *down < ends).min()
    }

    fn slowness(&self, at: Duration, tenant: u32) -> f64 {
        let slow = self.upstream.episodes.iter().filter_map(|episode| match episode.trouble {
            Trouble::Slow(factor) if episode.covers(at, tenant) => Some(factor),
            _ => None,
        });
        slow.product()
    }
}
