use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use tower_service::Service;

use super::body::{List, Live, Recording, ResponseBody};
use super::breakers::{Walk, Watched};
use super::future::ResponseFuture;
use super::response;
use super::route::Route;
use super::same_origin::is_same_origin;
use super::viewers::Viewers;
use crate::breaker::Handle;

/// A page with all breakers of some layers: see [the module](super).
///
/// Clones show the same breakers.
#[derive(Clone)]
pub struct StatusPage<Guard = fn(&Parts) -> bool> {
    watched: Arc<Watched>,
    viewers: Viewers,
    prefix: Arc<str>,
    guard: Guard,
}

impl StatusPage {
    /// A page without breakers, which controls none.
    #[must_use]
    pub fn new() -> Self {
        Self { watched: Arc::default(), viewers: Viewers::default(), prefix: "".into(), guard: |_| false }
    }
}

impl<Guard> StatusPage<Guard> {
    /// Adds the breakers of a layer, once if given twice. Their history begins now.
    #[must_use]
    pub fn breakers<K: Send + Sync + 'static>(mut self, handle: Handle<K>) -> Self {
        Arc::make_mut(&mut self.watched).add(Arc::new(handle));
        self
    }

    /// Sets the path at which the page is. Not needed below a router that removes the path, as
    /// `axum::Router::nest_service` does.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.trim_matches('/').into();
        self
    }

    /// Lets the page force breakers open, disable and reset them, for the requests that the guard admits.
    ///
    /// The guard is the only check of who acts. One that admits every request must at least compare `Host` with the
    /// names of the server: see [rule 1](super#rules).
    #[must_use]
    pub fn guard<G: Fn(&Parts) -> bool>(self, guard: G) -> StatusPage<G> {
        let Self { watched, viewers, prefix, guard: _ } = self;
        StatusPage { watched, viewers, prefix, guard }
    }
}

impl<Guard: Fn(&Parts) -> bool> StatusPage<Guard> {
    fn respond(&self, request: &Parts) -> ResponseFuture {
        ResponseFuture::ready(match Route::of(request.uri.path(), &self.prefix) {
            None => response::text(StatusCode::NOT_FOUND, "not found\n"),
            Some(route) if !route.allows(&request.method) => response::method_not_allowed(route.allow()),
            Some(Route::Page) => response::page(),
            Some(Route::List) => response::list(List::new(self.watched.clone())),
            Some(Route::Recording(layer)) if !self.watched.has_recorder(layer) => {
                response::text(StatusCode::NOT_FOUND, "no recording\n")
            }
            Some(Route::Recording(layer)) => match self.viewers.admit() {
                None => response::too_many_viewers(),
                Some(place) => response::recording(Recording::new(self.watched.clone(), layer, place)),
            },
            Some(Route::Live) => match self.viewers.admit() {
                None => response::too_many_viewers(),
                Some(place) => response::live(Live::new(self.watched.clone(), (self.guard)(request), place)),
            },
            Some(Route::Act(..)) if !is_same_origin(request) => {
                response::text(StatusCode::FORBIDDEN, "only the page itself may act\n")
            }
            Some(Route::Act(..)) if !(self.guard)(request) => response::text(StatusCode::FORBIDDEN, "forbidden\n"),
            Some(Route::Act(id, action)) => {
                return ResponseFuture::acting(Walk::new(self.watched.clone()), id, action);
            }
        })
    }
}

impl<B, Guard: Fn(&Parts) -> bool> Service<Request<B>> for StatusPage<Guard> {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let request = request.into_parts().0;
        let response = self.respond(&request);
        if request.method == Method::HEAD { response.without_body() } else { response }
    }
}

impl Default for StatusPage {
    fn default() -> Self {
        Self::new()
    }
}

impl<Guard> fmt::Debug for StatusPage<Guard> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusPage")
            .field("breakers", &self.watched)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
