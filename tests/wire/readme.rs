//! The README's examples, so that they stay true. They are here because some need a client that only the wire tests need.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
