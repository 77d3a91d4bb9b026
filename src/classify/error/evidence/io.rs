use std::io::{Error, ErrorKind};

use super::{Evidence, in_flight, no_connection, tls_failed};
use crate::classify::Reason;
use crate::classify::error::chain::{Link, downcast};

pub(in crate::classify::error) fn evidence(link: Link<'_>, connecting: bool) -> Option<Evidence> {
    let kind = downcast::<Error>(link)?.kind();
    if connecting { while_connecting(kind) } else { on_a_connection(kind) }
}

fn while_connecting(kind: ErrorKind) -> Option<Evidence> {
    Some(match kind {
        // Tokio-rustls wraps every error of rustls like this, in every version.
        ErrorKind::InvalidData => tls_failed(),
        // TCP was connected, else nothing could be cut: this is the handshake.
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe => no_connection(Reason::TLS),
        // Adds nothing to what the connector reports.
        _ => return None,
    })
}

fn on_a_connection(kind: ErrorKind) -> Option<Evidence> {
    Some(match kind {
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => in_flight(Reason::RESET),
        // An ICMP message can end an established connection: a firewall that starts to reject sends "port unreachable",
        // which Linux reports as refused. So this does not prove that nothing was sent.
        ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            in_flight(Reason::CONNECT)
        }
        ErrorKind::TimedOut => in_flight(Reason::TIMEOUT),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::{Class, Processed, Verdict};

    /// The verdicts on a kind: on a connection, and while connecting.
    fn verdicts(kind: ErrorKind) -> [Option<(Class, Processed, &'static str)>; 2] {
        let error = Error::from(kind);
        [false, true].map(|connecting| match evidence(&error, connecting)? {
            Evidence::Known(_, verdict) => Some((verdict.class(), verdict.processed(), verdict.reason().as_str())),
            Evidence::Final(_) => panic!("an io error is never final"),
        })
    }

    #[test]
    fn kinds() {
        let maybe = |reason| Some((Class::Transient, Processed::Maybe, reason));
        let no = |reason| Some((Class::Transient, Processed::No, reason));
        for kind in
            [ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted, ErrorKind::BrokenPipe, ErrorKind::UnexpectedEof]
        {
            assert_eq!(verdicts(kind), [maybe("reset"), no("tls")], "{kind:?}");
        }
        for kind in [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable] {
            assert_eq!(verdicts(kind), [maybe("connect"), None], "{kind:?}");
        }
        assert_eq!(verdicts(ErrorKind::TimedOut), [maybe("timeout"), None]);
        assert_eq!(verdicts(ErrorKind::InvalidData), [None, Some((Class::Terminal, Processed::No, "tls"))]);
        assert_eq!(verdicts(ErrorKind::Other), [None, None]);
        assert_eq!(Verdict::of_error(&Error::other("?")), Verdict::transient());
    }
}
