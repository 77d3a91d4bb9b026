//! What happened: an outcome becomes a [`Verdict`].
//!
//! A [`Classifier`] looks at a response or an error and says what it means; [`HttpClassifier`] is the default one for HTTP,
//! [`GrpcClassifier`] the one for gRPC. [`RetryLayer`](crate::retry) and [`CircuitBreakerLayer`](crate::breaker) each ask
//! their own classifier, so they need no [`ClassifyLayer`]. That layer exists to say otherwise in one place: it leaves its
//! verdict with the outcome, and the default classifiers of the layers outside it honour what they find.
//!
//! # How a verdict travels
//!
//! - A plain success leaves nothing behind and allocates nothing.
//! - Any other verdict, and a success where the default would not say so, lies in the extensions of an
//!   `http::Response`; [`Verdict::of`] reads it back.
//! - An error is wrapped in [`ClassifiedError`], which keeps the original as its source; [`Verdict::of_error`] reads it back.
//! - What a body does after its head was passed on is told to [callbacks](ClassifyLayer::on_verdict) and
//!   [`Counters`], and lies in the body's error: see [`body`].
//!
//! # What a status means
//!
//! Every status can be [overridden](HttpClassifier::status), by a [range](HttpClassifier::statuses), by a
//! [rule](HttpClassifier::when) or for [certain requests](ClassifyLayer::route).
//!
//! | status | class | processed | health |
//! |---|---|---|---|
//! | 1xx, 2xx, 3xx | success | yes | success |
//! | 408 | transient | maybe | failure |
//! | 421, 425 | transient | no | neutral |
//! | 429 | transient | no | throttled |
//! | other 4xx | terminal | yes | success: the upstream is alive and answered |
//! | 501, 505, 506, 508, 510, 511 | terminal | yes | failure |
//! | other 5xx, and what is beyond 599 | transient | maybe | failure |
//!
//! What a gRPC code means stands with [`GrpcClassifier`].
//!
//! # What an error means
//!
//! The chain of an error's sources is walked, also through what an `io::Error` wraps, for 64 links at most. The weightiest
//! fact found counts: that TLS failed for good or that the request could not be sent at all, then that no connection was
//! made, then that the request was never sent, then whatever happened in flight; of equals the deepest. A [`ClassifiedError`]
//! ends the walk, as do this crate's own errors and a failed request body: what lies underneath is not about this call.
//! An error in a `Box` or an `Arc` is seen like any other.
//!
//! Each row is caused on real sockets, through hyper-util's client unless it names another. Seen with hyper 1.12, hyper-util 0.1.21, h2 0.4.20, rustls 0.23, reqwest 0.13.5, tonic 0.14.9.
//!
//! | situation | class | processed | health | reason |
//! |---|---|---|---|---|
//! | relative URI, bad version | terminal | no | neutral | `user` |
//! | the same in reqwest (feature `reqwest`) | terminal | no | neutral | `user` |
//! | https through a plain connector | terminal | no | neutral | `user` |
//! | certificate rejected by us | terminal | no | failure | `tls` |
//! | TLS protocol error | terminal | no | failure | `tls` |
//! | TLS handshake cut or reset | transient | no | failure | `tls` |
//! | our certificate rejected, TLS 1.3 (feature `rustls`) | terminal | maybe | failure | `tls` |
//! | refused | transient | no | failure | `connect` |
//! | unreachable | transient | no | failure | `connect` |
//! | connect timeout | transient | no | failure | `connect` |
//! | name not found | transient | no | failure | `dns` |
//! | any other error of a connector | transient | no | failure | `connect` |
//! | connection dies in its handshake | transient | no | failure | `connect` |
//! | HTTP/2 connection ended in good order, or GOAWAY, before the first request | transient | no | failure | `canceled` |
//! | connection closed before the write: a fresh one, for hyper-util repeats the request itself on others | transient | no | failure | `canceled` |
//! | REFUSED_STREAM, unless [distrusted](DistrustRefusals) | transient | no | neutral | `refused_stream` |
//! | GOAWAY: proves nothing, as hyper also reports it of streams that the server answers | transient | maybe | neutral | `goaway` |
//! | the same with ENHANCE_YOUR_CALM | transient | maybe | throttled | `goaway` |
//! | GOAWAY that covers our stream, then close | transient | maybe | failure | `reset` |
//! | keep-alive race, no head or half of one | transient | maybe | failure | `incomplete` |
//! | reset in flight | transient | maybe | failure | `reset` |
//! | end of the connection in flight, HTTP/2 | transient | maybe | failure | `reset` |
//! | RST_STREAM: CANCEL, INTERNAL_ERROR | transient | maybe | failure | `reset` |
//! | RST_STREAM: ENHANCE_YOUR_CALM | transient | maybe | throttled | `reset` |
//! | timeout after sending, of tower, tokio or reqwest | transient | maybe | failure | `timeout` |
//! | HTTP/2 keep-alive unanswered | transient | maybe | failure | `timeout` |
//! | garbage instead of HTTP | ambiguous | maybe | failure | `protocol` |
//! | our own request body failed | terminal | maybe | neutral | `user` |
//! | h2 found the peer at fault | transient | maybe | failure | `protocol` |
//! | the client dropped the request: a GOAWAY came while it waited for its stream, or its runtime shut down | transient | maybe | neutral | `dispatch_gone` |
//! | reqwest gives up on redirects (feature `reqwest`) | terminal | maybe | success | `protocol` |
//! | reqwest's `error_for_status` (feature `reqwest`) | as the status says | | | `status` |
//! | a `tonic::Status` from the server (feature `tonic`) | as the code says | | | `grpc` |
//! | a `tonic::Status` that tonic made of an error | as its source says | | | |
//! | tonic cannot connect (feature `tonic`) | transient | no | failure | `connect` |
//! | body broken off, where it is watched | ambiguous | maybe | failure | `body` |
//! | this crate's [`CircuitOpen`](crate::breaker::CircuitOpen) | terminal | no | neutral | `circuit_open` |
//! | tower's `load_shed::Overloaded` | transient | no | neutral | `overloaded` |
//! | an error with a [`ClassifiedError`] in its chain | as it says | | | |
//! | anything else | transient | maybe | failure | `unknown` |
//!
//! What cannot be told apart:
//!
//! - A client that does not itself repeat what a used connection gave back unsent, as tonic's, reports such a request like
//!   one that a fresh connection gave back: as a failure of the upstream.
//! - Hyper gives one kind of error for a request body that failed and for a request that it dropped. The body of a
//!   [`RetryLayer`](crate::RetryLayer) says that it failed; of other bodies only hyper's words tell.
//! - A body without a length ends where its connection does, so it is never short
//!   (`body::body_without_length_ends_with_the_connection`).
//! - Of TLS by another library than rustls, and without the feature `rustls` of another version than 0.23, only the
//!   `io::Error` is seen. What tokio-rustls makes of a failed handshake (`InvalidData`) is enough for the rows above; a
//!   certificate that native-tls rejects is taken for a connection that failed.
//! - That an error of hyper-util without [`connect_info`][info] is a failed handshake is nowhere promised, but tested.
//!
//! [info]: https://docs.rs/hyper-util/latest/hyper_util/client/legacy/struct.Error.html#method.connect_info

// The test of each row is named in tests/classify/docs.rs.

pub mod body;
mod classifier;
mod error;
mod future;
mod grpc;
mod http;
mod layer;
mod observe;
mod verdict;

pub use self::body::settle_at::{HeadOnly, Notify, SettleAt, WholeBody};
pub use self::classifier::{Classifier, ClassifierFn, ClassifyHttp, classifier_fn};
pub use self::error::{ClassifiedError, DistrustRefusals};
pub use self::future::ResponseFuture;
pub use self::grpc::{GrpcClassifier, GrpcEos};
#[cfg(feature = "tower-http")]
pub use self::http::tower_http;
pub use self::http::{HttpClassifier, HttpEos, RequestHead, ResponseHead, ResponseRule, Route, Routes, RuleOrElse};
pub use self::layer::{Classify, ClassifyLayer};
pub use self::observe::{Counters, OnVerdict};
pub use self::verdict::{Class, Health, Processed, Reason, Verdict};

pub(crate) use self::error::{RequestBodyFailed, cause, find};
