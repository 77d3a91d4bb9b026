//! The span of the attempt that is running, for the breakers inside it.
//!
//! The layers between a retry layer and a breaker may have spans of their own, so the current span need not be the
//! attempt's. A thread-local holds it while the attempt runs.

use std::cell::{Cell, RefCell};

use tracing::{Span, span};

use crate::isolated::isolated;

thread_local! {
    static ATTEMPT: RefCell<Option<Span>> = const { RefCell::new(None) };
    // Whether there is one: without a destructor, and so cheap to read.
    static IS_OPEN: Cell<bool> = const { Cell::new(false) };
}

/// Restores the span of an outer attempt.
struct Restore(Option<Span>);

/// Enters the span of an attempt, until this is dropped.
pub(crate) struct Entered<'a> {
    _span: span::Entered<'a>,
    _outer: Restore,
}

#[cold]
pub(crate) fn enter(span: &Span) -> Entered<'_> {
    Entered { _outer: Restore(replace(Some(span.clone()))), _span: span.enter() }
}

/// Returns true while an attempt with a span runs.
#[inline(always)]
pub(crate) fn is_open() -> bool {
    IS_OPEN.get()
}

/// Records which breaker has rejected the attempt that is running, or counted its failure.
#[cold]
pub(crate) fn record_breaker(name: &str, partition: &str) {
    // Recording is foreign code, so nothing is borrowed meanwhile.
    isolated(|| {
        if let Ok(Some(span)) = ATTEMPT.try_with(|attempt| attempt.borrow().clone()) {
            span.record("breaker.name", name);
            span.record("breaker.partition", partition);
        }
    });
}

/// While the thread exits there is none.
fn replace(span: Option<Span>) -> Option<Span> {
    IS_OPEN.set(span.is_some());
    ATTEMPT.try_with(|attempt| attempt.replace(span)).ok().flatten()
}

impl Drop for Restore {
    fn drop(&mut self) {
        replace(self.0.take());
    }
}
