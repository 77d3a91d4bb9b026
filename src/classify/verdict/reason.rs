use std::fmt;

/// Why a verdict is what it is: a short static word for logs and metrics.
///
/// The constants are the reasons of this crate. Your own classifier can add others with [`Reason::new`].
///
/// ```
/// use tower_rampart::classify::{Reason, Verdict};
///
/// const QUOTA: Reason = Reason::new("quota");
/// let verdict = Verdict::transient().with_reason(QUOTA);
/// assert_eq!(verdict.reason().as_str(), "quota");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(&'static str);

impl Reason {
    /// No reason is known.
    pub const UNKNOWN: Reason = Reason("unknown");
    /// The status of an HTTP response.
    pub const STATUS: Reason = Reason("status");
    /// The code of a gRPC response.
    pub const GRPC: Reason = Reason("grpc");
    /// The response body failed, was cut off or was shorter than announced.
    pub const BODY: Reason = Reason("body");
    /// The connection could not be made.
    pub const CONNECT: Reason = Reason("connect");
    /// The name of the host could not be resolved.
    pub const DNS: Reason = Reason("dns");
    /// TLS failed: a certificate, the protocol or the handshake.
    pub const TLS: Reason = Reason("tls");
    /// The server refused the HTTP/2 stream before acting on it.
    pub const REFUSED_STREAM: Reason = Reason("refused_stream");
    /// The server sent a GOAWAY. It may still have acted on this stream.
    pub const GOAWAY: Reason = Reason("goaway");
    /// The client dropped the request because its connection closed. The request may have been sent.
    pub const DISPATCH_GONE: Reason = Reason("dispatch_gone");
    /// The connection or the stream was reset.
    pub const RESET: Reason = Reason("reset");
    /// The connection closed before the response was complete.
    pub const INCOMPLETE: Reason = Reason("incomplete");
    /// The connection closed before the request was written to it.
    pub const CANCELED: Reason = Reason("canceled");
    /// A time limit ran out.
    pub const TIMEOUT: Reason = Reason("timeout");
    /// The response violated the protocol.
    pub const PROTOCOL: Reason = Reason("protocol");
    /// The caller is at fault: a malformed request, or a request body that failed.
    pub const USER: Reason = Reason("user");
    /// A circuit breaker rejected the call.
    pub const CIRCUIT_OPEN: Reason = Reason("circuit_open");
    /// A local limit, such as tower's `load_shed`, rejected the call before it was sent.
    pub const OVERLOADED: Reason = Reason("overloaded");
    /// The call panicked.
    pub const PANIC: Reason = Reason("panic");
    /// The caller dropped the call before it ended.
    pub const ABANDONED: Reason = Reason("abandoned");

    /// Creates a reason. Use a short lower-case word without spaces: it becomes a metric label.
    #[must_use]
    pub const fn new(word: &'static str) -> Self {
        Self(word)
    }

    /// Returns the word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
