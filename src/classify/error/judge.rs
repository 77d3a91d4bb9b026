//! Judges an error by the strongest evidence in its chain.

use std::error::Error;

use super::chain::{Link, chain};
use super::evidence::{self, Evidence, Precedence};
use crate::classify::Verdict;

/// Returns the evidence of one link. `connecting` is true if an outer link shows that no connection was made yet.
type Recognize = fn(Link<'_>, connecting: bool) -> Option<Evidence>;

const LIBRARIES: &[Recognize] = &[
    evidence::own::evidence,
    evidence::io::evidence,
    evidence::tower::evidence,
    #[cfg(feature = "hyper")]
    evidence::hyper::evidence,
    #[cfg(feature = "hyper")]
    evidence::hyper_util::evidence,
    #[cfg(feature = "h2")]
    evidence::h2::evidence,
    #[cfg(feature = "rustls")]
    evidence::rustls::evidence,
    #[cfg(feature = "reqwest")]
    evidence::reqwest::evidence,
    #[cfg(feature = "tonic")]
    evidence::tonic::evidence,
];

impl Verdict {
    /// Returns the verdict that a [`ClassifyLayer`](crate::ClassifyLayer) wrapped around the error, else the verdict of
    /// the strongest evidence in the chain of its sources.
    ///
    /// ```
    /// use tower_rampart::classify::{Class, Verdict};
    ///
    /// let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    /// assert_eq!(Verdict::of_error(&reset).class(), Class::Transient);
    /// ```
    #[must_use]
    pub fn of_error(error: &(dyn Error + 'static)) -> Self {
        let mut strongest: Option<(Precedence, Verdict)> = None;
        for link in chain(error) {
            let connecting = strongest.is_some_and(|(precedence, _)| precedence == Precedence::Connect);
            match evidence(link, connecting) {
                Some(Evidence::Final(verdict)) => return verdict,
                Some(Evidence::Known(precedence, verdict)) if strongest.is_none_or(|(most, _)| precedence >= most) => {
                    strongest = Some((precedence, verdict));
                }
                Some(Evidence::Known(..)) | None => {}
            }
        }
        // Without evidence the call may have been processed and another attempt may succeed.
        strongest.map_or(Verdict::transient(), |(_, verdict)| verdict)
    }
}

fn evidence(link: Link<'_>, connecting: bool) -> Option<Evidence> {
    LIBRARIES.iter().find_map(|recognize| recognize(link, connecting))
}
