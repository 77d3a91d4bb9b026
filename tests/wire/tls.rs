//! TLS that fails.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tower_rampart::classify::{Class, Health, Processed};

use crate::kit::client::{failure, get};
use crate::kit::server::{Server, fin, rst, say, stall};
use crate::kit::tls::Certificate;
use crate::kit::{Facts, facts_of};

const REFUSED: Facts = (Class::Terminal, Processed::No, Health::Failure, "tls");
const CUT: Facts = (Class::Transient, Processed::No, Health::Failure, "tls");

/// A server that would speak TLS with this certificate, if only the client did.
async fn server(acceptor: TlsAcceptor) -> Server {
    Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = tokio::io::copy(&mut { stream }, &mut tokio::io::sink()).await;
            }
        }
    })
    .await
}

/// What a client that trusts one certificate meets at a server that shows another.
async fn on_certificate(trusted: &Certificate, shown: &Certificate) -> Facts {
    let server = server(shown.acceptor()).await;
    facts_of(&*failure(&trusted.trusting_client(), get(server.tls_uri())).await)
}

/// What a client meets at a server that answers its greeting with this.
async fn on_greeting(answer: fn(TcpStream) -> tokio::task::JoinHandle<()>) -> Facts {
    let server = Server::start(move |mut stream| async move {
        // A TLS record: its type, version and length, then the ClientHello.
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.unwrap();
        let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        stream.read_exact(&mut hello).await.unwrap();
        answer(stream).await.unwrap();
    })
    .await;
    facts_of(&*failure(&Certificate::valid().trusting_client(), get(server.tls_uri())).await)
}

#[tokio::test]
async fn self_signed() {
    assert_eq!(on_certificate(&Certificate::valid(), &Certificate::valid()).await, REFUSED);
}

#[tokio::test]
async fn wrong_name() {
    let certificate = Certificate::of_another();
    assert_eq!(on_certificate(&certificate, &certificate).await, REFUSED);
}

#[tokio::test]
async fn expired() {
    let certificate = Certificate::expired();
    assert_eq!(on_certificate(&certificate, &certificate).await, REFUSED);
}

#[tokio::test]
async fn plain_http_instead_of_tls() {
    let answer = |mut stream| {
        tokio::spawn(async move {
            say(&mut stream, b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
            stall(stream).await;
        })
    };
    assert_eq!(on_greeting(answer).await, REFUSED);
}

#[tokio::test]
async fn handshake_cut() {
    assert_eq!(on_greeting(|stream| tokio::spawn(async move { fin(stream) })).await, CUT);
}

#[tokio::test]
async fn handshake_reset() {
    assert_eq!(on_greeting(|stream| tokio::spawn(async move { rst(stream) })).await, CUT);
}

/// With TLS 1.3 the client learns only after its own handshake is over that the server will not have it.
#[cfg(feature = "rustls")]
#[tokio::test]
async fn client_certificate_required() {
    let certificate = Certificate::valid();
    let server = server(certificate.acceptor_for_known_clients()).await;
    let error = failure(&certificate.trusting_client(), get(server.tls_uri())).await;
    assert_eq!(facts_of(&*error), (Class::Terminal, Processed::Maybe, Health::Failure, "tls"));
}
