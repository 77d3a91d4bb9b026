use std::fmt;

/// Why a verdict is what it is: a short, static word for logs and metrics.
///
/// The words of this crate are the constants below; a classifier of your own can coin others with [`Reason::new`].
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
    /// Nothing more is known.
    pub const UNKNOWN: Reason = Reason("unknown");
    /// The status of an HTTP response.
    pub const STATUS: Reason = Reason("status");
    /// The code of a gRPC response.
    pub const GRPC: Reason = Reason("grpc");
    /// A body that failed, broke off or was shorter than announced.
    pub const BODY: Reason = Reason("body");
    /// No connection could be made.
    pub const CONNECT: Reason = Reason("connect");
    /// The name of the host could not be resolved.
    pub const DNS: Reason = Reason("dns");
    /// TLS failed: a certificate, the protocol or the handshake.
    pub const TLS: Reason = Reason("tls");
    /// The server refused the HTTP/2 stream before acting on it.
    pub const REFUSED_STREAM: Reason = Reason("refused_stream");
    /// The server announced that it is going away. It may have acted on this stream nevertheless.
    pub const GOAWAY: Reason = Reason("goaway");
    /// The client dropped the request because its connection ended, and does not know whether it was sent.
    pub const DISPATCH_GONE: Reason = Reason("dispatch_gone");
    /// The connection or the stream was reset.
    pub const RESET: Reason = Reason("reset");
    /// The connection ended before the answer was complete.
    pub const INCOMPLETE: Reason = Reason("incomplete");
    /// The connection was closed before the request was written to it.
    pub const CANCELED: Reason = Reason("canceled");
    /// A time limit ran out.
    pub const TIMEOUT: Reason = Reason("timeout");
    /// What came back was not the protocol that was expected.
    pub const PROTOCOL: Reason = Reason("protocol");
    /// The caller's own doing: a malformed request, or a request body that failed.
    pub const USER: Reason = Reason("user");
    /// A circuit breaker did not let the call through.
    pub const CIRCUIT_OPEN: Reason = Reason("circuit_open");
    /// A limit on this side, such as tower's `load_shed`, rejected the call before it was sent.
    pub const OVERLOADED: Reason = Reason("overloaded");
    /// The call panicked.
    pub const PANIC: Reason = Reason("panic");
    /// The caller let go of the call before it ended.
    pub const ABANDONED: Reason = Reason("abandoned");

    /// A reason of your own. Keep it short, lower-case and without spaces: it becomes a metric label.
    #[must_use]
    pub const fn new(word: &'static str) -> Self {
        Self(word)
    }

    /// The word itself.
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
