mod episode;
mod error;
mod latency;
mod next;
mod queue;
mod server;

pub use self::episode::Episode;
pub use self::error::UpstreamError;
pub use self::latency::Latency;
pub(crate) use self::next::{Next, Running};
pub(crate) use self::server::CallTag;
pub use self::server::{Answer, Server};

use std::sync::Arc;

/// Servers with one bounded queue in front of them, first come, first served.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub(crate) servers: u32,
    pub(crate) queue: usize,
    pub(crate) latency: Latency,
    pub(crate) episodes: Vec<Episode>,
    next: Option<Arc<dyn Next>>,
}

impl Upstream {
    /// So many servers, each working on one request at a time.
    ///
    /// # Panics
    ///
    /// If there is no server.
    #[must_use]
    pub fn new(servers: u32, latency: Latency) -> Self {
        assert!(servers > 0, "an upstream must have at least one server");
        Self { servers, queue: usize::MAX, latency, episodes: Vec::new(), next: None }
    }

    /// Sets how many requests may wait; more are answered with 503 at once. Default: no limit.
    #[must_use]
    pub fn queue(mut self, waiting: usize) -> Self {
        self.queue = waiting;
        self
    }

    /// Adds a time in which something goes wrong.
    #[must_use]
    pub fn episode(mut self, episode: Episode) -> Self {
        self.episodes.push(episode);
        self
    }

    pub(crate) fn with_next(mut self, next: impl Next + 'static) -> Self {
        self.next = Some(Arc::new(next));
        self
    }
}
