use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Response, StatusCode};
use pin_project_lite::pin_project;

use super::body::ResponseBody;
use super::breakers::{Id, Walk};
use super::response;
use super::route::Action;
use super::row::{Row, json};

pin_project! {
    /// The future of the [`StatusPage`](super::StatusPage).
    #[derive(Debug)]
    pub struct ResponseFuture {
        // The response, unless the breaker of an action is looked for.
        response: Option<Response<ResponseBody>>,
        search: Option<Search>,
    }
}

#[derive(Debug)]
struct Search {
    walk: Walk,
    id: Id,
    action: Action,
}

impl ResponseFuture {
    pub(super) fn ready(response: Response<ResponseBody>) -> Self {
        Self { response: Some(response), search: None }
    }

    /// An answer to `HEAD`, which must have no body.
    pub(super) fn without_body(self) -> Self {
        Self { response: self.response.map(|response| response.map(|_| ResponseBody::empty())), ..self }
    }

    pub(super) fn acting(walk: Walk, id: Id, action: Action) -> Self {
        Self { response: None, search: Some(Search { walk, id, action }) }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.search {
            Some(search) => search.poll(cx).map(Ok),
            None => this.response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
        }
    }
}

impl Search {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<ResponseBody>> {
        let Self { walk, id, action } = self;
        while let Some(breakers) = ready!(walk.poll_page(cx)) {
            if let Some(listed) = breakers.iter().find(|listed| listed.id == *id) {
                action.act(&listed.breaker);
                return Poll::Ready(response::json(json(&Row::of(listed, walk.watched()))));
            }
        }
        Poll::Ready(response::text(StatusCode::NOT_FOUND, "no breaker has this id\n"))
    }
}
