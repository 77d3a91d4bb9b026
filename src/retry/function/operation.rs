use std::future::Future;
use std::task::{Context, Poll};

use tower_service::Service;

/// An operation as a service that is always ready.
pub(super) struct Operation<F>(pub(super) F);

impl<F, Fut, T, E> Service<()> for Operation<F>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Response = T;
    type Error = E;
    type Future = Fut;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, (): ()) -> Fut {
        (self.0)()
    }
}
