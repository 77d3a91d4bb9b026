use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use pin_project_lite::pin_project;
use serde::Serialize;
use tokio::time::{Instant, Sleep, sleep};

use super::changes::Changes;
use crate::status_page::breakers::{Id, Walk, Watched};
use crate::status_page::row::{LayerRow, json};
use crate::status_page::viewers::Place;

pin_project! {
    /// All breakers, and from then on those that changed, as server-sent events. Ends when it is dropped.
    ///
    /// `hello` begins the stream, `rows` holds breakers that are new or have changed, and `tick` ends a round.
    #[derive(Debug)]
    pub(in crate::status_page) struct Live {
        hello: Option<Hello>,
        walk: Walk,
        changes: Changes,
        sent: Sent,
        #[pin]
        pause: Option<Sleep>,
        _place: Place,
    }
}

#[derive(Debug, Serialize)]
struct Hello {
    /// Whether the client may control the breakers.
    can_act: bool,
}

#[derive(Debug, Serialize)]
struct Tick<'a> {
    breakers: usize,
    gone: Vec<Id>,
    layers: Vec<LayerRow<'a>>,
}

/// What this round and the last ones have sent.
#[derive(Debug)]
struct Sent {
    rows: bool,
    overflowed: u64,
    last_tick: Option<Instant>,
}

/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// A tick comes at least as often, so that the client sees that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

impl Live {
    pub(in crate::status_page) fn new(watched: Arc<Watched>, can_act: bool, place: Place) -> Self {
        Self {
            hello: Some(Hello { can_act }),
            walk: Walk::new(watched),
            changes: Changes::new(),
            sent: Sent { rows: false, overflowed: 0, last_tick: None },
            pause: None,
            _place: place,
        }
    }

    pub(super) fn poll_chunk(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Bytes> {
        let mut this = self.project();
        if let Some(hello) = this.hello.take() {
            return Poll::Ready(event("hello", &hello));
        }
        loop {
            if let Some(pause) = this.pause.as_mut().as_pin_mut() {
                ready!(pause.poll(cx));
                this.pause.set(None);
            }
            let Some(breakers) = ready!(this.walk.poll_page(cx)) else {
                this.pause.set(Some(sleep(PAUSE)));
                match this.sent.tick(this.walk.watched(), this.changes.end_round()) {
                    Some(tick) => return Poll::Ready(event("tick", &tick)),
                    None => continue,
                }
            };
            let rows = this.changes.of(&breakers, this.walk.watched());
            if !rows.is_empty() {
                this.sent.rows = true;
                return Poll::Ready(event("rows", &rows));
            }
        }
    }
}

impl Sent {
    /// The end of a round, if there is something to say.
    fn tick<'a>(&mut self, watched: &'a Watched, (breakers, gone): (usize, Vec<Id>)) -> Option<Tick<'a>> {
        let overflowed = watched.layers().iter().map(|layer| layer.overflowed()).sum();
        let is_quiet = !self.rows && gone.is_empty() && overflowed == self.overflowed;
        if is_quiet && self.last_tick.is_some_and(|last| last.elapsed() < KEEP_ALIVE) {
            return None;
        }
        *self = Self { rows: false, overflowed, last_tick: Some(Instant::now()) };
        Some(Tick { breakers, gone, layers: LayerRow::all(watched) })
    }
}

/// JSON has no line breaks.
fn event(name: &str, data: &impl Serialize) -> Bytes {
    [b"event: ", name.as_bytes(), b"\ndata: ", &json(data), b"\n\n"].concat().into()
}
