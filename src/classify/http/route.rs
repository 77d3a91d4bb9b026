use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, Request, Uri, Version};

use super::head::HeaderNames;
use crate::classify::DistrustRefusals;

/// Chooses the classifier for a request, because a classifier sees only what came of it.
///
/// `()` takes the classifier of the layer for every request; [`Routes`] look at the request first.
pub trait Route<Req, Classifier> {
    /// The classifier that judges what comes of a request.
    type Classifier;

    /// The classifier for this request.
    fn route(&self, default: &Classifier, request: &Req) -> Self::Classifier;

    /// The classifier for when there is no request yet: the inner service fails to become ready. With none, the chain of
    /// the error's sources decides.
    fn without_request(&self, default: &Classifier) -> Option<Self::Classifier>;
}

/// Classifiers for requests of a certain kind: see [`ClassifyLayer::route`](crate::ClassifyLayer::route).
#[derive(Clone)]
pub struct Routes<Classifier> {
    // Shared, because they are cloned with every service.
    routes: Arc<[(Predicate, Classifier)]>,
}

type Predicate = Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;

/// All of a request but its body, borrowed.
///
/// `Debug` shows the method, the version, the host and the names of the headers. It hides what may be secret: userinfo,
/// path, query, the values of headers, extensions.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<Req, Classifier: Clone> Route<Req, Classifier> for () {
    type Classifier = Classifier;

    fn route(&self, default: &Classifier, _: &Req) -> Classifier {
        default.clone()
    }

    fn without_request(&self, default: &Classifier) -> Option<Classifier> {
        Some(default.clone())
    }
}

impl<B, Classifier: Clone> Route<Request<B>, Classifier> for Routes<Classifier> {
    type Classifier = Classifier;

    fn route(&self, default: &Classifier, request: &Request<B>) -> Classifier {
        let head = RequestHead::of(request);
        let route = self.routes.iter().rfind(|(fits, _)| fits(&head));
        route.map_or(default, |(_, classifier)| classifier).clone()
    }

    fn without_request(&self, default: &Classifier) -> Option<Classifier> {
        Some(default.clone())
    }
}

impl<Classifier: Clone> Routes<Classifier> {
    pub(in crate::classify) fn new() -> Self {
        Self { routes: Arc::new([]) }
    }

    pub(in crate::classify) fn with<P>(&self, fits: P, classifier: Classifier) -> Self
    where
        P: Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        let added: (Predicate, Classifier) = (Arc::new(fits), classifier);
        Self { routes: self.routes.iter().cloned().chain([added]).collect() }
    }

    /// The same routes to changed classifiers.
    fn map(&self, change: impl Fn(Classifier) -> Classifier) -> Self {
        Self { routes: self.routes.iter().cloned().map(|(fits, classifier)| (fits, change(classifier))).collect() }
    }
}

impl<Classifier: DistrustRefusals + Clone> DistrustRefusals for Routes<Classifier> {
    fn distrust_refusals(self) -> Self {
        self.map(Classifier::distrust_refusals)
    }
}

impl<'a> RequestHead<'a> {
    /// The head of a request.
    #[must_use]
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> &'a Method {
        self.method
    }

    /// The whole URI.
    #[must_use]
    pub const fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The path of the URI.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.uri.path()
    }

    /// The version of HTTP asked for.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The headers.
    #[must_use]
    pub const fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The extensions: where a layer further outside may have left the name of the route.
    #[must_use]
    pub const fn extensions(&self) -> &'a Extensions {
        self.extensions
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method)
            .field("version", &self.version)
            .field("host", &self.uri.host())
            .field("headers", &HeaderNames(self.headers))
            .finish_non_exhaustive()
    }
}

/// Closures have nothing to show.
impl<Classifier: fmt::Debug> fmt::Debug for Routes<Classifier> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.routes.iter().map(|(_, classifier)| classifier)).finish()
    }
}
