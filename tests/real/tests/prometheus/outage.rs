//! Two stacks, as a user sets them up and serves their numbers, in an outage that comes and goes: whatever has a number
//! happens again and again.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};
use tower_rampart::breaker::partition;
use tower_rampart::classify::{ClassifiedError, Health, Reason, Verdict};
use tower_rampart::metrics::prometheus_text;
use tower_rampart::retry::{Attempt, Budget, Hedge, ReplayBody};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};
use tower_rampart::{breaker, retry};

/// The names of the stacks, and a tenant whose breaker is forced open, with letters that a regex or the text must escape.
pub(crate) const NAMES: [&str; 2] = ["billing", "search (v2)"];
const GONE: &str = r#""gone""#;

/// Tenants, and how the upstream answers them. Neither breakers nor budgets have room for all. The tenant whose calls are
/// given back runs out of its budget; the successes of others pay for their hedge and their retry.
const CALLS: [(&str, &str); 11] = [
    ("bad", "503"),
    ("moving", "goaway"),
    ("bad", "503"),
    (GONE, "200"),
    ("slow", "slow"),
    ("slow", "200"),
    ("slow", "200"),
    ("flaky", "once"),
    ("flaky", "200"),
    ("flaky", "200"),
    ("small", "404"),
];

#[derive(Clone)]
struct Stack {
    client: BoxCloneSyncService<Request<String>, Response<String>, BoxError>,
    retries: retry::Handle<HeaderValue>,
    breakers: breaker::Handle<HeaderValue>,
}

/// Calls until the runtime ends, and serves `/metrics` there.
pub(crate) async fn start() -> io::Result<SocketAddr> {
    let stacks = NAMES.map(Stack::new);
    for stack in stacks.clone() {
        tokio::spawn(async move { stack.call().await });
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stacks = stacks.clone();
            let metrics = service_fn(move |_| {
                let text = text(&stacks);
                async { Ok::<_, Infallible>(text) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), metrics));
        }
    });
    Ok(address)
}

fn text([billing, search]: &[Stack; 2]) -> Response<String> {
    let text = prometheus_text(&[&billing.retries, &billing.breakers, &search.retries, &search.breakers]);
    let mut response = Response::new(text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    response
}

impl Stack {
    fn new(name: &str) -> Self {
        let tenant = || partition::header("x-tenant-id");
        let retry = RetryLayer::new_for_http()
            .name(name)
            .backoff(Duration::from_millis(1))
            .budget_by(tenant(), Budget::ratio(0.5))
            .max_partitions(2);
        let breaker = CircuitBreakerLayer::new_for_http()
            .name(name)
            .partition_by(tenant())
            .max_partitions(4)
            .consecutive_failures(5)
            .open_for(Duration::from_millis(5));
        let (retries, breakers) = (retry.handle(), breaker.handle());
        let client = ServiceBuilder::new()
            .layer(retry.hedge(Hedge::after(Duration::from_millis(2))))
            .layer(breaker)
            .service_fn(answer);
        Self { client: BoxCloneSyncService::new(client), retries, breakers }
    }

    async fn call(&self) {
        self.breakers.force_open(&HeaderValue::from_static(GONE));
        for round in 0_u64.. {
            for (tenant, answer) in CALLS {
                let is_well = tenant == "bad" && round % 16 < 8;
                let answer = if is_well { "200" } else { answer };
                let request = Request::get("/").header("x-tenant-id", tenant).header("x-answer", answer);
                let request = request.body(String::new()).unwrap();
                // How it ends is counted.
                let _ = self.client.clone().oneshot(request).await;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn answer(request: Request<ReplayBody<String>>) -> Result<Response<String>, BoxError> {
    let status = match request.headers()["x-answer"].to_str()? {
        "goaway" => {
            let verdict = Verdict::transient().with_health(Health::Neutral).with_reason(Reason::GOAWAY);
            return Err(ClassifiedError::with_source(verdict, "the connection is closing").into());
        }
        "slow" => {
            sleep(Duration::from_millis(8)).await;
            200
        }
        "once" if Attempt::of(&request).number() == 1 => 503,
        "once" => 200,
        status => status.parse()?,
    };
    Ok(Response::builder().status(status).body(String::new())?)
}
