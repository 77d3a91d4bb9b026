//! gRPC servers that close connections of a certain age: a graceful shutdown every 300 ms.

mod python;
mod tonic_server;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tonic::transport::Endpoint;
use tower_rampart::clients::tonic::TonicService;

use crate::audit::Audit;
use crate::client::{Client, Stack};
use crate::ledger::Ledger;
use crate::load::{Load, Progress, drive};
use crate::proxy::Protocol;
use crate::run::directory;

pub use self::python::python;

pub const AGE: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Tonic,
    Grpcio,
}

/// What lies under the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Hyper,
    Channel,
}

/// Drives the load for at least this many ages of a connection.
pub async fn run(server: Server, transport: Transport, load: Load, ages: u32) -> io::Result<Audit> {
    let directory = directory()?;
    let path = directory.path().join("ledger");
    let address;
    let (mut tonic, mut grpcio) = (None, None);
    match server {
        Server::Tonic => {
            let started = tonic_server::start(&path)?;
            address = started.address;
            tonic = Some(started);
        }
        Server::Grpcio => {
            let started = python::start(directory.path(), &path)?;
            address = started.address;
            grpcio = Some(started);
        }
    }
    let client = match transport {
        Transport::Hyper => Client::new(Stack::Grpc, Protocol::H2c, None),
        Transport::Channel => over_channel(address)?,
    };
    let (progress, watched) = watch::channel(Progress::default());
    let origin = format!("http://{address}");
    let (calls, ()) = tokio::join!(drive(&client, &origin, load, watched), async {
        tokio::time::sleep(AGE * ages).await;
        progress.send_modify(|progress| progress.over = true);
    });
    if let Some(server) = tonic {
        server.finish().await?;
    }
    if let Some(server) = grpcio {
        server.finish()?;
    }
    Ok(Audit::new(&calls, &Ledger::read(&path)?, &[]))
}

fn over_channel(address: SocketAddr) -> io::Result<Client> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(io::Error::other)?;
    Ok(Client::over(Stack::Grpc, TonicService::new(endpoint.connect_lazy())))
}
