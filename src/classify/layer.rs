use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::{Classifier, HttpClassifier, ResponseFuture};
use crate::BoxError;

/// Says in one place what outcomes mean, for the caller and for the layers outside.
///
/// Belongs innermost, around the client. See [the module](super) for how its verdicts travel.
///
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_rampart::ClassifyLayer;
/// use tower_rampart::classify::{Class, HttpClassifier};
///
/// let service = ServiceBuilder::new()
///     .layer(ClassifyLayer::new(HttpClassifier::new().status(409, Class::Transient)))
///     .service(service_fn(|_: http::Request<String>| async {
///         Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
///     }));
/// # let _ = service;
/// ```
#[derive(Clone, Debug)]
pub struct ClassifyLayer<C> {
    classifier: C,
}

/// The service that [`ClassifyLayer`] makes.
#[derive(Clone, Debug)]
pub struct Classify<S, C> {
    inner: S,
    classifier: C,
}

impl ClassifyLayer<HttpClassifier> {
    /// Judges HTTP responses and errors by the defaults of [`HttpClassifier`].
    #[must_use]
    pub fn new_for_http() -> Self {
        Self::new(HttpClassifier::new())
    }
}

impl<C> ClassifyLayer<C> {
    /// Judges by a classifier of your own, which need not be about HTTP.
    pub fn new(classifier: C) -> Self {
        Self { classifier }
    }
}

impl<S, C: Clone> Layer<S> for ClassifyLayer<C> {
    type Service = Classify<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Classify { inner, classifier: self.classifier.clone() }
    }
}

impl<S, C, Req> Service<Req> for Classify<S, C>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classifier<S::Response> + Clone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        ResponseFuture::new(self.inner.call(request), self.classifier.clone())
    }
}
