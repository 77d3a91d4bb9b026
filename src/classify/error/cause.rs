//! Names the cause of an error in a few words, for logs.
//!
//! The words are static and this crate's own. The text of an error may hold a query, a credential or a part of a body,
//! so it is matched but never shown.

use std::error::Error;
use std::io::{self, ErrorKind};

use super::chain::{Link, chain, downcast};
use super::evidence;
use crate::classify::{ClassifiedError, Reason, Verdict};

/// Returns the cause of an error, if it is known.
pub(crate) fn cause(error: &(dyn Error + 'static)) -> Option<&'static str> {
    // A verdict without a reason hides the errors underneath, so look for their cause.
    named(error).or_else(|| named(chain(error).filter_map(downcast::<ClassifiedError>).last()?.source()?))
}

fn named(error: Link<'_>) -> Option<&'static str> {
    let verdict = Verdict::of_error(error);
    Some(match verdict.reason() {
        Reason::UNKNOWN => return None,
        Reason::CONNECT => no_connection(error),
        Reason::RESET => connection_lost(error),
        Reason::TLS => tls(error),
        Reason::USER if verdict.is_unprocessed() => "invalid request",
        Reason::USER => "request body failed",
        Reason::STATUS => "HTTP error status",
        Reason::GRPC => "gRPC error status",
        Reason::BODY => "response broken off",
        Reason::DNS => "name not found",
        Reason::REFUSED_STREAM => "stream refused",
        Reason::GOAWAY => "server is going away",
        Reason::DISPATCH_GONE => "dispatch task is gone",
        Reason::INCOMPLETE => "connection closed before the response was complete",
        Reason::CANCELED => "connection closed before the request was sent",
        Reason::TIMEOUT => "timed out",
        Reason::PROTOCOL => "malformed response",
        Reason::CIRCUIT_OPEN => "circuit open",
        Reason::OVERLOADED => "overloaded",
        Reason::PANIC => "panicked",
        Reason::ABANDONED => "abandoned",
        // A reason of the user's classifier.
        other => other.as_str(),
    })
}

fn no_connection(error: Link<'_>) -> &'static str {
    match deepest_kind(error) {
        Some(ErrorKind::ConnectionRefused) => "connection refused",
        Some(ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe) => "connection reset",
        Some(ErrorKind::UnexpectedEof) => "connection closed",
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => "host unreachable",
        Some(ErrorKind::TimedOut) => "connect timeout",
        _ if timed_out(error) => "connect timeout",
        _ => "no connection",
    }
}

fn connection_lost(error: Link<'_>) -> &'static str {
    match deepest_kind(error) {
        Some(ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe) => "connection closed",
        Some(_) => "connection reset",
        None => "stream reset",
    }
}

fn tls(error: Link<'_>) -> &'static str {
    #[cfg(feature = "rustls")]
    if let Some(cause) = chain(error).find_map(evidence::rustls::cause) {
        return cause;
    }
    // Other libraries, and rustls without the feature, are recognized by their text.
    chain(error).find_map(|link| certificate(&link.to_string())).unwrap_or("TLS handshake failed")
}

/// Recognizes the texts of rustls, OpenSSL, SChannel and Secure Transport about certificates.
fn certificate(text: &str) -> Option<&'static str> {
    const WORDS: &[(&str, &[&str])] = &[
        ("certificate expired", &["certificate expired", "certificate has expired", "CertificateExpired"]),
        (
            "certificate not valid for this host name",
            &["not valid for name", "NotValidForName", "Hostname mismatch", "host name mismatch"],
        ),
        (
            "unknown certificate authority",
            &["UnknownIssuer", "UnknownCA", "unable to get local issuer", "self-signed certificate", "not trusted"],
        ),
        ("certificate revoked", &["certificate revoked", "CertificateRevoked", "certificate: Revoked"]),
        ("certificate rejected", &["certificate"]),
    ];
    WORDS.iter().find(|(_, texts)| texts.iter().any(|word| text.contains(word))).map(|(cause, _)| *cause)
}

/// Returns the kind of the deepest io error whose kind is not `Other`.
fn deepest_kind(error: Link<'_>) -> Option<ErrorKind> {
    chain(error).filter_map(downcast::<io::Error>).map(io::Error::kind).filter(|kind| *kind != ErrorKind::Other).last()
}

fn timed_out(error: Link<'_>) -> bool {
    chain(error).any(|link| {
        #[cfg(feature = "reqwest")]
        if downcast::<reqwest::Error>(link).is_some_and(reqwest::Error::is_timeout) {
            return true;
        }
        evidence::tower::is_timeout(link)
    })
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;
    use crate::classify::RequestBodyFailed;

    /// Shows a secret and wraps another error.
    #[derive(Debug)]
    struct Secret(io::Error);

    impl fmt::Display for Secret {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("https://user:hunter2@billing.example/pull?token=s3cr3t: certificate expired")
        }
    }

    impl Error for Secret {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    fn judged(reason: Reason) -> ClassifiedError {
        ClassifiedError::new(Verdict::transient().with_reason(reason))
    }

    #[test]
    fn an_unknown_error_has_no_cause() {
        assert_eq!(cause(&io::Error::other("token=s3cr3t")), None);
    }

    #[test]
    fn io_errors_are_named_by_their_kind() {
        for (kind, named) in [
            (ErrorKind::ConnectionReset, "connection reset"),
            (ErrorKind::BrokenPipe, "connection closed"),
            (ErrorKind::UnexpectedEof, "connection closed"),
            (ErrorKind::ConnectionRefused, "connection refused"),
            (ErrorKind::NetworkUnreachable, "host unreachable"),
            (ErrorKind::TimedOut, "timed out"),
        ] {
            let secret = io::Error::other(Secret(kind.into()));
            assert_eq!(cause(&secret), Some(named), "{kind:?}");
            // A verdict around it hides nothing, with or without a reason.
            let verdict = Verdict::of_error(&secret);
            assert_eq!(cause(&ClassifiedError::with_source(verdict, secret)), Some(named), "{kind:?}");
            let unreasoned = ClassifiedError::with_source(Verdict::terminal(), Secret(kind.into()));
            assert_eq!(cause(&unreasoned), Some(named), "{kind:?}");
        }
    }

    #[test]
    fn every_reason_except_unknown_has_words() {
        for (reason, named) in [
            (Reason::REFUSED_STREAM, "stream refused"),
            (Reason::GOAWAY, "server is going away"),
            (Reason::CANCELED, "connection closed before the request was sent"),
            (Reason::DISPATCH_GONE, "dispatch task is gone"),
            (Reason::PROTOCOL, "malformed response"),
            (Reason::BODY, "response broken off"),
            (Reason::DNS, "name not found"),
            (Reason::CONNECT, "no connection"),
            (Reason::RESET, "stream reset"),
            (Reason::OVERLOADED, "overloaded"),
            (Reason::CIRCUIT_OPEN, "circuit open"),
            (Reason::new("quota"), "quota"),
        ] {
            assert_eq!(cause(&judged(reason)), Some(named), "{reason}");
        }
        assert_eq!(cause(&judged(Reason::UNKNOWN)), None);
        let invalid = Verdict::terminal().with_processed(crate::classify::Processed::No).with_reason(Reason::USER);
        assert_eq!(cause(&ClassifiedError::new(invalid)), Some("invalid request"));
    }

    #[test]
    fn errors_of_this_crate_have_words() {
        assert_eq!(cause(&RequestBodyFailed::new("the file is gone")), Some("request body failed"));
        assert_eq!(cause(&tower::load_shed::error::Overloaded::new()), Some("overloaded"));
    }

    #[test]
    fn a_timeout_while_connecting_is_a_connect_timeout() {
        let connecting = ClassifiedError::with_source(
            Verdict::transient().with_reason(Reason::CONNECT),
            tower::timeout::error::Elapsed::new(),
        );
        assert_eq!(cause(&connecting), Some("connect timeout"));
    }

    #[test]
    fn tls_libraries_are_recognized_by_their_text() {
        let named = |text: &str| {
            let tls = Verdict::terminal().with_reason(Reason::TLS);
            cause(&ClassifiedError::with_source(tls, io::Error::new(ErrorKind::InvalidData, text.to_owned()))).unwrap()
        };
        assert_eq!(named("invalid peer certificate: certificate expired: verification time 1"), "certificate expired");
        assert_eq!(named("certificate verify failed: certificate has expired"), "certificate expired");
        assert_eq!(
            named("invalid peer certificate: certificate not valid for name \"a\""),
            "certificate not valid for this host name"
        );
        assert_eq!(named("invalid peer certificate: UnknownIssuer"), "unknown certificate authority");
        assert_eq!(named("invalid peer certificate: BadSignature"), "certificate rejected");
        assert_eq!(named("received corrupt message of type InvalidContentType"), "TLS handshake failed");
    }

    #[cfg(feature = "rustls")]
    #[test]
    fn certificates_are_named_by_type() {
        use rustls::{AlertDescription, CertificateError};

        let named = |error: rustls::Error| {
            let tls = Verdict::terminal().with_reason(Reason::TLS);
            cause(&ClassifiedError::with_source(tls, io::Error::new(ErrorKind::InvalidData, error))).unwrap()
        };
        let certificate = |error: CertificateError| named(rustls::Error::InvalidCertificate(error));
        assert_eq!(certificate(CertificateError::Expired), "certificate expired");
        assert_eq!(certificate(CertificateError::NotValidYet), "certificate not valid yet");
        assert_eq!(certificate(CertificateError::NotValidForName), "certificate not valid for this host name");
        assert_eq!(certificate(CertificateError::UnknownIssuer), "unknown certificate authority");
        assert_eq!(certificate(CertificateError::Revoked), "certificate revoked");
        assert_eq!(certificate(CertificateError::BadEncoding), "certificate rejected");
        assert_eq!(
            named(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)),
            "client certificate rejected"
        );
        assert_eq!(named(rustls::Error::DecryptError), "TLS handshake failed");
    }
}
