use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;

use super::{Evidence, in_flight, never_sent};
use crate::classify::error::chain::{Link, downcast};
use crate::classify::{Health, Reason};

/// Errors of tower's layers, and tokio's timeout. Around a connector, the evidence of the client is stronger.
pub(in crate::classify::error) fn evidence(link: Link<'_>, _connecting: bool) -> Option<Evidence> {
    if is_timeout(link) {
        Some(in_flight(Reason::TIMEOUT))
    } else if downcast::<Overloaded>(link).is_some() {
        // A local limit rejected the call: nothing was sent, and the upstream is not to blame.
        Some(never_sent(Health::Neutral, Reason::OVERLOADED))
    } else {
        None
    }
}

/// Returns true if this is the error of a timeout around a call or a connector.
pub(in crate::classify) fn is_timeout(link: Link<'_>) -> bool {
    downcast::<Elapsed>(link).is_some() || downcast::<tokio::time::error::Elapsed>(link).is_some()
}
