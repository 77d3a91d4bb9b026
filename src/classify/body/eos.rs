use std::error::Error;

use http::HeaderMap;

use crate::classify::{Class, ClassifiedError, Health, Reason, Verdict};

/// How a body ended ("end of stream").
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Eos<'a> {
    /// Completely, with the trailers if there were any.
    Complete(Option<&'a HeaderMap>),
    /// Without an error, but with fewer bytes than announced.
    Short,
    /// With an error.
    Failed(&'a (dyn Error + 'static)),
    /// Not at all: the body was dropped before its end.
    Abandoned {
        /// Whether all announced bytes had been read.
        all_read: bool,
    },
    /// With a panic.
    Panicked,
}

/// Classifies a response by how its body ended.
pub trait ClassifyEos {
    /// Returns the verdict on the whole response.
    fn classify_eos(self, eos: Eos<'_>) -> Verdict;
}

impl Eos<'_> {
    /// Returns the verdict on a response whose head had this verdict: see [the table](super).
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
