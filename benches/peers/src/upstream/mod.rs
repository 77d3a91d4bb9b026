//! The service under all contenders, and the requests that are sent to it.

pub(crate) mod body;
pub(crate) mod keyed;
pub(crate) mod lazy;

use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::Authority;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{Empty, Full};
use tower::Service;

use crate::paths::Path;

pub(crate) type Body = Empty<Bytes>;
pub(crate) type Answer = Response<Full<Bytes>>;
/// The error of the inner service. One of its kinds costs no allocation, so that no peer pays for making it.
pub(crate) type Failure = io::Error;

/// Answers at once, always the same.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inner {
    /// 200 and two bytes.
    Healthy,
    /// 503: trips every breaker.
    Sick,
    /// An error: what a rejection costs at least, the bare row of the open path.
    Refusing,
}

impl<B> Service<Request<B>> for Inner {
    type Response = Answer;
    type Error = Failure;
    type Future = Ready<Result<Answer, Failure>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        drop(black_box(request));
        let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
        match black_box(*self) {
            Inner::Healthy => {}
            Inner::Sick => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
            Inner::Refusing => return ready(Err(refusal())),
        }
        ready(Ok(response))
    }
}

/// Answers as the healthy service does, at the second poll.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late;

#[derive(Debug)]
pub(crate) struct LateAnswer(bool);

impl<B> Service<Request<B>> for Late {
    type Response = Answer;
    type Error = Failure;
    type Future = LateAnswer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        drop(black_box(request));
        LateAnswer(false)
    }
}

impl Future for LateAnswer {
    type Output = Result<Answer, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(Ok(Response::new(Full::new(Bytes::from_static(b"ok")))));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

pub(crate) fn refusal() -> Failure {
    io::ErrorKind::ConnectionRefused.into()
}

/// What every contender is told to count as a failure.
pub(crate) fn is_failure<E>(outcome: &Result<Answer, E>) -> bool {
    match outcome {
        Ok(response) => response.status().is_server_error(),
        Err(_) => true,
    }
}

/// The key of the keyed paths.
pub(crate) fn host<B>(request: &Request<B>) -> &Authority {
    request.uri().authority().expect("every request of a keyed path names a host")
}

/// The header that names the tenant.
pub(crate) const TENANT: &str = "x-tenant-id";

/// Where the requests go.
#[derive(Clone, Debug)]
pub(crate) enum Requests {
    /// All to the same place, without a host.
    Alike,
    /// To these hosts in turn. Their URIs are shared buffers, as a client that parsed them once has them.
    Hosts { uris: Arc<[Uri]>, next: usize },
    /// These in turn: clones, which cost the bare service the same.
    Prepared { requests: Arc<[Request<Body>]>, next: usize },
    /// Each to a host of its own, whose URI dies with the request: what then lives on, the contender keeps.
    Fresh { next: usize },
}

impl Requests {
    pub(crate) fn of(path: Path) -> Self {
        match path {
            Path::RetryHeaders => Self::Prepared { requests: [with_headers()].into(), next: 0 },
            path if path.tenants() > 0 => Self::of_tenants(path.tenants()),
            path if path.hosts() > 0 => Self::to_hosts(path.hosts()),
            _ => Self::Alike,
        }
    }

    fn of_tenants(count: usize) -> Self {
        let mut requests: Vec<_> = (0..count).map(of_tenant).collect();
        shuffle(&mut requests);
        Self::Prepared { requests: requests.into(), next: 0 }
    }

    /// To `count` hosts in an order that no cache can foresee.
    fn to_hosts(count: usize) -> Self {
        let mut uris: Vec<_> = (0..count).map(uri).collect();
        shuffle(&mut uris);
        Self::Hosts { uris: uris.into(), next: 0 }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Request<Body> {
        let mut request = Request::new(Empty::new());
        match self {
            Self::Alike => {}
            Self::Hosts { uris, next } => {
                *request.uri_mut() = uris[*next].clone();
                *next = if *next + 1 == uris.len() { 0 } else { *next + 1 };
            }
            Self::Prepared { requests, next } => {
                request = requests[*next].clone();
                *next = if *next + 1 == requests.len() { 0 } else { *next + 1 };
            }
            Self::Fresh { next } => {
                *request.uri_mut() = uri(*next);
                *next += 1;
            }
        }
        request
    }
}

fn of_tenant(number: usize) -> Request<Body> {
    let request = Request::get("http://api.example.com/v1/metrics").header(TENANT, format!("tenant-{number:06}"));
    request.body(Empty::new()).expect("a URI and a header make a request")
}

fn with_headers() -> Request<Body> {
    let headers = (0..20).map(|number| (format!("x-header-{number}"), format!("value-{number}")));
    let request = headers.fold(Request::builder(), |request, (name, value)| request.header(name, value));
    request.body(Empty::new()).expect("headers make a request")
}

fn uri(number: usize) -> Uri {
    let text = format!("http://tenant-{number:06}.api.example.com/v1/metrics");
    Uri::from_maybe_shared(Bytes::from(text)).expect("a host and a path make a URI")
}

/// An order that no cache can foresee, the same in every run: Fisher-Yates over a linear congruential sequence with
/// Knuth's constants for MMIX.
pub(crate) fn shuffle<T>(items: &mut [T]) {
    let mut state = 1_u64;
    for last in (1..items.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(last, (state >> 33) as usize % (last + 1));
    }
}
