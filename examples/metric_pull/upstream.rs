//! The embedded billing API: a real hyper server on loopback that misbehaves as the plan says.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::billing_api::{BillingApi, ConnectionReset};

/// Serves until it is dropped, and ends all its connections then.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Upstream {
    /// Listens on a free port.
    pub(crate) async fn start(api: BillingApi) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, Arc::new(api))).abort_handle();
        Ok(Self { address, accepting })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, api: Arc<BillingApi>) {
    // Aborts its tasks when it is dropped with this one.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&api)))),
            // Out of file descriptors, most likely: some will come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, api: Arc<BillingApi>) {
    // Small answers must not wait for the acknowledgement of earlier ones. If it cannot be set they are late, no more.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { api.serve(request).await }
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let Err(error) = (&mut connection).await else { return };
    if std::error::Error::source(&error).is_some_and(|source| source.is::<ConnectionReset>()) {
        let stream = connection.into_parts().io.into_inner();
        // Closing a socket that must not linger sends RST instead of FIN.
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::plan::{Group, Plan};
    use super::super::tally::Tally;
    use super::*;

    struct Bench {
        tally: Arc<Tally>,
        plan: Arc<Plan>,
        upstream: Upstream,
    }

    impl Bench {
        async fn start() -> Self {
            let plan = Arc::new(Plan::new(1, 40, Duration::from_secs(5)));
            let tally = Arc::new(Tally::new(&plan, Duration::from_secs(1)));
            let upstream = Upstream::start(BillingApi::new(&plan, &tally)).await.unwrap();
            Self { tally, plan, upstream }
        }

        /// Sends a request on a connection of its own.
        async fn send(&self, id: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.upstream.address()).await.unwrap();
            let request = format!("GET /v1/tenants/{id}/metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        }

        /// All that comes, to the end of the connection.
        async fn get(&self, id: &str) -> io::Result<String> {
            let mut received = String::new();
            self.send(id).await.read_to_string(&mut received).await.map(|_| received)
        }
    }

    #[tokio::test]
    async fn each_group_gets_the_treatment_of_the_plan() {
        let bench = Bench::start().await;
        assert!(bench.get("down-01").await.unwrap().starts_with("HTTP/1.1 503 "));
        assert!(bench.get("unauthorized-01").await.unwrap().starts_with("HTTP/1.1 401 "));
        assert!(bench.get("nobody-01").await.unwrap().starts_with("HTTP/1.1 404 "));

        assert!(bench.get("throttled-01").await.unwrap().starts_with("HTTP/1.1 200 "));
        // The allowance is for a second, however many requests that takes.
        let throttled = loop {
            let received = bench.get("throttled-01").await.unwrap();
            if !received.starts_with("HTTP/1.1 200 ") {
                break received;
            }
        };
        assert!(throttled.starts_with("HTTP/1.1 429 ") && throttled.contains("\r\nretry-after: 1\r\n"), "{throttled}");
    }

    #[tokio::test]
    async fn every_fourth_connection_is_reset_and_not_closed() {
        let bench = Bench::start().await;
        for _ in 0..3 {
            for _ in 0..3 {
                assert!(bench.get("resetting-01").await.unwrap().starts_with("HTTP/1.1 200 "));
            }
            // A FIN would end in an empty string.
            assert_eq!(bench.get("resetting-01").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
    }

    #[tokio::test]
    async fn truncated_answers_announce_more_than_they_bring() {
        let bench = Bench::start().await;
        for _ in 0..20 {
            let received = bench.get("truncated-01").await.unwrap();
            let (head, body) = received.split_once("\r\n\r\n").expect("a whole head");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert_eq!(body.len(), length.parse::<usize>().unwrap() / 2);
        }
    }

    #[tokio::test]
    async fn a_hanging_tenant_hears_nothing_until_the_server_stops() {
        let bench = Bench::start().await;
        let mut waiting = bench.send("hanging-01").await;
        let tenant = bench.plan.find("hanging-01").unwrap();
        while bench.tally.of_group(tenant.group) == 0 {
            tokio::task::yield_now().await;
        }
        // The server has it; another tenant is served meanwhile.
        assert!(bench.get("down-01").await.unwrap().starts_with("HTTP/1.1 503 "));
        let mut buffer = [0];
        assert_eq!(waiting.try_read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);

        let address = bench.upstream.address();
        drop(bench);
        assert_eq!(waiting.read(&mut buffer).await.unwrap_or(0), 0);
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn requests_are_counted_as_they_come_in() {
        let bench = Bench::start().await;
        for id in ["down-01", "down-01", "down-02", "unauthorized-01", "nobody-01"] {
            bench.get(id).await.unwrap();
        }
        let counts = Group::ALL.map(|group| bench.tally.of_group(group));
        assert_eq!(counts, [0, 3, 0, 0, 0, 0, 1, 0]);
    }
}
