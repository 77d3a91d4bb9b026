//! What the errors of a channel are judged as.

use std::io;
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::classify::{Class, Health, Processed, Verdict};
use tower_rampart::{BoxError, ClassifyLayer};

use crate::kit::frames::{self, FIRST};
use crate::kit::server::{Server, stall, unused_address};
use crate::kit::{Facts, facts_of, find};

async fn send(channel: Channel) -> Result<Response<Body>, BoxError> {
    let request = Request::post("/rampart.Billing/Pull").body(Body::empty()).unwrap();
    ClassifyLayer::new_for_grpc().layer(channel).oneshot(request).await
}

async fn failure(channel: Channel) -> BoxError {
    send(channel).await.map(|response| response.status()).expect_err("the call should have failed")
}

fn endpoint(server: &Server) -> Endpoint {
    Endpoint::from(server.uri())
}

#[tokio::test]
async fn cannot_connect() {
    let endpoint = Endpoint::from_shared(format!("http://{}", unused_address().await)).unwrap();
    let error = failure(endpoint.connect_lazy()).await;
    assert!(find::<tonic::ConnectError>(&*error).is_some());
    assert_eq!(facts_of(&*error), (Class::Transient, Processed::No, Health::Failure, "connect"));
}

/// Whatever a connector fails with, tonic says that it was connecting.
#[tokio::test]
async fn cannot_connect_for_reasons_unknown() {
    let connector =
        service_fn(|_: Uri| async { Err::<TokioIo<TcpStream>, _>(io::Error::other("no more sockets today")) });
    let endpoint = Endpoint::from_static("http://127.0.0.1/");
    let error = failure(endpoint.connect_with_connector_lazy(connector)).await;
    assert_eq!(facts_of(&*error), (Class::Transient, Processed::No, Health::Failure, "connect"));
}

#[tokio::test]
async fn refused_stream() {
    let server = Server::start(|mut stream| async move {
        frames::accept_request(&mut stream).await;
        frames::reset_stream(&mut stream, FIRST, frames::REFUSED_STREAM).await;
        stall(stream).await;
    })
    .await;
    let error = failure(endpoint(&server).connect_lazy()).await;
    let refused: Facts = (Class::Transient, Processed::No, Health::Neutral, "refused_stream");
    assert_eq!(facts_of(&*error), refused);

    // A status made of it has lost the fact, but not its source.
    assert_eq!(facts_of(&tonic::Status::from_error(error)), refused);
}

#[tokio::test]
async fn timeout_after_sending() {
    let (arrived, mut has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let arrived = arrived.clone();
        async move {
            frames::accept_request(&mut stream).await;
            arrived.send(()).unwrap();
            stall(stream).await;
        }
    })
    .await;
    let channel = endpoint(&server).timeout(Duration::from_secs(3600)).connect_lazy();
    let call = tokio::spawn(failure(channel));
    has_arrived.recv().await.unwrap();
    tokio::time::pause();
    let error = call.await.unwrap();
    assert!(find::<tonic::TimeoutExpired>(&*error).is_some());
    assert_eq!(facts_of(&*error), (Class::Transient, Processed::Maybe, Health::Failure, "timeout"));
}

/// A status that tonic made of an error that it does not know tells nothing.
#[test]
fn status_of_an_unknown_error() {
    assert_eq!(Verdict::of_error(&tonic::Status::from_error("lost".into())), Verdict::transient());
}

/// A status that came from the server is judged by its code.
#[test]
fn status_from_the_server() {
    let verdict = Verdict::of_error(&tonic::Status::unavailable("down"));
    assert_eq!((verdict.class(), verdict.code(), verdict.reason().as_str()), (Class::Transient, Some(14), "grpc"));
    assert_eq!(Verdict::of_error(&tonic::Status::not_found("tenant")).class(), Class::Terminal);
}
