use h2::{Error, Reason as Code};

use super::{Evidence, Precedence, in_flight, never_sent, own_fault};
use crate::classify::error::chain::{Link, downcast};
use crate::classify::{Class, Health, Processed, Reason, Verdict};

pub(in crate::classify::error) fn evidence(link: Link<'_>, _connecting: bool) -> Option<Evidence> {
    let error = downcast::<Error>(link)?;
    let calm = error.reason() == Some(Code::ENHANCE_YOUR_CALM);
    if error.is_library() {
        return Some(in_flight(Reason::PROTOCOL));
    }
    Some(match (error.is_go_away(), error.is_reset(), error.is_remote()) {
        // No proof. By RFC 9113 section 6.8 only the streams above the last processed one are unprocessed, but hyper
        // also reports the GOAWAY for a new stream that the server will answer.
        (true, _, true) => {
            let health = if calm { Health::Throttled } else { Health::Neutral };
            let verdict = Verdict::new(Class::Transient).with_health(health).with_reason(Reason::GOAWAY);
            Evidence::Known(Precedence::InFlight, verdict)
        }
        // RFC 9113 section 8.7.
        (_, true, true) if error.reason() == Some(Code::REFUSED_STREAM) => {
            never_sent(Health::Neutral, Reason::REFUSED_STREAM)
        }
        (_, true, true) if calm => {
            let throttled = Verdict::new(Class::Transient).with_health(Health::Throttled);
            Evidence::Known(Precedence::InFlight, throttled.with_reason(Reason::RESET))
        }
        (_, true, true) => in_flight(Reason::RESET),
        // Neither the peer nor the library: our side reset the stream, as a failed request body does.
        (true, _, false) | (_, true, false) => Evidence::Final(own_fault(Processed::Maybe)),
        (false, false, _) => return None,
    })
}
