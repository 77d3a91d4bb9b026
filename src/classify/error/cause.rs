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
