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
        state: ResponseState,
    }
}

#[derive(Debug)]
enum ResponseState {
    Ready(Option<Response<ResponseBody>>),
    /// Looks for the breaker to act on.
    Acting(Walk, Id, Action),
}

impl ResponseFuture {
    pub(super) fn ready(response: Response<ResponseBody>) -> Self {
        Self { state: ResponseState::Ready(Some(response)) }
    }

    pub(super) fn acting(walk: Walk, id: Id, action: Action) -> Self {
        Self { state: ResponseState::Acting(walk, id, action) }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state {
            ResponseState::Ready(response) => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
            ResponseState::Acting(walk, id, action) => loop {
                let Some(breakers) = ready!(walk.poll_page(cx)) else {
                    return Poll::Ready(Ok(response::text(StatusCode::NOT_FOUND, "no breaker has this id\n")));
                };
                if let Some(breaker) = breakers.iter().find(|breaker| walk.watched().id(breaker) == *id) {
                    action.act(breaker);
                    return Poll::Ready(Ok(response::json(json(&Row::of(breaker, walk.watched())))));
                }
            },
        }
    }
}
