use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Listed, Watched};

/// Goes through all breakers, a page a poll, so that it neither holds a thread for long nor keeps breakers from being
/// evicted. Begins anew after its end.
#[derive(Debug)]
pub(in crate::status_page) struct Walk {
    watched: Arc<Watched>,
    layer: usize,
    /// The place in the layer below which it goes on.
    end: usize,
    /// Whether others run before the next page.
    yields: bool,
}

/// The breakers of a page. With the last page of a layer come those without a key, up to 17.
const PAGE: usize = 128;

impl Walk {
    pub(in crate::status_page) fn new(watched: Arc<Watched>) -> Self {
        Self { watched, layer: 0, end: usize::MAX, yields: false }
    }

    pub(in crate::status_page) fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }

    /// Returns further breakers, perhaps none, and `None` at the end. A breaker that moves meanwhile may come twice.
    pub(in crate::status_page) fn poll_page(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Listed>>> {
        self.yields = !self.yields;
        if !self.yields {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some((first, breakers)) = self.watched.page(self.layer, self.end, PAGE) else {
            (self.layer, self.yields) = (0, false);
            return Poll::Ready(None);
        };
        (self.layer, self.end) = if first == 0 { (self.layer + 1, usize::MAX) } else { (self.layer, first) };
        Poll::Ready(Some(breakers))
    }
}
