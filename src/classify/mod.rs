//! Turns the outcome of a call, a response or an error, into a [`Verdict`].
//!
//! The layers of this crate act on verdicts alone: the retry layer on the [`Class`] and on [`Processed`], the breaker
//! on [`Health`]. A [`Classifier`] makes the verdict. [`HttpClassifier`] is the default for HTTP, [`GrpcClassifier`]
//! for gRPC.
//!
//! # Rules
//!
//! 1. **Every layer has a classifier.** [`RetryLayer`](crate::retry) and [`CircuitBreakerLayer`](crate::breaker) work
//!    without a [`ClassifyLayer`]. Add that layer to decide in one place what outcomes mean: it attaches its verdict to
//!    the outcome, and the default classifiers of the layers outside it use that verdict.
//! 2. **A plain success costs nothing.** It attaches nothing and allocates nothing.
//! 3. **A response carries its verdict in its extensions**, if the default classifier would not reach the same one.
//!    [`Verdict::of`] reads it.
//! 4. **An error is wrapped in a [`ClassifiedError`]**, which keeps the original as its source. [`Verdict::of_error`]
//!    reads it.
//! 5. **A body is judged after its head has been passed on.** The result goes to
//!    [callbacks](ClassifyLayer::on_verdict), to [`Counters`] and into the error of the body: see [`body`].
//! 6. **The strongest evidence in a chain of errors decides**: see [below](#what-an-error-means).
//!
//! # What a status means
//!
//! Override a status by [code](HttpClassifier::status), by [range](HttpClassifier::statuses), by
//! [rule](HttpClassifier::when) or for [some requests](ClassifyLayer::route).
//!
//! | status | class | processed | health |
//! |---|---|---|---|
//! | 1xx, 2xx, 3xx | success | yes | success |
//! | 408 | transient | maybe | failure |
//! | 421, 425 | transient | no | neutral |
//! | 429 | transient | no | throttled |
//! | other 4xx | terminal | yes | success: the upstream is alive and answered |
//! | 501, 505, 506, 508, 510, 511 | terminal | yes | failure |
//! | other 5xx, and everything above 599 | transient | maybe | failure |
//!
//! [`GrpcClassifier`] lists what a gRPC code means.
//!
//! # What an error means
//!
//! The classifier walks the chain of an error's sources, for at most 64 links. It also looks inside an `io::Error`, a
//! `Box` and an `Arc`. Each link that it recognizes is evidence, and the strongest evidence decides, in this order:
//!
//! 1. TLS failed for good;
//! 2. the client could not send such a request at all;
//! 3. no connection was made;
//! 4. the request was not sent;
//! 5. the response body was cut off;
//! 6. the call failed in flight.
//!
//! Of equally strong evidence the deepest decides: it is closest to the cause. A [`ClassifiedError`], an error of this
//! crate and a failed request body end the walk, because what lies underneath is not about this call.
//!
//! A test on real sockets causes each row, through hyper-util's client unless the row names another. Tested with hyper
//! 1.12, hyper-util 0.1.21, h2 0.4.20, rustls 0.23, reqwest 0.13.5 and tonic 0.14.9.
//!
//! | situation | class | processed | health | reason |
//! |---|---|---|---|---|
//! | relative URI, bad version | terminal | no | neutral | `user` |
//! | the same in reqwest (feature `reqwest`) | terminal | no | neutral | `user` |
//! | https through a plain-text connector | terminal | no | neutral | `user` |
//! | certificate rejected by us | terminal | no | failure | `tls` |
//! | TLS protocol error | terminal | no | failure | `tls` |
//! | TLS handshake cut or reset | transient | no | failure | `tls` |
//! | our certificate rejected, TLS 1.3 (feature `rustls`) | terminal | maybe | failure | `tls` |
//! | refused | transient | no | failure | `connect` |
//! | unreachable | transient | no | failure | `connect` |
//! | connect timeout | transient | no | failure | `connect` |
//! | name not found | transient | no | failure | `dns` |
//! | any other connector error | transient | no | failure | `connect` |
//! | connection dies in its handshake | transient | no | failure | `connect` |
//! | HTTP/2 connection closed cleanly, or GOAWAY, before the first request | transient | no | failure | `canceled` |
//! | fresh connection closed before the write (hyper-util itself resends on a reused one) | transient | no | failure | `canceled` |
//! | REFUSED_STREAM, unless [distrusted](DistrustRefusals) | transient | no | neutral | `refused_stream` |
//! | GOAWAY: no proof, as hyper also reports it for streams that the server answers | transient | maybe | neutral | `goaway` |
//! | the same with ENHANCE_YOUR_CALM | transient | maybe | throttled | `goaway` |
//! | GOAWAY that covers our stream, then close | transient | maybe | failure | `reset` |
//! | keep-alive race, no head or a partial one | transient | maybe | failure | `incomplete` |
//! | reset in flight | transient | maybe | failure | `reset` |
//! | connection closed in flight, HTTP/2 | transient | maybe | failure | `reset` |
//! | RST_STREAM: CANCEL, INTERNAL_ERROR | transient | maybe | failure | `reset` |
//! | RST_STREAM: ENHANCE_YOUR_CALM | transient | maybe | throttled | `reset` |
//! | timeout after sending, of tower, tokio or reqwest | transient | maybe | failure | `timeout` |
//! | HTTP/2 keep-alive unanswered | transient | maybe | failure | `timeout` |
//! | not HTTP at all | ambiguous | maybe | failure | `protocol` |
//! | our request body failed | terminal | maybe | neutral | `user` |
//! | h2 detected a protocol error of the peer | transient | maybe | failure | `protocol` |
//! | the client dropped the request: a GOAWAY arrived while it waited for a stream, or the runtime shut down | transient | maybe | neutral | `dispatch_gone` |
//! | reqwest gives up on redirects (feature `reqwest`) | terminal | maybe | success | `protocol` |
//! | reqwest's `error_for_status` (feature `reqwest`) | as the status means | | | `status` |
//! | a `tonic::Status` from the server (feature `tonic`) | as the code means | | | `grpc` |
//! | a `tonic::Status` that tonic made from an error | as its source means | | | |
//! | tonic cannot connect (feature `tonic`) | transient | no | failure | `connect` |
//! | body cut off, where the layer judges bodies | ambiguous | maybe | failure | `body` |
//! | this crate's [`CircuitOpen`](crate::breaker::CircuitOpen) | terminal | no | neutral | `circuit_open` |
//! | tower's `load_shed::Overloaded` | transient | no | neutral | `overloaded` |
//! | an error with a [`ClassifiedError`] in its chain | its verdict | | | |
//! | anything else | transient | maybe | failure | `unknown` |
//!
//! Limits of what an error shows:
//!
//! - A client that does not resend what a reused connection returned unsent, such as tonic's, reports such a request as
//!   if the connection had been fresh: as a failure of the upstream.
//! - Hyper uses one kind of error for a failed request body and for a request that it dropped. The body of a
//!   [`RetryLayer`](crate::RetryLayer) marks its own failure. For other bodies, the text of the error decides.
//! - A body without a length ends when its connection ends, so it is never short
//!   (`body::body_without_length_ends_with_the_connection`).
//! - For TLS libraries other than rustls, and for rustls without the feature `rustls` or in another version than 0.23,
//!   only the `io::Error` is visible. What tokio-rustls makes of a failed handshake (`InvalidData`) is enough for the
//!   rows above; a certificate that native-tls rejects counts as a failed connection.
//! - An error of hyper-util without [`connect_info`][info] counts as a failed handshake. Hyper-util does not document
//!   this; a test pins it.
//!
//! [info]: https://docs.rs/hyper-util/latest/hyper_util/client/legacy/struct.Error.html#method.connect_info

// tests/classify/docs.rs names the test of each row.

pub mod body;
mod classifier;
mod error;
mod error_classifier;
mod future;
mod grpc;
mod http;
mod layer;
mod observe;
mod verdict;

pub use self::body::settle_at::{HeadOnly, Notify, SettleAt, WholeBody};
pub use self::classifier::{Classifier, ClassifierFn, ClassifyHttp, classifier_fn};
pub use self::error::{ClassifiedError, DistrustRefusals};
pub use self::error_classifier::ErrorClassifier;
pub use self::future::ResponseFuture;
pub use self::grpc::{GrpcClassifier, GrpcEos};
#[cfg(feature = "tower-http")]
pub use self::http::tower_http;
pub use self::http::{HttpClassifier, HttpEos, RequestHead, ResponseHead, ResponseRule, Route, Routes, RuleOrElse};
pub use self::layer::{Classify, ClassifyLayer};
pub use self::observe::{Counters, OnVerdict};
pub use self::verdict::{Class, Health, Processed, Reason, Verdict};

pub(crate) use self::error::{RequestBodyFailed, cause, find};
pub(crate) use self::http::hint::digits;
