use super::{Class, Fact, Health, Link, Reason, unprocessed};
use crate::breaker::CircuitOpen;
use crate::classify::chain::is;

/// The call was never made, and says nothing of the upstream.
pub(super) fn fact(link: Link<'_>, _: bool) -> Option<Fact> {
    let open = is::<CircuitOpen>(link)?;
    let verdict = unprocessed(Class::Terminal, Health::Neutral, Reason::CIRCUIT_OPEN);
    Some(Fact::Final(match open.retry_after() {
        Some(wait) => verdict.with_retry_after(wait),
        None => verdict,
    }))
}
