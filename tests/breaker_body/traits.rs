//! What the types ask for, which is nothing, and what they give away.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{CircuitBreakerService, Ticket, partition};
use tower_rampart::classify::body::JudgedBody;
use tower_rampart::classify::{GrpcClassifier, GrpcEos, HttpClassifier, HttpEos};

fn all<T: Send + Sync + Unpin + 'static>(_: &T) {}

#[test]
fn send_and_sync_where_the_inner_types_are() {
    fn body<T: Send + Sync + Unpin + 'static>() {}
    body::<Ticket>();
    body::<JudgedBody<Full<Bytes>, HttpEos, Ticket>>();
    body::<JudgedBody<Full<Bytes>, GrpcEos, Ticket>>();

    let layer = CircuitBreakerLayer::new_for_grpc().partition_by(partition::host()).judge_body();
    all(&layer.clone());
    let mut service =
        layer.layer(service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))));
    all(&service.clone());
    all(&service.call(Request::new(())));
}

/// For whom the head is enough the response is the one that came, and the service has the same name and size as ever.
#[test]
fn the_head_alone_changes_no_type() {
    async fn inner(_: Request<()>) -> Result<Response<&'static str>, Infallible> {
        Ok(Response::new("not even a body"))
    }

    fn is<S: Service<Request<()>, Response = Response<&'static str>>>(_: &S) {}

    let layer: CircuitBreakerLayer<GrpcClassifier> = CircuitBreakerLayer::new_for_grpc();
    let service: CircuitBreakerService<_, GrpcClassifier> = layer.layer(service_fn(inner));
    is(&service);
    let whole = CircuitBreakerLayer::new_for_grpc().judge_body().layer(service_fn(inner));
    assert_eq!(size_of_val(&service), size_of_val(&whole));
}

/// Neither `'static` nor `Send`, and its error is no error type of its own.
struct Borrowing<'a> {
    asked: &'a Cell<u32>,
    left: Rc<Cell<u32>>,
}

impl Body for Borrowing<'_> {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.asked.set(self.asked.get() + 1);
        Poll::Ready(match self.left.get() {
            0 => Some(Err("nothing is left")),
            left => {
                self.left.set(left - 1);
                Some(Ok(Frame::data(Bytes::from_static(b"a"))))
            }
        })
    }
}

#[tokio::test]
async fn bodies_need_not_be_static_nor_send_nor_clone() {
    let asked = Cell::new(0);
    let layer = CircuitBreakerLayer::new(HttpClassifier::new()).judge_body();
    let service = layer.layer(service_fn(|request: Request<&str>| {
        let left = Rc::new(Cell::new(request.body().len() as u32));
        ready(Ok::<_, Infallible>(Response::new(Borrowing { asked: &asked, left })))
    }));
    let text = String::from("two");
    let response = service.oneshot(Request::new(text.as_str())).await.unwrap();
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(std::error::Error::source(&*error).unwrap().to_string(), "nothing is left");
    assert_eq!((asked.get(), layer.breaker().snapshot().failures), (4, 1));
}
