use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, Request, Uri, Version};

use super::head::HeaderNames;
use crate::classify::DistrustRefusals;

/// Chooses the classifier for a request, because a classifier sees only the outcome.
///
/// `()` uses the classifier of the layer for every request; [`Routes`] choose by request.
pub trait Route<Req, Classifier> {
    /// The classifier for the outcome of a request.
    type Classifier;

    /// Returns the classifier for this request.
    fn route(&self, default: &Classifier, request: &Req) -> Self::Classifier;

    /// Returns the classifier for an error from `poll_ready`, before there is a request. If `None`, the chain of the
    /// error's sources decides.
    fn without_request(&self, default: &Classifier) -> Option<Self::Classifier>;
}

/// Classifiers for some requests: see [`ClassifyLayer::route`](crate::ClassifyLayer::route).
#[derive(Clone)]
pub struct Routes<Classifier> {
    // Shared, because the layer clones them with every service.
    routes: Arc<[(Predicate, Classifier)]>,
}

type Predicate = Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;

/// A borrowed request without its body.
///
/// `Debug` shows the method, the version, the host and the header names. It hides what may be secret: userinfo, path,
/// query, header values and extensions.
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
        let route = self.routes.iter().rfind(|(matches, _)| matches(&head));
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

    /// Applies a change to every classifier.
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
    /// Borrows the head of a request.
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

    /// Returns the method.
    #[must_use]
    pub const fn method(&self) -> &'a Method {
        self.method
    }

    /// Returns the URI.
    #[must_use]
    pub const fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// Returns the path of the URI.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.uri.path()
    }

    /// Returns the HTTP version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns the headers.
    #[must_use]
    pub const fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// Returns the extensions, where an outer layer may have put the name of the route.
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

/// Omits the closures, which have no `Debug`.
impl<Classifier: fmt::Debug> fmt::Debug for Routes<Classifier> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.routes.iter().map(|(_, classifier)| classifier)).finish()
    }
}
