use std::error::Error;
use std::io;

use super::{Classified, Health, Processed, Reason, Verdict};

/// How many errors of a chain are looked at. Real chains have fewer than ten; one that returns itself has no end.
const DEPTH: usize = 64;

/// The first error of this type in the chain, from the outside in.
pub(crate) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(|link| link.downcast_ref())
}

/// The verdict on an error: what was said of it, else what its chain tells.
pub(super) fn verdict(error: &(dyn Error + 'static)) -> Verdict {
    if let Some(classified) = find::<Classified>(error) {
        return classified.verdict();
    }
    chain(error).find_map(io_fact).unwrap_or_else(Verdict::transient)
}

/// The error and everything underneath it, also what an [`io::Error`] wraps, which its `source` skips.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&link| match link.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => link.source(),
    })
    .take(DEPTH)
}

fn io_fact(error: &(dyn Error + 'static)) -> Option<Verdict> {
    let verdict = Verdict::transient();
    Some(match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => {
            verdict.with_processed(Processed::No).with_health(Health::Failure).with_reason(Reason::CONNECT)
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => verdict.with_reason(Reason::RESET),
        io::ErrorKind::TimedOut => verdict.with_reason(Reason::TIMEOUT),
        _ => return None,
    })
}
