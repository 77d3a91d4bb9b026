//! Rules 6, 10 and 11: time limits of calls and attempts.

mod attempt_timeout;
mod copies;
mod cut;
mod deadline_header;
mod time;
