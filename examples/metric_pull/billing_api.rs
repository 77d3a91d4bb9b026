//! The billing API: which response each request gets.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};

use super::payload::{Metric, Metrics};
use super::plan::{Answer, Plan, Tenant};
use super::tally::Tally;

/// Answers requests as the plan says, and counts them.
#[derive(Debug)]
pub(crate) struct BillingApi {
    plan: Arc<Plan>,
    tally: Arc<Tally>,
}

impl BillingApi {
    pub(crate) fn new(plan: &Arc<Plan>, tally: &Arc<Tally>) -> Self {
        Self { plan: Arc::clone(plan), tally: Arc::clone(tally) }
    }

    /// # Errors
    ///
    /// If the connection must be reset.
    pub(crate) async fn serve<B>(&self, request: Request<B>) -> Result<Response<Payload>, ConnectionReset> {
        let id = request.uri().path().strip_prefix("/v1/tenants/").and_then(|rest| rest.strip_suffix("/metrics"));
        let Some(tenant) = id.and_then(|id| self.plan.find(id)) else { return Ok(status(StatusCode::NOT_FOUND)) };
        let arrival = self.tally.count(tenant);
        if request.method() != Method::GET {
            return Ok(status(StatusCode::METHOD_NOT_ALLOWED));
        }
        match self.plan.answer(tenant, arrival) {
            Answer::Metrics => Ok(metrics(tenant, arrival.nth, 1)),
            Answer::Truncated => Ok(metrics(tenant, arrival.nth, 2)),
            Answer::Unavailable => Ok(status(StatusCode::SERVICE_UNAVAILABLE)),
            Answer::Unauthorized => Ok(status(StatusCode::UNAUTHORIZED)),
            Answer::Throttled => {
                let mut response = status(StatusCode::TOO_MANY_REQUESTS);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                Ok(response)
            }
            Answer::Silence => std::future::pending().await,
            Answer::Reset => Err(ConnectionReset),
        }
    }
}

fn status(status: StatusCode) -> Response<Payload> {
    let mut response = Response::new(Payload::default());
    *response.status_mut() = status;
    response
}

/// The metrics of a tenant, of which one part in `parts` is sent, whatever Content-Length says.
fn metrics(tenant: &Tenant, nth: u64, parts: usize) -> Response<Payload> {
    let metric = |name: &str, quantity| Metric { name: name.to_owned(), quantity };
    let metrics = Metrics {
        tenant: tenant.id.clone(),
        period: "2026-10".to_owned(),
        metrics: vec![
            metric("requests", 1_000.0 * (nth + 1) as f64),
            metric("storage_gib_hours", 12.5 * (tenant.number + 1) as f64),
        ],
    };
    let Ok(mut json) = serde_json::to_vec(&metrics) else { return status(StatusCode::INTERNAL_SERVER_ERROR) };
    let length = HeaderValue::from(json.len());
    json.truncate(json.len() / parts);
    let mut response = Response::new(Payload { data: Some(Bytes::from(json)), sent: false });
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

/// One chunk, and then the end.
#[derive(Debug, Default)]
pub(crate) struct Payload {
    data: Option<Bytes>,
    sent: bool,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            self.sent = true;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if std::mem::take(&mut self.sent) {
            // hyper closes the connection of a body that ends too early without sending what it holds back, so it is
            // given a turn to send the head and the chunk.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && !self.sent
    }
}

/// Makes hyper drop the connection without an answer.
#[derive(Debug)]
pub(crate) struct ConnectionReset;

impl fmt::Display for ConnectionReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the plan resets this connection")
    }
}

impl std::error::Error for ConnectionReset {}
