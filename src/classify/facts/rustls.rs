use rustls::{AlertDescription, Error};

use super::{Class, Fact, Health, Link, Reason, Verdict, Weight, in_flight, unprocessed};

pub(super) fn fact(link: Link<'_>, connecting: bool) -> Option<Fact> {
    let error = link.downcast_ref::<Error>()?;
    Some(match error {
        error if connecting || only_in_a_handshake(error) => {
            Fact::Known(Weight::Tls, unprocessed(Class::Terminal, Health::Failure, Reason::TLS))
        }
        // With TLS 1.3 a server refuses our certificate when the handshake is over for us and the request may be sent.
        Error::AlertReceived(alert) if refuses_us(*alert) => {
            let refused = Verdict::new(Class::Terminal).with_processed(super::Processed::Maybe);
            Fact::Known(Weight::InFlight, refused.with_health(Health::Failure).with_reason(Reason::TLS))
        }
        _ => in_flight(Reason::TLS),
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

fn refuses_us(alert: AlertDescription) -> bool {
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
