use super::{Fact, Link, Reason, in_flight};

/// The timeouts of tower and tokio. Around a connector, what the client says of it weighs more.
pub(super) fn fact(link: Link<'_>, _connecting: bool) -> Option<Fact> {
    let elapsed = link.is::<tower::timeout::error::Elapsed>() || link.is::<tokio::time::error::Elapsed>();
    elapsed.then(|| in_flight(Reason::TIMEOUT))
}
