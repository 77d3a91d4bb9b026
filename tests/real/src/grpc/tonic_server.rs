use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower::Service;

use super::AGE;
use crate::app::act;
use crate::ledger::Writer;
use crate::process::free_address;

pub(super) struct TonicServer {
    pub(super) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

pub(super) fn start(ledger: &Path) -> io::Result<TonicServer> {
    let ledger = Arc::new(Writer::open(ledger)?);
    let address = free_address();
    let incoming = TcpIncoming::bind(address).map_err(io::Error::other)?.with_nodelay(Some(true));
    let (stop, stopped) = oneshot::channel();
    let served = Server::builder().max_connection_age(AGE).add_service(App { ledger }).serve_with_incoming_shutdown(
        incoming,
        async {
            let _ = stopped.await;
        },
    );
    Ok(TonicServer { address, stop, task: tokio::spawn(served) })
}

impl TonicServer {
    pub(super) async fn finish(self) -> io::Result<()> {
        drop(self.stop);
        self.task.await?.map_err(io::Error::other)
    }
}

#[derive(Clone)]
struct App {
    ledger: Arc<Writer>,
}

impl NamedService for App {
    const NAME: &'static str = "audit.Ledger";
}

impl Service<Request<Body>> for App {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let ledger = self.ledger.clone();
        Box::pin(async move {
            Ok(match act(&ledger, request).await {
                Ok(response) => response.map(Body::new),
                // The request did not arrive in full.
                Err(status) => status.into_http(),
            })
        })
    }
}
