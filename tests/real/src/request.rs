//! The requests of the load, as the client makes them and the app checks them.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use http_body_util::Full;

/// Names the call.
pub const ID: &str = "x-id";
/// Numbers the attempt; stamped below the stack.
pub const SEND: &str = "x-send";
/// How long the body is meant to be.
pub const LENGTH: &str = "x-length";

pub const GRPC: &str = "application/grpc";

const SMALL: usize = 40;
const BULK: usize = 100 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Get,
    /// A POST without a body and without a key.
    Post,
    PostSmall,
    PutBulk,
    PostBulk,
    /// A unary gRPC call that the stack is told is idempotent.
    GrpcGet,
    /// A unary gRPC call that may not be processed twice.
    GrpcCharge,
}

impl Kind {
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::PutBulk | Self::GrpcGet)
    }

    #[must_use]
    pub const fn is_grpc(self) -> bool {
        matches!(self, Self::GrpcGet | Self::GrpcCharge)
    }

    /// Whether the body is larger than what the stack keeps for a replay by default.
    #[must_use]
    pub const fn is_bulk(self) -> bool {
        matches!(self, Self::PutBulk | Self::PostBulk)
    }

    const fn length(self) -> usize {
        match self {
            Self::Get | Self::Post => 0,
            Self::PostSmall | Self::GrpcGet | Self::GrpcCharge => SMALL,
            Self::PutBulk | Self::PostBulk => BULK,
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::GrpcGet => GET_METHOD,
            Self::GrpcCharge => "/audit.Ledger/Charge",
            _ => "/",
        }
    }

    fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::PutBulk => Method::PUT,
            Self::Post | Self::PostSmall | Self::PostBulk | Self::GrpcGet | Self::GrpcCharge => Method::POST,
        }
    }
}

/// The gRPC method that may be sent again.
pub const GET_METHOD: &str = "/audit.Ledger/Get";

#[must_use]
pub fn request(origin: &str, kind: Kind, id: u64) -> Request<Full<Bytes>> {
    let body = body(id, kind.length(), kind.is_grpc());
    let mut request = Request::builder()
        .method(kind.method())
        .uri(format!("{origin}{}", kind.path()))
        .header(ID, id)
        .header(LENGTH, body.len());
    if kind.is_grpc() {
        request = request.header(CONTENT_TYPE, GRPC).header("te", "trailers");
    }
    request.body(Full::new(body)).expect("a request")
}

/// The body of a call: other calls have other bytes, so that a mixed, cut or repeated body is noticed.
#[must_use]
pub fn body(id: u64, length: usize, grpc: bool) -> Bytes {
    let mut body = BytesMut::with_capacity(length + 5);
    if grpc {
        body.put_u8(0);
        body.put_u32(u32::try_from(length).expect("a small message"));
    }
    let word = id.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    body.extend(word.iter().cycle().take(length));
    body.freeze()
}

/// Whether this is the whole body that the client meant to send.
#[must_use]
pub fn is_intact(id: u64, length: usize, grpc: bool, received: &[u8]) -> bool {
    let framing = if grpc { 5 } else { 0 };
    received.len() == length && length >= framing && body(id, length - framing, grpc) == received
}
