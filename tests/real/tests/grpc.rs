//! gRPC servers that close every connection after 300 ms: no call is processed twice, no idempotent call is lost.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use rampart_real::grpc::{Server, Transport, python, run};
use rampart_real::load::Load;
use rampart_real::request::Kind;

async fn assert_server(server: Server) {
    for transport in [Transport::Hyper, Transport::Channel] {
        for (kinds, at_once) in [(&[Kind::GrpcCharge][..], 16), (&[Kind::GrpcGet, Kind::GrpcCharge], 200)] {
            let load = Load { calls: 1_000, at_once, kinds };
            let audit = run(server, transport, load, 6).await.unwrap();
            assert_eq!(audit.faults(), [""; 0], "{server:?} over {transport:?}, {kinds:?}, {at_once} at once");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tonic_ages_connections() {
    assert_server(Server::Tonic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcio_ages_connections() {
    if python().is_none() {
        return support::skip("grpcio");
    }
    assert_server(Server::Grpcio).await;
}
