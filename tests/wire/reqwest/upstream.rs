//! A server that keeps what it reads, and does with each request as it is told.

use std::sync::{Arc, Mutex};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::kit::server::{Server, fin, read_head_text, rst, say, stall};

/// What a server does once it has read a request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Answers with this status line and these headers, without a body.
    Answer(String),
    Reset,
    /// Never answers.
    Hang,
}

pub(super) struct Upstream {
    server: Server,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    has_hung: Notify,
    was_left: Notify,
}

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

pub(super) fn answer(status: &str) -> Act {
    Act::Answer(status.to_owned())
}

impl Upstream {
    /// The script gets the number of the request, from 1, and its head.
    pub(super) async fn start(script: impl Fn(usize, &str) -> Act + Clone + Send + Sync + 'static) -> Self {
        let state = Arc::<State>::default();
        let shared = state.clone();
        let server = Server::start(move |stream| serve(stream, script.clone(), shared.clone())).await;
        Self { server, state }
    }

    /// Answers the first requests like this, and all others with 200.
    pub(super) async fn answers<const N: usize>(first: [Act; N]) -> Self {
        Self::start(move |n, _| first.get(n - 1).cloned().unwrap_or_else(|| answer("200 OK"))).await
    }

    pub(super) fn url(&self) -> String {
        self.server.uri().to_string()
    }

    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.server.uri().authority().unwrap().as_str().parse().unwrap()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(super) fn count(&self) -> usize {
        self.seen().len()
    }

    /// The request lines.
    pub(super) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.head.lines().next().unwrap().to_owned()).collect()
    }

    /// Waits until a request hangs.
    pub(super) async fn hangs(&self) {
        self.state.has_hung.notified().await;
    }

    /// Waits until a client has closed the connection of a request that hangs.
    pub(super) async fn is_left(&self) {
        self.state.was_left.notified().await;
    }
}

impl Seen {
    /// The value of a header, in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

async fn serve(mut stream: TcpStream, script: impl Fn(usize, &str) -> Act, state: Arc<State>) {
    let head = read_head_text(&mut stream).await.to_ascii_lowercase();
    let mut seen = Seen { head, body: Vec::new() };
    if let Some(length) = seen.header("content-length") {
        seen.body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut seen.body).await.unwrap();
    } else if seen.header("transfer-encoding") == Some("chunked") {
        while let Some(mut chunk) = read_chunk(&mut stream).await {
            seen.body.append(&mut chunk);
        }
    }
    let number = {
        let mut all = state.seen.lock().unwrap();
        all.push(seen.clone());
        all.len()
    };
    match script(number, &seen.head) {
        Act::Answer(head) => {
            let answer = format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            say(&mut stream, answer.as_bytes()).await;
            fin(stream);
        }
        Act::Reset => rst(stream),
        Act::Hang => {
            state.has_hung.notify_one();
            stall(stream).await;
            state.was_left.notify_one();
        }
    }
}

/// The next chunk, or `None` at the end of the body.
async fn read_chunk(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut size = String::new();
    while !size.ends_with("\r\n") {
        size.push(stream.read_u8().await.unwrap().into());
    }
    let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).unwrap() + 2];
    stream.read_exact(&mut chunk).await.unwrap();
    chunk.truncate(chunk.len() - 2);
    (!chunk.is_empty()).then_some(chunk)
}
