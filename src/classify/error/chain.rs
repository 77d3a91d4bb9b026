//! Walks an error and its sources.

use std::error::Error;
use std::io;
use std::sync::Arc;

/// An error in the chain.
pub(super) type Link<'a> = &'a (dyn Error + 'static);

/// The maximum number of links to visit. Real chains have fewer than ten; an error that is its own source has no end.
pub(super) const DEPTH: usize = 64;

/// Returns the outermost error of this type in the chain, also if a `Box` or an `Arc` holds it.
pub(crate) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(downcast)
}

/// Walks from the error inwards, for at most [`DEPTH`] links.
pub(super) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = Link<'a>> {
    std::iter::successors(Some(error), |&link| next(link)).take(DEPTH)
}

/// Returns the link as this type, also if the link is a `Box` or an `Arc` of it. Both forward `source` to the error
/// they hold, so the walk never reaches that error itself.
pub(super) fn downcast<'a, T: Error + 'static>(link: Link<'a>) -> Option<&'a T> {
    link.downcast_ref()
        .or_else(|| link.downcast_ref::<Box<T>>().map(|boxed| &**boxed))
        .or_else(|| link.downcast_ref::<Arc<T>>().map(|shared| &**shared))
}

/// Returns the next link: the error that this one wraps without returning it as its `source`, else the `source`.
fn next(link: Link<'_>) -> Option<Link<'_>> {
    let hidden = in_io(link).or_else(|| in_arc(link)).or_else(|| in_h2(link)).or_else(|| in_middleware(link));
    hidden.or_else(|| link.source())
}

/// Returns what an io error wraps. Its `source` is the source of that error, and skips it.
fn in_io(link: Link<'_>) -> Option<Link<'_>> {
    downcast::<io::Error>(link)?.get_ref().map(|inner| inner as _)
}

/// Returns the error in an `Arc` of an unnamed type.
fn in_arc(link: Link<'_>) -> Option<Link<'_>> {
    link.downcast_ref::<Arc<dyn Error + Send + Sync>>().map(|shared| &**shared as _)
}

/// Returns the io error of an h2 error, which has no `source`.
#[cfg(feature = "h2")]
fn in_h2(link: Link<'_>) -> Option<Link<'_>> {
    downcast::<h2::Error>(link)?.get_io().map(|io| io as _)
}

#[cfg(not(feature = "h2"))]
fn in_h2(_: Link<'_>) -> Option<Link<'_>> {
    None
}

/// Returns the error of a middleware or of reqwest. The `source` of the error around it is the source of that error,
/// and skips it.
#[cfg(feature = "reqwest-middleware")]
fn in_middleware(link: Link<'_>) -> Option<Link<'_>> {
    Some(match downcast(link)? {
        reqwest_middleware::Error::Middleware(error) => error.as_ref(),
        reqwest_middleware::Error::Reqwest(error) => error,
    })
}

#[cfg(not(feature = "reqwest-middleware"))]
fn in_middleware(_: Link<'_>) -> Option<Link<'_>> {
    None
}
