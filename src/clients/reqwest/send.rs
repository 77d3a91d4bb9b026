use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use pin_project_lite::pin_project;
use reqwest::{Body, Request, RequestBuilder, Response};
use tower::util::Oneshot;
use tower_service::Service;

use super::into_stream;
use super::service::OrFailed;
use crate::BoxError;
use crate::call::deadline::Deadline;

/// Sends a [`RequestBuilder`] through a stack: `stack.send(client.get(url)).await?`.
///
/// For every `Clone` service that takes an `http::Request<reqwest::Body>`, such as a stack over
/// [`ReqwestService`](super::ReqwestService), also in a `tower::util::BoxCloneSyncService`. Over another client the
/// [`url`](Response::url) of the response is not set.
///
/// ```no_run
/// use std::time::Duration;
///
/// use tower_rampart::clients::reqwest::{ReqwestService, SendExt};
/// use tower_rampart::{BoxError, RetryLayer};
///
/// # async fn run() -> Result<(), BoxError> {
/// let reqwest = ReqwestService::from_builder(reqwest::Client::builder())?;
/// let client = reqwest.client().clone();
/// let stack = tower::ServiceBuilder::new().layer(RetryLayer::new_for_http()).service(reqwest);
///
/// let upload = client.put("http://billing.example/v1/usage").body("4711").timeout(Duration::from_secs(10));
/// let response = stack.send(upload).await?.error_for_status()?;
/// # let _ = response;
/// # Ok(())
/// # }
/// ```
pub trait SendExt: Service<http::Request<Body>> {
    /// Sends the request through a clone of this service, once that is ready.
    ///
    /// A [timeout](RequestBuilder::timeout) of the request is the [`Deadline`] of the call, all attempts included, in
    /// place of the [deadline](crate::RetryLayer::deadline) of the layer. As in reqwest, it begins now, not at the first
    /// poll of the future. Reqwest applies it to each attempt, too, until the end of its response body.
    ///
    /// # Errors
    ///
    /// The error of the builder, for example on an invalid URL, or the error of the service.
    fn send(&self, request: RequestBuilder) -> SendFuture<Self>
    where
        Self: Clone,
    {
        let request = request.build().and_then(into_call);
        SendFuture { call: OrFailed::new(request.map(|request| Oneshot::new(self.clone(), request))) }
    }
}

pin_project! {
    /// The future of [`SendExt::send`].
    #[must_use = "futures do nothing unless polled"]
    pub struct SendFuture<S>
    where
        S: Service<http::Request<Body>>,
    {
        #[pin]
        call: OrFailed<Oneshot<S, http::Request<Body>>>,
    }
}

impl<S: Service<http::Request<Body>>> SendExt for S {}

impl<S, ResBody> Future for SendFuture<S>
where
    S: Service<http::Request<Body>, Response = http::Response<ResBody>, Error: Into<BoxError>>,
    ResBody: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().call.poll(cx))?.map_err(Into::into)?;
        Poll::Ready(Ok(response.map(into_stream).into()))
    }
}

impl<S: Service<http::Request<Body>>> fmt::Debug for SendFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFuture").finish_non_exhaustive()
    }
}

/// Returns the request of a whole call, whose timeout covers all attempts.
pub(in crate::clients) fn into_call(request: Request) -> reqwest::Result<http::Request<Body>> {
    let deadline = request.timeout().copied().map(Deadline::within);
    let mut request = http::Request::try_from(request)?;
    if let Some(deadline) = deadline {
        request.extensions_mut().insert(deadline);
    }
    Ok(request)
}
