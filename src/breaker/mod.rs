//! Shall we try at all.
