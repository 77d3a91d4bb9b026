use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::{
    ClassifiedError, Classifier, Counters, DistrustRefusals, GrpcClassifier, HeadOnly, HttpClassifier, Notify,
    OnVerdict, Processed, RequestHead, ResponseFuture, Route, Routes, SettleAt, Verdict, WholeBody,
};
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
///
/// # Errors
///
/// Every error of the inner service is wrapped in [`ClassifiedError`], which keeps it as its source. One that fails to become
/// ready is judged in the same way, but as unprocessed: it was not called.
#[derive(Clone, Debug)]
pub struct ClassifyLayer<Classifier = HttpClassifier, OnVerdict = (), SettleAt = HeadOnly, Route = ()> {
    classifier: Classifier,
    observer: OnVerdict,
    settle_at: SettleAt,
    routes: Route,
}

/// The service that [`ClassifyLayer`] makes.
#[derive(Clone, Debug)]
pub struct Classify<S, Classifier = HttpClassifier, OnVerdict = (), SettleAt = HeadOnly, Route = ()> {
    inner: S,
    layer: ClassifyLayer<Classifier, OnVerdict, SettleAt, Route>,
}

impl ClassifyLayer<HttpClassifier> {
    /// Judges HTTP responses and errors by the defaults of [`HttpClassifier`].
    #[must_use]
    pub fn new_for_http() -> Self {
        Self::new(HttpClassifier::new())
    }
}

impl ClassifyLayer<GrpcClassifier> {
    /// Judges gRPC responses and errors by the defaults of [`GrpcClassifier`].
    ///
    /// A code that comes with the trailers is seen only with [`judge_body`](Self::judge_body).
    #[must_use]
    pub fn new_for_grpc() -> Self {
        Self::new(GrpcClassifier::new())
    }
}

impl<Classifier> ClassifyLayer<Classifier> {
    /// Judges by a classifier of your own, which need not be about HTTP.
    pub fn new(classifier: Classifier) -> Self {
        Self { classifier, observer: (), settle_at: HeadOnly, routes: () }
    }
}

impl<Classifier, OnVerdict, SettleAt, Route> ClassifyLayer<Classifier, OnVerdict, SettleAt, Route> {
    /// Calls this for every verdict, after those that were set before.
    ///
    /// ```
    /// use tower_rampart::ClassifyLayer;
    ///
    /// let layer = ClassifyLayer::new_for_http().on_verdict(|verdict| println!("{verdict}"));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn on_verdict<F>(self, callback: F) -> ClassifyLayer<Classifier, (OnVerdict, F), SettleAt, Route>
    where
        F: Fn(&Verdict),
    {
        self.observed_by(callback)
    }

    /// Counts every verdict.
    #[must_use]
    pub fn counters(self, counters: &Counters) -> ClassifyLayer<Classifier, (OnVerdict, Counters), SettleAt, Route> {
        self.observed_by(counters.clone())
    }

    /// Watches the body of a success to its end before [`on_verdict`](Self::on_verdict) and
    /// [`counters`](Self::counters) are told what it was: see [the table](super::body).
    ///
    /// The response body becomes a [`JudgedBody`](super::body::JudgedBody), whose error is wrapped in [`ClassifiedError`]. For
    /// HTTP and gRPC only.
    ///
    /// The head is passed on as soon as it comes, with the verdict that it deserves by itself.
    #[must_use]
    pub fn judge_body(self) -> ClassifyLayer<Classifier, OnVerdict, WholeBody, Route> {
        let Self { classifier, observer, settle_at: _, routes } = self;
        ClassifyLayer { classifier, observer, settle_at: WholeBody, routes }
    }

    /// Takes a request whose stream was refused (`REFUSED_STREAM`) for one that may have been processed: see
    /// [`DistrustRefusals`]. Also changes the routes that were added before.
    ///
    /// Only this layer's verdict changes. The default classifiers of retry and breaker honour it; to be safe where they
    /// might also meet errors that this layer has not seen, set it on them as well.
    #[must_use]
    pub fn distrust_refusals(self) -> Self
    where
        Classifier: DistrustRefusals,
        Route: DistrustRefusals,
    {
        let Self { classifier, observer, settle_at, routes } = self;
        let (classifier, routes) = (classifier.distrust_refusals(), routes.distrust_refusals());
        Self { classifier, observer, settle_at, routes }
    }

    fn observed_by<Observer>(
        self,
        observer: Observer,
    ) -> ClassifyLayer<Classifier, (OnVerdict, Observer), SettleAt, Route> {
        let Self { classifier, observer: earlier, settle_at, routes } = self;
        ClassifyLayer { classifier, observer: (earlier, observer), settle_at, routes }
    }

    pub(super) fn routed_by<NewRoute>(
        self,
        routes: NewRoute,
    ) -> ClassifyLayer<Classifier, OnVerdict, SettleAt, NewRoute> {
        let Self { classifier, observer, settle_at, routes: _ } = self;
        ClassifyLayer { classifier, observer, settle_at, routes }
    }
}

impl<Classifier: Clone, OnVerdict, SettleAt> ClassifyLayer<Classifier, OnVerdict, SettleAt> {
    /// Judges what comes of certain requests by another classifier of the same type. If several fit a request, the last
    /// one counts.
    ///
    /// ```
    /// use http::Method;
    /// use tower_rampart::ClassifyLayer;
    /// use tower_rampart::classify::{Class, HttpClassifier};
    ///
    /// let http = HttpClassifier::new();
    /// let layer = ClassifyLayer::new(http.clone())
    ///     .route(|request| request.path().starts_with("/search/"), http.clone().status(404, Class::Success))
    ///     .route(|request| request.method() == Method::DELETE, http.status(410, Class::Success));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn route<P>(
        self,
        fits: P,
        classifier: Classifier,
    ) -> ClassifyLayer<Classifier, OnVerdict, SettleAt, Routes<Classifier>>
    where
        P: Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.routed_by(Routes::new().with(fits, classifier))
    }
}

impl<Classifier: Clone, OnVerdict, SettleAt> ClassifyLayer<Classifier, OnVerdict, SettleAt, Routes<Classifier>> {
    /// Another one: see [`route`](ClassifyLayer::route).
    #[must_use]
    pub fn route<P>(self, fits: P, classifier: Classifier) -> Self
    where
        P: Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        let routes = self.routes.with(fits, classifier);
        self.routed_by(routes)
    }
}

impl<S, Classifier, OnVerdict, SettleAt, Route> Layer<S> for ClassifyLayer<Classifier, OnVerdict, SettleAt, Route>
where
    Self: Clone,
{
    type Service = Classify<S, Classifier, OnVerdict, SettleAt, Route>;

    fn layer(&self, inner: S) -> Self::Service {
        Classify { inner, layer: self.clone() }
    }
}

impl<S, ClassifierT, OnVerdictT, SettleAtT, RouteT, Req> Service<Req>
    for Classify<S, ClassifierT, OnVerdictT, SettleAtT, RouteT>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    RouteT: Route<Req, ClassifierT>,
    RouteT::Classifier: Classifier<S::Response>,
    OnVerdictT: OnVerdict + Clone,
    SettleAtT: SettleAt<S::Response, RouteT::Classifier, Notify<OnVerdictT>> + Clone,
{
    type Response = SettleAtT::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future, RouteT::Classifier, OnVerdictT, SettleAtT>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(|error| {
            let error = error.into();
            let verdict = match self.layer.routes.without_request(&self.layer.classifier) {
                Some(classifier) => classifier.classify(Err(&*error)),
                None => Verdict::of_error(&*error),
            };
            ClassifiedError::wrap(verdict.with_processed(Processed::No), error)
        })
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let ClassifyLayer { classifier, observer, settle_at, routes } = &self.layer;
        let classifier = routes.route(classifier, &request);
        ResponseFuture::new(self.inner.call(request), classifier, observer.clone(), settle_at.clone())
    }
}
