use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use rand::rngs::SmallRng;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::Service;

use super::Upstream;
use super::queue::{Fate, Queue};
use crate::report::Ledger;

/// The upstream as a service, shared by all processes of a run.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

/// The connection was refused.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamError(());

/// Which call a request belongs to, in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct CallTag {
    pub(crate) tenant: u32,
    /// How often the upstream has received the request.
    pub(crate) attempts: Arc<AtomicU32>,
}

#[derive(Debug)]
struct Shared {
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    ledger: Ledger,
}

/// The answer of the upstream to one request.
#[derive(Debug)]
pub struct Answer {
    sleep: Option<Pin<Box<Sleep>>>,
    outcome: Result<(StatusCode, Option<Duration>), UpstreamError>,
    /// Work that is wasted if the caller leaves before the answer.
    work: Option<(Arc<Shared>, Duration)>,
}

impl Server {
    pub(crate) fn new(upstream: Upstream, rng: SmallRng) -> Self {
        let state = State { queue: Queue::new(upstream, rng), ledger: Ledger::default() };
        Self { shared: Arc::new(Shared { begun: Instant::now(), state: Mutex::new(state) }) }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.shared.begun.elapsed()
    }

    pub(crate) fn at(&self, time: Duration) -> Instant {
        self.shared.begun + time
    }

    pub(crate) fn would_answer(&self, tenant: u32) -> bool {
        self.shared.state().queue.would_answer(self.elapsed(), tenant)
    }

    /// Lets the ledger of the run be changed or read.
    pub(crate) fn with_ledger<T>(&self, run: impl FnOnce(&mut Ledger) -> T) -> T {
        run(&mut self.shared.state().ledger)
    }

    fn answer(&self, tag: Option<&CallTag>) -> Answer {
        let now = self.elapsed();
        let tenant = tag.map_or(0, |tag| tag.tenant);
        if let Some(tag) = tag {
            tag.attempts.fetch_add(1, Ordering::Relaxed);
        }
        let mut state = self.shared.state();
        state.ledger.sent(now);
        match state.queue.arrive(now, tenant) {
            Fate::Refused => Answer { sleep: None, outcome: Err(UpstreamError(())), work: None },
            Fate::Rejected { status, retry_after } => {
                Answer { sleep: None, outcome: Ok((status, retry_after)), work: None }
            }
            Fate::Served { status, begins, ends } => {
                state.ledger.served(begins.saturating_sub(now), ends - begins);
                let sleep = Some(Box::pin(sleep_until(self.at(ends))));
                Answer { sleep, outcome: Ok((status, None)), work: Some((self.shared.clone(), ends - begins)) }
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Service<Request<B>> for Server {
    type Response = Response<Empty<Bytes>>;
    type Error = UpstreamError;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        self.answer(request.extensions().get())
    }
}

impl Future for Answer {
    type Output = Result<Response<Empty<Bytes>>, UpstreamError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(sleep) = &mut self.sleep {
            std::task::ready!(sleep.as_mut().poll(cx));
        }
        self.work = None;
        Poll::Ready(self.outcome.map(|(status, retry_after)| {
            let mut response = Response::new(Empty::new());
            *response.status_mut() = status;
            if let Some(retry_after) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs()));
            }
            response
        }))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some((shared, work)) = self.work.take() {
            shared.state().ledger.wasted(work);
        }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection refused")
    }
}

impl Error for UpstreamError {}
