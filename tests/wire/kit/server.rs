use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server on loopback that plays its script for every connection, until the test ends.
pub(crate) struct Server {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(script(stream));
            }
        });
        Self { address, accepting }
    }

    #[cfg(feature = "axum")]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn uri(&self) -> http::Uri {
        format!("http://{}/", self.address).parse().unwrap()
    }

    /// Over TLS, by the name that the certificates of the kit are made for.
    pub(crate) fn tls_uri(&self) -> http::Uri {
        format!("https://localhost:{}/", self.address.port()).parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// An address on which no server listens any more.
pub(crate) async fn unused_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Reads a request up to the empty line. The requests of these tests have no body unless the test says so.
pub(crate) async fn read_head(stream: &mut TcpStream) {
    read_head_text(stream).await;
}

/// [`read_head`] that returns the head.
pub(crate) async fn read_head_text(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Says this much of an answer and no more.
pub(crate) async fn say(stream: &mut TcpStream, words: &[u8]) {
    stream.write_all(words).await.unwrap();
}

/// Ends the connection in good order. All that came was read, or the kernel would send a reset instead.
pub(crate) fn fin(stream: TcpStream) {
    drop(stream);
}

/// Ends the connection with a reset.
pub(crate) fn rst(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Holds the connection open and says nothing for as long as the client stays.
pub(crate) async fn stall(mut stream: TcpStream) {
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}
