//! Judging an answer when its body has ended, not when its head has come.
//!
//! A head can say 200 and the body break off. [`JudgedBody`] watches a body and says once, when it has ended in whatever
//! way, what that makes of the answer. [`ClassifyLayer::judge_body`](crate::ClassifyLayer::judge_body) puts it to use.
//!
//! | how the body ends | verdict, for HTTP |
//! |---|---|
//! | completely | that of the head |
//! | with an error, or shorter than announced | ambiguous, maybe processed, health failure, reason `body` |
//! | dropped with all the announced bytes read | that of the head |
//! | dropped earlier | that of the head, but neutral for a breaker, reason `abandoned` |
//! | in a panic of its own | ambiguous, maybe processed, health failure, reason `panic` |
//!
//! For gRPC the trailers decide: see [`GrpcClassifier`](super::GrpcClassifier). A head that is no success settles at once,
//! and its body is passed through unwatched.

mod eos;
mod judged;
pub(super) mod settle_at;

pub use self::eos::{ClassifyEos, Eos};
pub use self::judged::{JudgedBody, Settle};
