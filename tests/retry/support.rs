//! An upstream that plays a script and checks how it is called.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::marker::PhantomPinned;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};
use tower_rampart::classify::{ClassifiedError, Reason, Verdict};
use tower_rampart::retry::{Attempt, Deadline, RetryError, RetryReport};
use tower_rampart::{BoxError, RetryLayer};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// What the upstream does with one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    read: Read,
    takes: Duration,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Read {
    All,
    Nothing,
    Frames(usize),
    /// Reads this many frames, then passes the body to a task that keeps it.
    Hold(usize),
}

#[derive(Clone, Debug)]
enum Then {
    Answer(u16, Vec<(&'static str, String)>),
    Fail(io::ErrorKind),
    Refuse(Verdict),
    Hang,
}

/// What was seen of one attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    pub(crate) attempt: u32,
    pub(crate) deadline: Option<Duration>,
    pub(crate) exact_size: Option<u64>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) body_error: Option<String>,
    pub(crate) ended: bool,
}

/// A service that panics when it is called without having been polled ready, as the contract of `Service` allows.
pub(crate) struct Upstream {
    shared: Arc<Shared>,
    ready: bool,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    steps: Mutex<VecDeque<Step>>,
    last: Step,
    seen: Mutex<Vec<Seen>>,
}

pub(crate) fn answer(status: u16) -> Step {
    Step { read: Read::All, takes: Duration::ZERO, then: Then::Answer(status, Vec::new()) }
}

/// Provably not processed, and nothing was read.
pub(crate) fn refused() -> Step {
    fail(Verdict::transient().with_processed(tower_rampart::classify::Processed::No))
}

/// An io error "connection refused" without a connect error around it.
pub(crate) fn connection_refused() -> Step {
    Step { read: Read::All, takes: Duration::ZERO, then: Then::Fail(io::ErrorKind::ConnectionRefused) }
}

/// The connection was reset after the request was read.
pub(crate) fn reset() -> Step {
    Step { read: Read::All, takes: Duration::ZERO, then: Then::Fail(io::ErrorKind::ConnectionReset) }
}

/// An error with this verdict. Nothing was read.
pub(crate) fn fail(verdict: Verdict) -> Step {
    Step { read: Read::Nothing, takes: Duration::ZERO, then: Then::Refuse(verdict) }
}

/// An established connection gave the request back.
pub(crate) fn given_back(reason: Reason, processed: tower_rampart::classify::Processed) -> Step {
    fail(Verdict::transient().with_processed(processed).with_reason(reason))
}

pub(crate) fn hang() -> Step {
    Step { read: Read::All, takes: Duration::ZERO, then: Then::Hang }
}

pub(crate) fn circuit_open() -> Step {
    let verdict = Verdict::terminal()
        .with_processed(tower_rampart::classify::Processed::No)
        .with_health(tower_rampart::classify::Health::Neutral)
        .with_reason(Reason::CIRCUIT_OPEN);
    fail(verdict)
}

impl Step {
    pub(crate) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        match &mut self.then {
            Then::Answer(_, headers) => headers.push((name, value.to_string())),
            other => panic!("{other:?} has no headers"),
        }
        self
    }

    pub(crate) fn taking(mut self, takes: Duration) -> Self {
        self.takes = takes;
        self
    }

    pub(crate) fn reading(mut self, frames: usize) -> Self {
        self.read = Read::Frames(frames);
        self
    }

    pub(crate) fn holding_after(mut self, frames: usize) -> Self {
        self.read = Read::Hold(frames);
        self
    }
}

impl Upstream {
    /// Plays the steps in order, the last one for ever.
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let mut steps: VecDeque<_> = steps.into_iter().collect();
        let last = steps.pop_back().expect("a script has at least one step");
        let shared = Shared { start: Instant::now(), steps: Mutex::new(steps), last, seen: Mutex::new(Vec::new()) };
        Self { shared: Arc::new(shared), ready: false }
    }

    /// A log of the attempts, which stays usable after the upstream moved into a stack.
    pub(crate) fn log(&self) -> Log {
        Log(Arc::clone(&self.shared))
    }
}

#[derive(Clone)]
pub(crate) struct Log(Arc<Shared>);

impl Log {
    pub(crate) fn calls(&self) -> usize {
        self.0.seen.lock().unwrap().len()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.0.seen.lock().unwrap().clone()
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| String::from_utf8(seen.body).unwrap()).collect()
    }

    /// The waits between the attempts, in milliseconds.
    pub(crate) fn gaps(&self) -> Vec<u128> {
        self.seen().windows(2).map(|pair| (pair[1].at - pair[0].at).as_millis()).collect()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.start.elapsed()
    }
}

impl Clone for Upstream {
    fn clone(&self) -> Self {
        // Readiness belongs to an instance.
        Self { shared: Arc::clone(&self.shared), ready: false }
    }
}

impl<B> Service<Request<B>> for Upstream
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(self.ready, "called without having been polled ready");
        self.ready = false;
        let shared = Arc::clone(&self.shared);
        let step = shared.steps.lock().unwrap().pop_front().unwrap_or_else(|| shared.last.clone());
        let number = {
            let mut seen = shared.seen.lock().unwrap();
            seen.push(Seen {
                at: shared.start.elapsed(),
                attempt: Attempt::of(&request).number(),
                deadline: request.extensions().get::<Deadline>().map(|deadline| deadline.remaining()),
                exact_size: request.body().size_hint().exact(),
                ..Seen::default()
            });
            seen.len() - 1
        };
        Box::pin(play(shared, number, step, request.into_body()))
    }
}

async fn play<B>(shared: Arc<Shared>, number: usize, step: Step, body: B) -> Result<Response<Full<Bytes>>, BoxError>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut body = Box::pin(body);
    let frames = match step.read {
        Read::All => usize::MAX,
        Read::Nothing => 0,
        Read::Frames(frames) | Read::Hold(frames) => frames,
    };
    for _ in 0..frames {
        match body.frame().await {
            Some(Ok(frame)) => note(&shared, number, frame),
            Some(Err(error)) => {
                let error = error.into();
                shared.seen.lock().unwrap()[number].body_error = Some(error.to_string());
                // As over HTTP/2, where what became of the stream is all that is known.
                return Err(io::Error::from(io::ErrorKind::ConnectionReset).into());
            }
            None => {
                shared.seen.lock().unwrap()[number].ended = true;
                break;
            }
        }
    }
    if let Read::Hold(_) = step.read {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // A connection that continues to send if the script asks for it.
            let rest = body.frame().await;
            let mut seen = shared.seen.lock().unwrap();
            match rest {
                Some(Ok(_)) => {}
                Some(Err(error)) => seen[number].body_error = Some(error.into().to_string()),
                None => seen[number].ended = true,
            }
        });
    } else {
        drop(body);
    }
    if !step.takes.is_zero() {
        tokio::time::sleep(step.takes).await;
    }
    match step.then {
        Then::Answer(status, headers) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Full::from(format!("answer {}", number + 1))).unwrap())
        }
        Then::Fail(kind) => Err(io::Error::from(kind).into()),
        Then::Refuse(verdict) => Err(Box::new(ClassifiedError::new(verdict))),
        Then::Hang => std::future::pending().await,
    }
}

fn note<D: bytes::Buf>(shared: &Shared, number: usize, frame: Frame<D>) {
    let seen = &mut shared.seen.lock().unwrap()[number];
    match frame.into_data() {
        Ok(mut data) => seen.body.extend_from_slice(&data.copy_to_bytes(data.remaining())),
        Err(frame) => seen.trailers = frame.into_trailers().ok(),
    }
}

/// The layer that most tests start from: waits of exactly 100, 200, 400 … ms and no budget.
pub(crate) fn layer() -> RetryLayer {
    use tower_rampart::retry::{Backoff, Jitter};
    RetryLayer::new_for_http().backoff(Backoff::exponential(100 * MS, 5_000 * MS).jitter(Jitter::None)).no_budget()
}

pub(crate) fn get() -> Request<Full<Bytes>> {
    Request::get("/").body(Full::default()).unwrap()
}

pub(crate) fn put(body: &'static str) -> Request<Full<Bytes>> {
    Request::put("/").body(Full::from(body)).unwrap()
}

pub(crate) fn post(body: &'static str) -> Request<Full<Bytes>> {
    Request::post("/").body(Full::from(body)).unwrap()
}

pin_project! {
    /// A body that plays a script. Neither `Unpin` nor `Clone`.
    #[derive(Debug, Default)]
    pub(crate) struct Chunks {
        chunks: VecDeque<Chunk>,
        exact: bool,
        #[pin]
        pinned: PhantomPinned,
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Chunk {
    Data(Bytes),
    Trailers(HeaderMap),
    /// Not ready for this long.
    Wait(Duration),
    /// Not ready until it is opened.
    Until(Arc<Notify>),
    /// Never ready, and never wakes a waker.
    Stall,
    Fail,
    Panic,
}

impl Chunks {
    pub(crate) fn new(chunks: impl IntoIterator<Item = Chunk>) -> Self {
        Self { chunks: chunks.into_iter().collect(), ..Self::default() }
    }

    /// Of unknown length.
    pub(crate) fn of(chunks: impl IntoIterator<Item = &'static str>) -> Self {
        Self::new(chunks.into_iter().map(|chunk| Chunk::Data(Bytes::from(chunk))))
    }

    pub(crate) fn then(mut self, chunk: Chunk) -> Self {
        self.chunks.push_back(chunk);
        self
    }

    /// With a length that is known from the start.
    pub(crate) fn exact(mut self) -> Self {
        self.exact = true;
        self
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.project();
        match this.chunks.front() {
            None => return Poll::Ready(None),
            Some(Chunk::Stall) => return Poll::Pending,
            Some(&Chunk::Wait(wait)) => {
                this.chunks.pop_front();
                wake_after(cx, async move { tokio::time::sleep(wait).await });
                return Poll::Pending;
            }
            Some(Chunk::Until(told)) => {
                let told = Arc::clone(told);
                this.chunks.pop_front();
                wake_after(cx, async move { told.notified().await });
                return Poll::Pending;
            }
            Some(_) => {}
        }
        match this.chunks.pop_front() {
            Some(Chunk::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Chunk::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Chunk::Panic) => panic!("the body panics"),
            _ => Poll::Ready(Some(Err(io::Error::other("the body is broken")))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.exact && self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let len = |chunk: &Chunk| if let Chunk::Data(data) = chunk { data.len() as u64 } else { 0 };
        if self.exact { SizeHint::with_exact(self.chunks.iter().map(len).sum()) } else { SizeHint::default() }
    }
}

fn wake_after(cx: &Context<'_>, event: impl Future<Output = ()> + Send + 'static) {
    let waker = cx.waker().clone();
    tokio::spawn(async move {
        event.await;
        waker.wake();
    });
}

/// Sends one request through a layer to an upstream.
pub(crate) async fn send<L, S, B, Res>(layer: L, upstream: Upstream, request: Request<B>) -> Result<Res, BoxError>
where
    L: Layer<Upstream, Service = S>,
    S: Service<Request<B>, Response = Res, Error = BoxError>,
{
    layer.layer(upstream).oneshot(request).await
}

pub(crate) fn gave_up(error: &BoxError) -> &RetryError {
    RetryError::find(&**error).expect("a RetryError in the chain")
}

pub(crate) fn report<B>(response: &Response<B>) -> (u32, Option<tower_rampart::retry::GiveUp>) {
    let report = RetryReport::of(response).expect("a report in the response");
    (report.attempts(), report.gave_up())
}

/// Polls once, without ever waking.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(std::task::Waker::noop()))
}

/// Runs every task until all wait for time to pass.
pub(crate) async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

/// Polls a future `polls` times, letting time pass in between, and then drops it.
pub(crate) async fn cancel_after<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_once(future.as_mut()) {
            return Some(output);
        }
        settle().await;
        tokio::time::advance(50 * MS).await;
    }
    None
}
