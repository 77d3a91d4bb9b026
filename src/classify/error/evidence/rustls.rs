use rustls::{AlertDescription, CertificateError, Error};

use super::{Evidence, Precedence, in_flight, tls_failed};
use crate::classify::error::chain::{Link, downcast};
use crate::classify::{Class, Health, Processed, Reason, Verdict};

pub(in crate::classify::error) fn evidence(link: Link<'_>, connecting: bool) -> Option<Evidence> {
    let error = downcast::<Error>(link)?;
    Some(match error {
        error if connecting || only_in_a_handshake(error) => tls_failed(),
        // In TLS 1.3 a server rejects our certificate after our side of the handshake, when the request may be sent.
        Error::AlertReceived(alert) if rejects_us(*alert) => {
            let rejected = Verdict::new(Class::Terminal).with_processed(Processed::Maybe);
            Evidence::Known(Precedence::InFlight, rejected.with_health(Health::Failure).with_reason(Reason::TLS))
        }
        _ => in_flight(Reason::TLS),
    })
}

/// Names the cause in words for logs.
pub(in crate::classify) fn cause(link: Link<'_>) -> Option<&'static str> {
    Some(match downcast::<Error>(link)? {
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate not valid yet",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "certificate not valid for this host name"
            }
            CertificateError::UnknownIssuer => "unknown certificate authority",
            CertificateError::Revoked => "certificate revoked",
            _ => "certificate rejected",
        },
        Error::InvalidCertRevocationList(_) | Error::NoCertificatesPresented => "certificate rejected",
        Error::AlertReceived(alert) if rejects_us(*alert) => "client certificate rejected",
        _ => "TLS handshake failed",
    })
}

fn only_in_a_handshake(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(_)
            | Error::InvalidCertRevocationList(_)
            | Error::NoCertificatesPresented
            | Error::UnsupportedNameType
            | Error::NoApplicationProtocol
            | Error::PeerIncompatible(_)
    )
}

fn rejects_us(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}
