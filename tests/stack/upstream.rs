use std::sync::{Arc, Mutex};

use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::{self, Server};

pub(crate) const JSON: &str = "{\"metrics\":[1,2,3]}";

/// An HTTP/1.1 server on loopback that answers its n-th request, counted over all connections, as told.
pub(crate) struct Upstream {
    uri: Uri,
    bodies: Arc<Mutex<Vec<String>>>,
    _server: Option<Server>,
}

pub(crate) enum Answer {
    Full(String),
    /// Announces more than it sends, then ends the connection.
    Truncated,
    /// Reads the request and resets the connection.
    Reset,
    /// Reads the request and says nothing.
    Hang,
}

impl Answer {
    pub(crate) fn json() -> Self {
        Self::Full(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{JSON}", JSON.len()))
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::Full(format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n"))
    }

    pub(crate) fn throttled(retry_after: &str) -> Self {
        Self::Full(format!("HTTP/1.1 429 No\r\nretry-after: {retry_after}\r\ncontent-length: 0\r\n\r\n"))
    }
}

impl Upstream {
    pub(crate) async fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let server = Server::start({
            let bodies = bodies.clone();
            move |stream| serve(stream, answer.clone(), bodies.clone())
        })
        .await;
        Self { uri: server.uri(), bodies, _server: Some(server) }
    }

    /// An address on which no server listens any more.
    pub(crate) async fn gone() -> Self {
        let address = server::unused_address().await;
        Self { uri: format!("http://{address}/").parse().unwrap(), bodies: Arc::default(), _server: None }
    }

    pub(crate) fn uri(&self) -> Uri {
        self.uri.clone()
    }

    /// How many requests arrived whole.
    pub(crate) fn requests(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<impl Fn(usize) -> Answer>, bodies: Arc<Mutex<Vec<String>>>) {
    while let Some(body) = read_request(&mut stream).await {
        let answer = {
            let mut bodies = bodies.lock().unwrap();
            bodies.push(body);
            answer(bodies.len() - 1)
        };
        match answer {
            Answer::Full(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Answer::Truncated => {
                return server::say(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"met").await;
            }
            Answer::Reset => return server::rst(stream),
            Answer::Hang => return server::stall(stream).await,
        }
    }
}

/// The body of the next request on this connection; none if the client has ended it.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(String::from_utf8(body).unwrap())
}
