use super::{Fact, Link};
use crate::retry::{RetryError, TimedOut};

/// The errors of this crate know what they mean.
pub(super) fn fact(link: Link<'_>, _connecting: bool) -> Option<Fact> {
    if let Some(error) = link.downcast_ref::<TimedOut>() {
        return Some(Fact::Final(error.verdict()));
    }
    link.downcast_ref::<RetryError>().map(|error| Fact::Final(error.verdict()))
}
