use http::Method;
use http::request::Parts;

/// Decides whether a request may be sent twice without doing more than once.
///
/// Evaluated only after an attempt failed and a retry could help, or before a slow one is
/// [hedged](crate::RetryLayer::hedge). A closure from a request to `bool` implements it, the argument of
/// [`RetryLayer::idempotent`](crate::RetryLayer::idempotent). For HTTP the request is its head, [`Parts`].
pub trait Idempotency<Req> {
    /// Returns true if the request may be sent again although the server may have acted on it.
    fn is_idempotent(&self, request: &Req) -> bool;
}

impl<F, Req> Idempotency<Req> for F
where
    F: Fn(&Req) -> bool,
{
    fn is_idempotent(&self, request: &Req) -> bool {
        self(request)
    }
}

/// The rule of [`RetryLayer::new_for_http`](crate::RetryLayer::new_for_http).
///
/// A request is idempotent if its method is GET, HEAD, PUT, DELETE, OPTIONS or TRACE (RFC 9110 section 9.2.2), or if it
/// has an `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header). An empty key does not count, because no server
/// can recognise a repeated request by it.
///
/// A server may answer 409 while it still acts on an earlier request with the same key. So a request with a key is
/// never [hedged](crate::RetryLayer::hedge). A retry after a timeout can meet that 409, too, and ends with it, as
/// [`Outcome::Ambiguous`](crate::retry::Outcome::Ambiguous), unless
/// [`HttpClassifier::status`](crate::classify::HttpClassifier::status) makes it transient.
///
/// ```
/// use tower_rampart::retry::{HttpIdempotency, Idempotency};
///
/// let charge = http::Request::post("/charges").header("idempotency-key", "7f3a").body(()).unwrap();
/// let (head, ()) = charge.into_parts();
/// assert!(HttpIdempotency.is_idempotent(&head));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpIdempotency;

impl Idempotency<Parts> for HttpIdempotency {
    fn is_idempotent(&self, request: &Parts) -> bool {
        match request.method {
            Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE => true,
            _ => has_key(request),
        }
    }
}

/// The rule of [`RetryLayer::new_for_grpc`](crate::RetryLayer::new_for_grpc): a request is idempotent if it has an
/// `Idempotency-Key`.
///
/// Every gRPC method is a POST, and nothing on the wire distinguishes reads from writes.
///
/// ```
/// use tower_rampart::retry::{GrpcIdempotency, Idempotency};
///
/// let pull = http::Request::post("/billing.Metrics/Pull").body(()).unwrap();
/// let (head, ()) = pull.into_parts();
/// assert!(!GrpcIdempotency.is_idempotent(&head));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcIdempotency;

impl Idempotency<Parts> for GrpcIdempotency {
    fn is_idempotent(&self, request: &Parts) -> bool {
        has_key(request)
    }
}

/// Whether a server can recognise a repeated request by its key.
pub(in crate::retry) fn has_key(request: &Parts) -> bool {
    request.headers.get("idempotency-key").is_some_and(|key| !key.as_bytes().trim_ascii().is_empty())
}

/// The rule of [`RetryLayer::new`](crate::RetryLayer::new): every request is idempotent. Exclude requests with a
/// predicate, or outcomes with the classifier.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysIdempotent;

impl<Req> Idempotency<Req> for AlwaysIdempotent {
    fn is_idempotent(&self, _: &Req) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, key: bool) -> Parts {
        let mut request = http::Request::builder().method(method);
        if key {
            request = request.header("Idempotency-Key", "1");
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_methods_of_rfc_9110_and_a_key() {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            assert!(HttpIdempotency.is_idempotent(&head(method, false)), "{method}");
        }
        // Methods are case-sensitive (RFC 9110 section 9.1): `get` is an unknown method.
        for method in ["POST", "PATCH", "CONNECT", "PURGE", "get"] {
            assert!(!HttpIdempotency.is_idempotent(&head(method, false)), "{method}");
            assert!(HttpIdempotency.is_idempotent(&head(method, true)), "{method} with a key");
        }
    }

    #[test]
    fn over_grpc_the_key_alone() {
        for method in ["POST", "GET"] {
            assert!(!GrpcIdempotency.is_idempotent(&head(method, false)), "{method}");
            assert!(GrpcIdempotency.is_idempotent(&head(method, true)), "{method} with a key");
        }
    }
}
