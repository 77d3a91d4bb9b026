//! Judges a response by how its body ends, not by its head alone.
//!
//! A response can start with 200 and its body can still fail. [`JudgedBody`] watches the body and settles the verdict
//! once, when the body ends. Enable it with [`ClassifyLayer::judge_body`](crate::ClassifyLayer::judge_body).
//!
//! 1. A head that is not a success settles at once, and its body passes through unwatched.
//! 2. A success settles when its body ends, by the table below. For gRPC the trailers decide: see
//!    [`GrpcClassifier`](super::GrpcClassifier).
//! 3. A body settles exactly once, whether it ends, fails, panics or is dropped.
//! 4. Watching allocates and copies nothing.
//!
//! | how the body ends | verdict, for HTTP |
//! |---|---|
//! | completely | the verdict on the head |
//! | with an error, or shorter than announced | ambiguous, maybe processed, health failure, reason `body` |
//! | dropped after all announced bytes were read | the verdict on the head |
//! | dropped earlier | the verdict on the head, but health neutral, reason `abandoned` |
//! | with a panic | ambiguous, maybe processed, health failure, reason `panic` |

mod eos;
mod judged;
pub(super) mod settle_at;

pub use self::eos::{ClassifyEos, Eos};
pub use self::judged::{JudgedBody, Settle};
