//! Where the metrics come from, and the plain HTTP client that both runs share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body::Body;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpStream;
use tower::{Service, ServiceBuilder};

use super::billing_api::BillingApi;
use super::failure::Failure;
use super::plan::{Plan, Tenant};
use super::tally::Tally;
use super::upstream::Upstream;

/// Names the tenant to the upstream, and to the circuit breaker.
pub(crate) const TENANT_HEADER: &str = "x-tenant-id";

/// How long an attempt may wait for the head of the answer, in both runs. The embedded upstream takes a millisecond.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The upstream of one run, with the count of what it received.
#[derive(Debug)]
pub(crate) struct Endpoint {
    plan: Arc<Plan>,
    tally: Arc<Tally>,
    source: Source,
    /// One for each tenant.
    targets: Vec<Target>,
}

#[derive(Debug)]
enum Source {
    /// Counts by itself, and stops when it is dropped.
    Embedded { _upstream: Upstream },
    /// Somebody else's: requests are counted as they leave.
    Real,
}

#[derive(Debug)]
struct Target {
    uri: Uri,
    id: HeaderValue,
}

impl Endpoint {
    /// Starts the embedded upstream, or makes sure that something listens at `url`. Requests are counted in `tally`.
    pub(crate) async fn open(plan: &Arc<Plan>, tally: &Arc<Tally>, url: Option<&str>) -> Result<Self, Failure> {
        let (source, authority, path) = match url {
            Some(url) => {
                let (authority, path) = parse(url)?;
                reach(&authority).await?;
                (Source::Real, authority.to_string(), path)
            }
            None => {
                let upstream = Upstream::start(BillingApi::new(plan, tally));
                let upstream =
                    upstream.await.map_err(|error| Failure::new(format!("cannot listen on loopback: {error}")))?;
                let authority = upstream.address().to_string();
                (Source::Embedded { _upstream: upstream }, authority, String::new())
            }
        };
        let targets = targets(plan, authority.as_str(), &path)
            .ok_or_else(|| Failure::new("--upstream has a path that no request can be made of"))?;
        Ok(Self { plan: Arc::clone(plan), tally: Arc::clone(tally), source, targets })
    }

    /// For clients that bring their own way to the upstream.
    #[cfg(test)]
    pub(crate) fn without_network(plan: &Arc<Plan>, tally: &Arc<Tally>) -> Self {
        let targets = targets(plan, "upstream.test", "").unwrap();
        Self { plan: Arc::clone(plan), tally: Arc::clone(tally), source: Source::Real, targets }
    }

    pub(crate) fn request(&self, tenant: &Tenant) -> Request<Empty<Bytes>> {
        let Target { uri, id } = &self.targets[tenant.number];
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri.clone();
        request.headers_mut().insert(HeaderName::from_static(TENANT_HEADER), id.clone());
        request
    }

    /// A hyper-util client; its clones share one pool of connections.
    pub(crate) fn client<B>(
        &self,
    ) -> impl Service<Request<B>, Response = Response<Incoming>, Error = Error, Future: Send> + Clone + Send + Sync + use<B>
    where
        B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static,
    {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let counted = match self.source {
            Source::Embedded { .. } => None,
            Source::Real => Some((Arc::clone(&self.plan), Arc::clone(&self.tally))),
        };
        ServiceBuilder::new()
            .map_request(move |request: Request<B>| {
                if let Some((plan, tally)) = &counted {
                    let id = request.headers().get(TENANT_HEADER).and_then(|id| id.to_str().ok());
                    id.and_then(|id| plan.find(id)).map(|tenant| tally.count(tenant));
                }
                request
            })
            .service(Client::builder(TokioExecutor::new()).build(connector))
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// Nothing, if the path cannot be part of a request.
fn targets(plan: &Plan, authority: &str, path: &str) -> Option<Vec<Target>> {
    let target = |tenant: &Tenant| {
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority);
        let uri = uri.path_and_query(format!("{path}/v1/tenants/{}/metrics", tenant.id)).build();
        let id = HeaderValue::from_str(&tenant.id);
        Some(Target { uri: uri.ok()?, id: id.ok()? })
    };
    plan.tenants().iter().map(target).collect()
}

/// The authority and the path of `--upstream`. A message never repeats the URL: it might hold a password.
fn parse(url: &str) -> Result<(Authority, String), Failure> {
    let refuse = |why: &str| Err(Failure::new(format!("--upstream {why}")));
    let Ok(uri) = url.parse::<Uri>() else { return refuse("is not a URL") };
    let parts = uri.into_parts();
    if parts.scheme != Some(Scheme::HTTP) {
        return refuse("must start with http:// (TLS is not part of this example)");
    }
    let Some(authority) = parts.authority else { return refuse("names no host") };
    if authority.as_str().contains('@') {
        return refuse("must not contain a user or a password");
    }
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default().trim_start_matches(':');
    if authority.host().is_empty() || !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
        return refuse("names no host, or a port that is none");
    }
    let path = parts.path_and_query.as_ref();
    if path.is_some_and(|path| path.query().is_some()) {
        return refuse("must not contain a query");
    }
    Ok((authority, path.map_or("", |path| path.path().trim_end_matches('/')).to_owned()))
}

async fn reach(authority: &Authority) -> Result<(), Failure> {
    let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
    let problem = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&address)).await {
        Ok(Ok(_connection)) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_elapsed) => format!("no connection after {CONNECT_TIMEOUT:?}"),
    };
    Err(Failure::new(format!("cannot reach the upstream at {address}: {problem}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_its_authority_and_path() {
        for (url, authority, path) in [
            ("http://localhost", "localhost", ""),
            ("http://localhost:8080/", "localhost:8080", ""),
            ("http://[::1]:8080/billing/", "[::1]:8080", "/billing"),
        ] {
            let (parsed, below) = parse(url).unwrap();
            assert_eq!((parsed.as_str(), below.as_str()), (authority, path));
        }
    }

    #[test]
    fn a_url_that_cannot_be_pulled_from_is_refused_and_not_repeated() {
        for url in [
            "",
            "junk",
            "junk secret",
            "/path",
            "http://",
            "https://secret",
            "ftp://secret",
            "http://user:secret@localhost",
            "http://localhost:secret",
            "http://localhost:0",
            "http://localhost:65536",
            "http://localhost/?key=secret",
        ] {
            let failure = parse(url).unwrap_err().to_string();
            assert!(failure.starts_with("--upstream ") && !failure.contains("secret"), "{url}: {failure}");
        }
    }
}
