//! Rule 8: bodies that are sent again.

mod model;
mod replay;
