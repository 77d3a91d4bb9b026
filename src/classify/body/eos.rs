use std::error::Error;

use http::HeaderMap;

use crate::classify::{Class, ClassifiedError, Health, Reason, Verdict};

/// How a body ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Eos<'a> {
    /// As it should, with the trailers if there were any.
    Complete(Option<&'a HeaderMap>),
    /// In good order, but with fewer bytes than were announced.
    Short,
    /// With an error.
    Failed(&'a (dyn Error + 'static)),
    /// It did not: it was dropped before.
    Abandoned {
        /// Whether all the bytes that were announced had been read.
        all_read: bool,
    },
    /// It panicked.
    Panicked,
}

/// Judges an answer by how its body ended.
pub trait ClassifyEos {
    /// The verdict on the whole answer.
    fn classify_eos(self, eos: Eos<'_>) -> Verdict;
}

impl Eos<'_> {
    /// What this makes of an answer whose head was judged so: see [the table](super).
    #[must_use]
    pub fn after(&self, head: Verdict) -> Verdict {
        match self {
            Self::Complete(_) | Self::Abandoned { all_read: true } => head,
            Self::Abandoned { all_read: false } => head.with_health(Health::Neutral).with_reason(Reason::ABANDONED),
            Self::Short => broken(Reason::BODY),
            Self::Failed(error) => ClassifiedError::find(*error).map_or(broken(Reason::BODY), ClassifiedError::verdict),
            Self::Panicked => broken(Reason::PANIC),
        }
    }
}

const fn broken(reason: Reason) -> Verdict {
    Verdict::new(Class::Ambiguous).with_reason(reason)
}
