//! What happened: an outcome becomes a [`Verdict`].
//!
//! A [`Classifier`] looks at a response or an error and says what it means; [`HttpClassifier`] is the default one for
//! HTTP. [`RetryLayer`](crate::RetryLayer) and [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) each ask their own
//! classifier, so they need no [`ClassifyLayer`]. That layer exists to say otherwise in one place: it leaves its verdict
//! with the outcome, and the default classifiers of the layers outside it honour what they find.
//!
//! # How a verdict travels
//!
//! - A plain success leaves nothing behind and allocates nothing.
//! - Any other verdict, and a success where the default would not say so, lies in the extensions of an
//!   `http::Response`; [`Verdict::of`] reads it back.
//! - An error is wrapped in [`Classified`], which keeps the original as its source; [`Verdict::of_error`] reads it back.

pub mod body;
mod chain;
mod classified;
mod classifier;
mod classify_http;
mod counters;
mod facts;
mod future;
mod grpc;
mod head;
mod hint;
mod http;
mod layer;
mod observe;
mod reason;
mod route;
mod rule;
mod scope;
mod status;
#[cfg(feature = "tower-http")]
pub mod tower_http;
mod verdict;

pub use self::classified::Classified;
pub use self::classifier::{Classifier, classifier_fn};
pub use self::classify_http::{ClassifyHttp, GrpcEnding, HttpEnding};
pub use self::counters::Counters;
pub use self::future::ResponseFuture;
pub use self::grpc::GrpcClassifier;
pub use self::head::Head;
pub use self::http::HttpClassifier;
pub use self::layer::{Classify, ClassifyLayer};
pub use self::observe::OnVerdict;
pub use self::reason::Reason;
pub use self::route::{RequestHead, Route, Routes};
pub use self::rule::{Rule, When};
pub use self::scope::{HeadOnly, Scope, Tell, WholeBody};
pub use self::verdict::{Class, Health, Processed, Verdict};

pub(crate) use self::chain::find;
