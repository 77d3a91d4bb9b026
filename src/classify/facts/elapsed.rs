use super::{Fact, Link, Reason, in_flight, no_connection};

/// The timeouts of tower and tokio, around the call or around the connector.
pub(super) fn fact(link: Link<'_>, connecting: bool) -> Option<Fact> {
    let elapsed = link.is::<tower::timeout::error::Elapsed>() || link.is::<tokio::time::error::Elapsed>();
    elapsed.then(|| if connecting { no_connection(Reason::CONNECT) } else { in_flight(Reason::TIMEOUT) })
}
