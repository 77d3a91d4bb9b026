//! The status page as its users see it: its JSON, its stream, what it allows, and the page in a browser.

#![cfg(feature = "status-page")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod acting;
mod bounds;
mod browser;
mod head;
mod hostile;
mod list;
mod live;
mod recordings;
mod support;
