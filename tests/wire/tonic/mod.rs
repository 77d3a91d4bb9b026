//! tonic: its channel, the stack over it, and a client that tonic has generated.

mod boxed;
mod channel;
mod client;
mod streams;
mod tiers;
#[path = "../../grpc/upstream.rs"]
#[allow(dead_code)]
mod upstream;

use http::Uri;
use tonic::transport::Endpoint;
use tower_rampart::RetryLayer;
use tower_rampart::classify::GrpcClassifier;
use tower_rampart::clients::tonic::TonicService;
use tower_rampart::retry::{Backoff, GrpcIdempotency, ReplayBodies};

type Channel = TonicService<tonic::transport::Channel>;

/// Three attempts, without a wait of its own.
fn retry() -> RetryLayer<GrpcClassifier, ReplayBodies<GrpcIdempotency>> {
    RetryLayer::new_for_grpc().backoff(Backoff::none()).no_budget()
}

fn over(upstream: Uri) -> Channel {
    TonicService::new(Endpoint::from(upstream).connect_lazy())
}

impl upstream::Upstream {
    fn channel(&self) -> Channel {
        over(self.call("/").uri().clone())
    }
}
