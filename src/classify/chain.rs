use std::error::Error;
use std::sync::Arc;

use super::Verdict;
use super::facts::{self, Fact, Link, Weight};

/// How many errors of a chain are looked at. Real chains have fewer than ten; one that returns itself has no end.
const DEPTH: usize = 64;

/// The first error of this type in the chain, from the outside in. A `Box` or an `Arc` of one is an error of its own, which
/// hides the one inside: `?` makes it of a function that returns a `Box`.
pub(crate) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(is)
}

/// The link itself, or what a `Box` or an `Arc` holds.
pub(super) fn is<'a, T: Error + 'static>(link: Link<'a>) -> Option<&'a T> {
    let boxed = || link.downcast_ref::<Box<T>>().map(|error| &**error);
    let shared = || link.downcast_ref::<Arc<T>>().map(|error| &**error);
    link.downcast_ref().or_else(boxed).or_else(shared)
}

/// The verdict on an error: what was said of it, else what its chain tells.
///
/// The weightiest fact counts, and of facts as weighty the deepest: it is nearest to what happened. A chain that tells
/// nothing may be anything, so the call may have been processed and may fare better next time.
pub(super) fn verdict(error: &(dyn Error + 'static)) -> Verdict {
    let mut told: Option<(Weight, Verdict)> = None;
    for link in chain(error) {
        let connecting = told.is_some_and(|(weight, _)| weight == Weight::Connect);
        match facts::of(link, connecting) {
            Some(Fact::Final(verdict)) => return verdict,
            Some(Fact::Known(weight, verdict)) if told.is_none_or(|(most, _)| weight >= most) => {
                told = Some((weight, verdict));
            }
            Some(Fact::Known(..)) | None => {}
        }
    }
    told.map_or(Verdict::transient(), |(_, verdict)| verdict)
}

/// The error and everything underneath it, as far as [`DEPTH`].
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = Link<'a>> {
    std::iter::successors(Some(error), |&link| facts::inside(link)).take(DEPTH)
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::io;

    use super::*;
    use crate::classify::{Class, Classified, Processed, Reason};

    /// Returns itself as its own source.
    #[derive(Debug)]
    struct Ouroboros;

    /// A link of a chain of any length.
    #[derive(Debug)]
    struct Link(Option<Box<dyn Error + Send + Sync>>);

    macro_rules! display {
        ($($error:ty)*) => {$(
            impl fmt::Display for $error {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(stringify!($error))
                }
            }
        )*};
    }

    display!(Ouroboros Link);

    impl Error for Ouroboros {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }

    impl Error for Link {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.0.as_deref().map(|source| source as _)
        }
    }

    /// Lets go of a long chain one link at a time: dropping it whole would need as much stack as it has links.
    impl Drop for Link {
        fn drop(&mut self) {
            let mut next = self.0.take();
            while let Some(error) = next {
                next = error.downcast::<Link>().ok().and_then(|mut link| link.0.take());
            }
        }
    }

    fn wrapped(error: impl Into<Box<dyn Error + Send + Sync>>, levels: usize) -> Link {
        (0..levels).fold(Link(Some(error.into())), |link, _| Link(Some(Box::new(link))))
    }

    fn reset() -> io::Error {
        io::ErrorKind::ConnectionReset.into()
    }

    #[test]
    fn unknown_chain() {
        let verdict = verdict(&Link(None));
        assert_eq!(verdict, Verdict::transient());
        assert_eq!((verdict.processed(), verdict.reason()), (Processed::Maybe, Reason::UNKNOWN));
    }

    #[test]
    fn an_error_that_is_its_own_source_is_unknown() {
        assert_eq!(verdict(&Ouroboros), Verdict::transient());
        assert!(find::<io::Error>(&Ouroboros).is_none());
    }

    #[test]
    fn the_walk_ends_after_64_links() {
        // The outermost link and those around it, then the error itself.
        assert_eq!(verdict(&wrapped(reset(), DEPTH - 2)).reason(), Reason::RESET);
        assert_eq!(verdict(&wrapped(reset(), DEPTH - 1)).reason(), Reason::UNKNOWN);
        assert_eq!(verdict(&wrapped(reset(), 10_000)), Verdict::transient());
    }

    #[test]
    fn what_an_io_error_wraps_is_seen() {
        let nested = io::Error::other(io::Error::other(wrapped(reset(), 3)));
        assert_eq!(verdict(&nested).reason(), Reason::RESET);
    }

    #[test]
    fn of_facts_as_weighty_the_deepest_counts() {
        let nested = io::Error::new(io::ErrorKind::TimedOut, wrapped(reset(), 3));
        assert_eq!(verdict(&nested).reason(), Reason::RESET);
        let nested = io::Error::new(io::ErrorKind::ConnectionReset, io::Error::from(io::ErrorKind::TimedOut));
        assert_eq!(verdict(&nested).reason(), Reason::TIMEOUT);
    }

    #[test]
    fn the_outermost_classified_wins() {
        let inner = Classified::with_source(Verdict::terminal(), reset());
        assert_eq!(verdict(&wrapped(inner, 3)).class(), Class::Terminal);

        let inner = Classified::with_source(Verdict::terminal(), reset());
        let outer = Classified::with_source(Verdict::ambiguous(), wrapped(inner, 3));
        assert_eq!(verdict(&io::Error::other(outer)).class(), Class::Ambiguous);
    }

    #[test]
    fn timeouts_of_tower_and_tokio() {
        let elapsed = tower::timeout::error::Elapsed::new();
        assert_eq!(verdict(&wrapped(elapsed, 2)), Verdict::transient().with_reason(Reason::TIMEOUT));
    }
}
