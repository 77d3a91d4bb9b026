//! Before there is a connection.

use std::io;
use std::time::Duration;

use http::{Uri, Version};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tower::{ServiceExt, service_fn};
use tower_rampart::classify::{Class, Health, Processed};

use crate::kit::client::{self, failure, get, over};
use crate::kit::facts_of;
use crate::kit::server::unused_address;

const OWN_FAULT: crate::kit::Facts = (Class::Terminal, Processed::No, Health::Neutral, "user");

fn no_connection(reason: &'static str) -> crate::kit::Facts {
    (Class::Transient, Processed::No, Health::Failure, reason)
}

#[tokio::test]
async fn relative_uri() {
    let error = failure(&client::http1(), get(Uri::from_static("/v1/metrics"))).await;
    assert_eq!(facts_of(&*error), OWN_FAULT);
}

#[tokio::test]
async fn bad_version() {
    let mut request = get(Uri::from_static("http://127.0.0.1/"));
    *request.version_mut() = Version::HTTP_09;
    let error = failure(&client::http1(), request).await;
    assert_eq!(facts_of(&*error), OWN_FAULT);
}

#[tokio::test]
async fn https_through_a_plain_connector() {
    let error = failure(&client::http1(), get(Uri::from_static("https://127.0.0.1/"))).await;
    assert_eq!(facts_of(&*error), OWN_FAULT);
}

#[tokio::test]
async fn refused() {
    let uri = format!("http://{}/", unused_address().await).parse().unwrap();
    let error = failure(&client::http1(), get(uri)).await;
    assert_eq!(facts_of(&*error), no_connection("connect"));
}

/// No machine is unreachable from all others alike, so the connector says what the kernel would.
#[tokio::test]
async fn unreachable() {
    for kind in [io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable, io::ErrorKind::AddrNotAvailable] {
        let connector = client::failing_connector(move || async move { io::Error::from(kind) });
        let error = failure(&over(connector), get(Uri::from_static("http://127.0.0.1/"))).await;
        assert_eq!(facts_of(&*error), no_connection("connect"), "{kind:?}");
    }
}

/// What the connector says is not known to anybody, but that it was connecting is.
#[tokio::test]
async fn a_connector_that_fails_for_reasons_of_its_own() {
    let connector = client::failing_connector(|| async { "no more sockets today" });
    let error = failure(&over(connector), get(Uri::from_static("http://127.0.0.1/"))).await;
    assert_eq!(facts_of(&*error), no_connection("connect"));
}

/// The resolver fails for any name, so that the test asks no real one.
#[tokio::test]
async fn dns() {
    let resolver = service_fn(|_: Name| async { Err::<std::iter::Empty<_>, _>(io::Error::other("no such host")) });
    let error =
        failure(&over(HttpConnector::new_with_resolver(resolver)), get(Uri::from_static("http://a.invalid/"))).await;
    assert_eq!(facts_of(&*error), no_connection("dns"));
}

/// A listener whose queue is full drops further connections, as a firewall does. Its queue has room for one; on
/// loopback the kernel fills it before `connect` returns.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn connect_timeout() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let queue = [(); 8].map(|()| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address);
        socket
    });
    let address = address.as_socket().unwrap();

    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_millis(50)));
    let error = failure(&over(connector), get(format!("http://{address}/").parse().unwrap())).await;
    assert_eq!(facts_of(&*error), no_connection("connect"));
    drop(queue);
}

/// A timeout of tower's around the connector, not around the call.
#[tokio::test(start_paused = true)]
async fn connector_timeout() {
    let connector = tower::timeout::Timeout::new(
        service_fn(|_: Uri| std::future::pending::<Result<hyper_util::rt::TokioIo<TcpStream>, io::Error>>()),
        Duration::from_secs(1),
    )
    .map_future(Box::pin);
    let error = failure(&over(connector), get(Uri::from_static("http://127.0.0.1/"))).await;
    assert_eq!(facts_of(&*error), no_connection("connect"));
}
