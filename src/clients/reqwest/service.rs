use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use pin_project_lite::pin_project;
use reqwest::{Body, Client, Request, Response, ResponseBuilderExt as _, redirect, retry};
use tower_service::Service;

use super::{FollowsRedirects, into_bytes_or_stream, into_stream};
use crate::BoxError;

/// The client of reqwest as a service: each call is exactly [one request](super#one-call-one-request).
///
/// - The body of a request can be any, also that of axum, which is not `Sync`. One that is in memory is passed as bytes,
///   any other as a stream, with its length if that is known.
/// - Version, headers and the timeout of a request are kept, and the URL of a response:
///   `reqwest::Response::from(response).url()`.
/// - It is always ready.
///
/// [`SendExt::send`](super::SendExt::send) takes a `RequestBuilder` instead of an `http::Request`.
#[derive(Clone, Debug)]
pub struct ReqwestService {
    client: Client,
    /// Whether the client may send a body in memory again by itself.
    may_resend: bool,
}

pin_project! {
    /// The future of [`ReqwestService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ReqwestFuture {
        #[pin]
        call: OrFailed<<Client as Service<Request>>::Future>,
    }
}

pin_project! {
    /// A call, or the error of a request that cannot be built.
    #[project = OrFailedProj]
    pub(in crate::clients) enum OrFailed<F> {
        Call { #[pin] call: F },
        Failed { error: Option<reqwest::Error> },
    }
}

impl ReqwestService {
    /// Builds a client that follows no redirects and retries nothing by itself, whatever the builder says of both.
    ///
    /// # Errors
    ///
    /// See [`ClientBuilder::build`](reqwest::ClientBuilder::build).
    pub fn from_builder(builder: reqwest::ClientBuilder) -> reqwest::Result<Self> {
        let client = builder.redirect(redirect::Policy::none()).retry(retry::never()).build()?;
        Ok(Self { client, may_resend: false })
    }

    /// Takes a client that was built elsewhere. Its redirects must be off. Every body is passed as a stream, so that
    /// the [retry policy](reqwest::ClientBuilder::retry) of the client cannot send it again.
    ///
    /// # Errors
    ///
    /// If the client may follow redirects.
    pub fn new(client: Client) -> Result<Self, FollowsRedirects> {
        FollowsRedirects::check(&client)?;
        Ok(Self { client, may_resend: true })
    }

    /// Returns the client, to build requests with it. What it sends itself bypasses the layers.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    #[cfg(feature = "reqwest-middleware")]
    pub(in crate::clients) fn may_resend(&self) -> bool {
        self.may_resend
    }
}

impl<B> Service<http::Request<B>> for ReqwestService
where
    B: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = reqwest::Error;
    type Future = ReqwestFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<reqwest::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> ReqwestFuture {
        let request = request.map(if self.may_resend { into_stream } else { into_bytes_or_stream });
        ReqwestFuture { call: OrFailed::new(request.try_into().map(|request| self.client.call(request))) }
    }
}

impl Future for ReqwestFuture {
    type Output = reqwest::Result<http::Response<Body>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().call.poll(cx))??;
        Poll::Ready(Ok(into_http(response)))
    }
}

impl fmt::Debug for ReqwestFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestFuture").finish_non_exhaustive()
    }
}

impl<F> OrFailed<F> {
    pub(in crate::clients) fn new(call: reqwest::Result<F>) -> Self {
        match call {
            Ok(call) => Self::Call { call },
            Err(error) => Self::Failed { error: Some(error) },
        }
    }
}

impl<F: Future> Future for OrFailed<F> {
    type Output = reqwest::Result<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            OrFailedProj::Call { call } => call.poll(cx).map(Ok),
            OrFailedProj::Failed { error } => {
                let Some(error) = error.take() else { panic!("future polled after it was ready") };
                Poll::Ready(Err(error))
            }
        }
    }
}

/// Reqwest's own conversion drops the URL. Its way back reads it from the extensions.
pub(in crate::clients) fn into_http(response: Response) -> http::Response<Body> {
    let mut with_url = http::Response::builder().url(response.url().clone());
    let mut response = http::Response::<Body>::from(response);
    if let Some(url) = with_url.extensions_mut() {
        response.extensions_mut().extend(mem::take(url));
    }
    response
}
