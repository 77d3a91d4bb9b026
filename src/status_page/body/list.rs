use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::status_page::breakers::{Walk, Watched};
use crate::status_page::row::{LayerRow, Row, json};

/// All breakers once, as a JSON document.
#[derive(Debug)]
pub(in crate::status_page) struct List {
    walk: Walk,
    part: Part,
}

/// The part of the document that comes next.
#[derive(Debug)]
enum Part {
    Layers,
    FirstRow,
    Rows,
    Nothing,
}

impl List {
    pub(in crate::status_page) fn new(watched: Arc<Watched>) -> Self {
        Self { walk: Walk::new(watched), part: Part::Layers }
    }

    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.part {
            Part::Layers => {
                self.part = Part::FirstRow;
                let layers = json(&LayerRow::all(self.walk.watched()));
                return Poll::Ready(Some([br#"{"layers":"#, &*layers, br#","breakers":["#].concat().into()));
            }
            Part::FirstRow | Part::Rows => {}
            Part::Nothing => return Poll::Ready(None),
        }
        let mut chunk = Vec::new();
        while chunk.is_empty() {
            let Some(breakers) = ready!(self.walk.poll_page(cx)) else {
                self.part = Part::Nothing;
                return Poll::Ready(Some(Bytes::from_static(b"]}")));
            };
            for listed in &breakers {
                match self.part {
                    Part::Rows => chunk.push(b','),
                    _ => self.part = Part::Rows,
                }
                chunk.extend(json(&Row::of(listed, self.walk.watched())));
            }
        }
        Poll::Ready(Some(chunk.into()))
    }
}
