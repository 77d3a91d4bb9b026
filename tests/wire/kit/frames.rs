//! HTTP/2 by hand (RFC 9113), for what no library would send.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

pub(crate) const NO_ERROR: u32 = 0x0;
pub(crate) const INTERNAL_ERROR: u32 = 0x2;
pub(crate) const REFUSED_STREAM: u32 = 0x7;
pub(crate) const CANCEL: u32 = 0x8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 0xb;

/// The first stream that a client opens.
pub(crate) const FIRST: u32 = 1;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Greets the client and reads until its first request is there.
pub(crate) async fn accept_request(stream: &mut TcpStream) {
    greet(stream).await;
    next_request(stream).await;
}

/// Reads until another request is there.
pub(crate) async fn next_request(stream: &mut TcpStream) {
    while read_frame(stream).await.kind != HEADERS {}
}

/// The server's side of the handshake: our settings, and theirs acknowledged before they are read.
pub(crate) async fn greet(stream: &mut TcpStream) {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, PREFACE);
    settings(stream).await;
    send(stream, SETTINGS, ACK, 0, &[]).await;
}

/// The first thing that a server has to say.
pub(crate) async fn settings(stream: &mut TcpStream) {
    send(stream, SETTINGS, 0, 0, &[]).await;
}

/// Headers or trailers, every field as a literal that is not indexed (RFC 7541 section 6.2.2).
pub(crate) async fn headers(stream: &mut TcpStream, id: u32, fields: &[(&str, &str)], last: bool) {
    let literal = |text: &str| {
        // Lengths of 127 and more would need another form.
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap();
        [&[length], text.as_bytes()].concat()
    };
    let field = |(name, value): &(&str, &str)| [vec![0], literal(name), literal(value)].concat();
    let flags = END_HEADERS | if last { END_STREAM } else { 0 };
    send(stream, HEADERS, flags, id, &fields.iter().flat_map(field).collect::<Vec<_>>()).await;
}

pub(crate) async fn reset_stream(stream: &mut TcpStream, id: u32, code: u32) {
    send(stream, RST_STREAM, 0, id, &code.to_be_bytes()).await;
}

pub(crate) async fn go_away(stream: &mut TcpStream, last_id: u32, code: u32) {
    let payload = [last_id.to_be_bytes(), code.to_be_bytes()].concat();
    send(stream, GOAWAY, 0, 0, &payload).await;
}

pub(crate) async fn send(stream: &mut TcpStream, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &id.to_be_bytes()].concat();
    stream.write_all(&[&head, payload].concat()).await.unwrap();
}

/// A frame of the client.
pub(crate) struct Received {
    pub(crate) kind: u8,
    pub(crate) id: u32,
    pub(crate) payload: Vec<u8>,
}

async fn read_frame(stream: &mut TcpStream) -> Received {
    next_frame(stream).await.unwrap()
}

/// The next frame, or an error when the client has closed the connection.
pub(crate) async fn next_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Received> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).await?;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Ok(Received { kind: head[3], id, payload })
}
