use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::{
    ClassifiedError, Classifier, Counters, DistrustRefusals, GrpcClassifier, HeadOnly, HttpClassifier, Notify,
    OnVerdict, Processed, RequestHead, ResponseFuture, Route, Routes, SettleAt, Verdict, WholeBody,
};
use crate::BoxError;

/// Decides in one place what outcomes mean, for the caller and for the layers outside.
///
/// Put it innermost, around the client. The rules of [the module](super) describe how its verdicts travel.
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
/// Wraps every error of the inner service in [`ClassifiedError`], which keeps it as its source. An error from
/// `poll_ready` is judged in the same way, but as unprocessed, because the service was not called.
#[derive(Clone, Debug)]
pub struct ClassifyLayer<Classifier = HttpClassifier, OnVerdict = (), SettleAt = HeadOnly, Route = ()> {
    classifier: Classifier,
    observer: OnVerdict,
    settle_at: SettleAt,
    routes: Route,
}

/// The service of [`ClassifyLayer`].
#[derive(Clone, Debug)]
pub struct Classify<S, Classifier = HttpClassifier, OnVerdict = (), SettleAt = HeadOnly, Route = ()> {
    inner: S,
    layer: ClassifyLayer<Classifier, OnVerdict, SettleAt, Route>,
}

impl ClassifyLayer<HttpClassifier> {
    /// Creates a layer with the default [`HttpClassifier`].
    #[must_use]
    pub fn new_for_http() -> Self {
        Self::new(HttpClassifier::new())
    }
}

impl ClassifyLayer<GrpcClassifier> {
    /// Creates a layer with the default [`GrpcClassifier`].
    ///
    /// To see the codes in trailers, add [`judge_body`](Self::judge_body).
    #[must_use]
    pub fn new_for_grpc() -> Self {
        Self::new(GrpcClassifier::new())
    }
}

impl<Classifier> ClassifyLayer<Classifier> {
    /// Creates a layer with this classifier, for HTTP or any other protocol.
    pub fn new(classifier: Classifier) -> Self {
        Self { classifier, observer: (), settle_at: HeadOnly, routes: () }
    }
}

impl<Classifier, OnVerdict, SettleAt, Route> ClassifyLayer<Classifier, OnVerdict, SettleAt, Route> {
    /// Calls this for every verdict, after the callbacks that were set before.
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

    /// Delays [`on_verdict`](Self::on_verdict) and [`counters`](Self::counters) for a success until its body has ended:
    /// see [the table](super::body). For HTTP and gRPC only.
    ///
    /// The response body becomes a [`JudgedBody`](super::body::JudgedBody), which wraps its errors in
    /// [`ClassifiedError`].
    ///
    /// The head is passed on at once, with the verdict on the head alone.
    #[must_use]
    pub fn judge_body(self) -> ClassifyLayer<Classifier, OnVerdict, WholeBody, Route> {
        let Self { classifier, observer, settle_at: _, routes } = self;
        ClassifyLayer { classifier, observer, settle_at: WholeBody, routes }
    }

    /// Treats a request whose stream was refused (`REFUSED_STREAM`) as one that may have been processed: see
    /// [`DistrustRefusals`]. Also applies to the routes that were added before.
    ///
    /// This changes only the verdicts of this layer. The default classifiers of retry and breaker use them, but set it
    /// there too if they can see errors that do not pass through this layer.
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

    pub(super) fn map_routes<NewRoute>(
        self,
        map: impl FnOnce(Route) -> NewRoute,
    ) -> ClassifyLayer<Classifier, OnVerdict, SettleAt, NewRoute> {
        let Self { classifier, observer, settle_at, routes } = self;
        ClassifyLayer { classifier, observer, settle_at, routes: map(routes) }
    }
}

impl<Classifier: Clone, OnVerdict, SettleAt> ClassifyLayer<Classifier, OnVerdict, SettleAt> {
    /// Classifies the outcomes of some requests with another classifier of the same type. If several routes match, the
    /// last one applies.
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
    pub fn route<Predicate>(
        self,
        fits: Predicate,
        classifier: Classifier,
    ) -> ClassifyLayer<Classifier, OnVerdict, SettleAt, Routes<Classifier>>
    where
        Predicate: Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.map_routes(|()| Routes::new().with(fits, classifier))
    }
}

impl<Classifier: Clone, OnVerdict, SettleAt> ClassifyLayer<Classifier, OnVerdict, SettleAt, Routes<Classifier>> {
    /// Adds another route: see [`route`](ClassifyLayer::route).
    #[must_use]
    pub fn route<Predicate>(self, fits: Predicate, classifier: Classifier) -> Self
    where
        Predicate: Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.map_routes(|routes| routes.with(fits, classifier))
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
