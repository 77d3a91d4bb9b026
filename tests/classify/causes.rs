//! The words for the cause of an error, as the text of a [`RetryError`] shows them.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

use tower_rampart::BoxError;
use tower_rampart::classify::{ClassifiedError, Processed, Reason, Verdict};
use tower_rampart::retry::{GiveUp, RetryError};

fn cause(error: impl Into<BoxError>) -> Option<&'static str> {
    let text: &'static str = RetryError::new(GiveUp::Exhausted, 1, error).to_string().leak();
    let cause = text.strip_prefix("gave up after 1 attempt: no attempts left").unwrap();
    Some(cause.strip_prefix(" (")?.strip_suffix(')').unwrap())
}

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
    assert_eq!(cause(io::Error::other("token=s3cr3t")), None);
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
        let secret = || io::Error::other(Secret(kind.into()));
        assert_eq!(cause(secret()), Some(named), "{kind:?}");
        // A verdict around it hides nothing, with or without a reason.
        let verdict = Verdict::of_error(&secret());
        assert_eq!(cause(ClassifiedError::with_source(verdict, secret())), Some(named), "{kind:?}");
        let unreasoned = ClassifiedError::with_source(Verdict::terminal(), Secret(kind.into()));
        assert_eq!(cause(unreasoned), Some(named), "{kind:?}");
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
        assert_eq!(cause(judged(reason)), Some(named), "{reason}");
    }
    assert_eq!(cause(judged(Reason::UNKNOWN)), None);
    let invalid = Verdict::terminal().with_processed(Processed::No).with_reason(Reason::USER);
    assert_eq!(cause(ClassifiedError::new(invalid)), Some("invalid request"));
}

#[test]
fn errors_of_this_crate_have_words() {
    assert_eq!(cause(tower::load_shed::error::Overloaded::new()), Some("overloaded"));
}

#[test]
fn a_timeout_while_connecting_is_a_connect_timeout() {
    let connecting = ClassifiedError::with_source(
        Verdict::transient().with_reason(Reason::CONNECT),
        tower::timeout::error::Elapsed::new(),
    );
    assert_eq!(cause(connecting), Some("connect timeout"));
}

#[test]
fn tls_libraries_are_recognized_by_their_text() {
    let named = |text: &str| {
        let tls = Verdict::terminal().with_reason(Reason::TLS);
        cause(ClassifiedError::with_source(tls, io::Error::new(ErrorKind::InvalidData, text.to_owned()))).unwrap()
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
        cause(ClassifiedError::with_source(tls, io::Error::new(ErrorKind::InvalidData, error))).unwrap()
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
