use std::fmt;
use std::future::Future;
use std::io::ErrorKind;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::Service;

use super::next::Running;
use super::queue::{Fate, Queue};
use super::{Upstream, UpstreamError};
use crate::report::Report;
use crate::run::ledger::Ledger;

/// The upstream as a service, shared by all processes of a run.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

/// Which call a request belongs to, in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct CallTag {
    pub(crate) tenant: u32,
    /// How often the upstream has received the request.
    pub(crate) attempts: Arc<AtomicU32>,
}

struct Shared {
    begun: Instant,
    state: Mutex<State>,
    /// What the handlers call.
    next: Option<Box<dyn Running>>,
    /// Held by every handler that runs.
    running: Arc<()>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    ledger: Ledger,
}

/// The answer of the upstream to one request.
#[derive(Debug)]
pub struct Answer {
    wait: Wait,
    outcome: Result<(StatusCode, Option<Duration>), ErrorKind>,
    /// Work that is wasted if the caller leaves before the answer.
    work: Option<(Arc<Shared>, Duration)>,
}

#[derive(Debug)]
enum Wait {
    Nothing,
    Work(Pin<Box<Sleep>>),
    /// Returns whether the call of the next upstream was answered well.
    Handler(JoinHandle<bool>),
}

impl Server {
    pub(crate) fn new(upstream: &Upstream, tenants: &Arc<[HeaderValue]>, seeds: &mut SmallRng) -> Self {
        let queue = Queue::new(upstream.clone(), SmallRng::from_rng(seeds));
        let shared = Shared {
            begun: Instant::now(),
            state: State { queue, ledger: Ledger::new(tenants.len()) }.into(),
            next: upstream.next.as_ref().map(|next| next.start(tenants, seeds)),
            running: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.shared.begun.elapsed()
    }

    pub(crate) fn at(&self, time: Duration) -> Instant {
        self.shared.begun + time
    }

    /// Whether a call that came now would be answered well, here and below.
    pub(crate) fn would_answer(&self, tenant: u32) -> bool {
        let here = self.shared.state().queue.would_answer(self.elapsed(), tenant);
        here && self.shared.next.as_ref().is_none_or(|next| next.would_answer(tenant))
    }

    /// Whether a handler runs, here or below. One can outlive the call that it serves.
    pub(crate) fn is_handling(&self) -> bool {
        let below = self.shared.next.as_ref().is_some_and(|next| next.is_handling());
        below || Arc::strong_count(&self.shared.running) > 1
    }

    /// Changes the ledger of this upstream.
    pub(crate) fn with_ledger<T>(&self, run: impl FnOnce(&mut Ledger) -> T) -> T {
        run(&mut self.shared.state().ledger)
    }

    pub(crate) fn report(&self) -> Report {
        let next = self.shared.next.as_ref().map(|next| next.report());
        self.shared.state().ledger.report(next)
    }

    fn answer(&self, tag: Option<&CallTag>) -> Answer {
        let now = self.elapsed();
        let tenant = tag.map_or(0, |tag| tag.tenant);
        if let Some(tag) = tag {
            tag.attempts.fetch_add(1, Ordering::Relaxed);
        }
        let mut state = self.shared.state();
        state.ledger.sent(now);
        let at_once = |outcome| Answer { wait: Wait::Nothing, outcome, work: None };
        match state.queue.arrive(now, tenant) {
            Fate::Refused => at_once(Err(ErrorKind::ConnectionRefused)),
            Fate::Rejected { status, retry_after } => at_once(Ok((status, retry_after))),
            Fate::Lost { begins, at } => {
                let work = at - begins;
                state.ledger.served(now, begins.saturating_sub(now), work);
                state.ledger.wasted(work);
                let wait = Wait::Work(Box::pin(sleep_until(self.at(at))));
                Answer { wait, outcome: Err(ErrorKind::ConnectionReset), work: None }
            }
            Fate::Served { status, begins, ends } => {
                state.ledger.served(now, begins.saturating_sub(now), ends - begins);
                let wait = match &self.shared.next {
                    Some(_) if status.is_success() => {
                        let handler = handle(self.clone(), self.shared.running.clone(), ends, tenant);
                        Wait::Handler(tokio::spawn(handler))
                    }
                    _ => Wait::Work(Box::pin(sleep_until(self.at(ends)))),
                };
                Answer { wait, outcome: Ok((status, None)), work: Some((self.shared.clone(), ends - begins)) }
            }
        }
    }
}

/// Works, then makes the call of the next upstream.
async fn handle(server: Server, running: Arc<()>, ends: Duration, tenant: u32) -> bool {
    let _running = running;
    sleep_until(server.at(ends)).await;
    match &server.shared.next {
        Some(next) => next.call(tenant).await,
        None => true,
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("begun", &self.begun).finish_non_exhaustive()
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
        match &mut self.wait {
            Wait::Nothing => {}
            Wait::Work(sleep) => ready!(sleep.as_mut().poll(cx)),
            Wait::Handler(handler) => {
                let handled = ready!(Pin::new(handler).poll(cx));
                if !handled.unwrap_or_else(|error| resume_unwind(error.into_panic())) {
                    self.outcome = Ok((StatusCode::SERVICE_UNAVAILABLE, None));
                }
            }
        }
        self.work = None;
        let (status, retry_after) = self.outcome?;
        let mut response = Response::new(Empty::new());
        *response.status_mut() = status;
        if let Some(retry_after) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs()));
        }
        Poll::Ready(Ok(response))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some((shared, work)) = self.work.take() {
            shared.state().ledger.wasted(work);
        }
    }
}
