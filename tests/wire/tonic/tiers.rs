//! Three tiers that call each other through generated clients do not multiply their retries.

use std::net::{Ipv4Addr, SocketAddr};

use http::Uri;
use tonic::codegen::tokio_stream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, async_trait};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::Layer;
use tower_rampart::clients::tonic::{BoxTonicService, boxed};
use tower_rampart::retry::{InboundRetries, RetryGuard, StopRetries};

use super::upstream::{Answer, Upstream};
use super::{Channel, over, retry};

/// What the tiers do against amplification.
#[derive(Clone, Copy, Debug, Default)]
struct Care {
    /// Marks attempts, and reads the marks of its callers.
    guard: bool,
    /// Marks answers.
    stops: bool,
}

/// A server that calls the next one, and fails as that call fails.
struct Tier {
    next: HealthClient<BoxTonicService>,
    care: Care,
}

fn client(next: Channel, care: Care) -> HealthClient<BoxTonicService> {
    let retry = retry().idempotent(|_| true);
    let retry = if care.guard { retry.guard(RetryGuard::new()) } else { retry };
    HealthClient::new(boxed(retry.layer(next)))
}

impl Tier {
    async fn serve(next: Channel, care: Care) -> Channel {
        let incoming = TcpIncoming::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let uri = format!("http://{}", incoming.local_addr().unwrap()).parse::<Uri>().unwrap();
        let tier = HealthServer::new(Self { next: client(next, care), care });
        tokio::spawn(Server::builder().serve_with_incoming(tier, incoming));
        over(uri)
    }
}

#[async_trait]
impl Health for Tier {
    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn check(&self, inbound: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let inbound_retries = InboundRetries::from_headers(inbound.metadata().as_ref());
        let mut outbound = Request::new(inbound.into_inner());
        if self.care.guard {
            outbound.extensions_mut().insert(inbound_retries);
        }
        self.next.clone().check(outbound).await.map_err(|next| {
            let mut status = Status::unavailable("the next server failed");
            if let Some(stop) = StopRetries::after_error(&next).filter(|_| self.care.stops) {
                stop.mark_grpc(status.metadata_mut().as_mut());
            }
            status
        })
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}

/// How often the bottom of three tiers is called if its first `failures` calls fail, and what the caller gets.
async fn calls(care: Care, failures: usize) -> (usize, Code) {
    let bottom = Upstream::start(move |n| if n < failures { Answer::unavailable() } else { Answer::ok() }).await;
    let middle = Tier::serve(bottom.channel(), care).await;
    let top = Tier::serve(middle, care).await;
    let answer = client(top, care).check(HealthCheckRequest::default()).await;
    (bottom.requests(), answer.map_or_else(|status| status.code(), |_| Code::Ok))
}

#[tokio::test]
async fn rule_12_three_tiers_of_three_attempts_make_five_calls_and_not_27() {
    for (guard, stops, expected) in [(false, false, 27), (true, false, 5), (true, true, 3), (false, true, 3)] {
        let care = Care { guard, stops };
        assert_eq!(calls(care, usize::MAX).await, (expected, Code::Unavailable), "{care:?}");
        for failures in 0..3 {
            assert_eq!(calls(care, failures).await, (failures + 1, Code::Ok), "{care:?}");
        }
    }
}
