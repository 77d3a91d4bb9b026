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
//! - An error is wrapped in [`Classified`], which keeps the original as its source; [`Verdict::of_error`] reads it back.
//! - What a body does after its head was passed on is told to [callbacks](ClassifyLayer::on_verdict) and
//!   [`Counters`], and lies in the body's error: see [`body`].
//!
//! # What a status means
//!
//! Every status can be [overridden](HttpClassifier::status), by a [range](HttpClassifier::statuses), by a
//! [rule](HttpClassifier::when) or for [certain requests](ClassifyLayer::route). Tests: `every_status` and
//! `statuses_beyond_599` in `tests/classify/status.rs`; hints in `tests/classify/hints.rs`.
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
//! What a gRPC code means stands with [`GrpcClassifier`]; tests: `tests/classify/grpc.rs`, and `trailers_only`,
//! `trailers_after_data` and `missing_status` in `tests/wire/grpc.rs`.
//!
//! # What an error means
//!
//! The chain of an error's sources is walked, also through what an `io::Error` wraps, for 64 links at most. The weightiest
//! fact found counts: that TLS failed for good or that the request could not be sent at all, then that no connection was
//! made, then that the request was never sent, then whatever happened in flight; of equals the deepest. A [`Classified`]
//! ends the walk, and so does a failed request body: what lies underneath is not about this call.
//!
//! Each row is caused on real sockets by the test named, in `tests/wire/`, through hyper-util's client but where it says
//! otherwise. Seen with hyper 1.12, hyper-util 0.1.21, h2 0.4.20, rustls 0.23, reqwest 0.13.5, tonic 0.14.9.
//!
//! | situation | class | processed | health | reason | test |
//! |---|---|---|---|---|---|
//! | relative URI, bad version | terminal | no | neutral | `user` | `connect::relative_uri`, `connect::bad_version` |
//! | the same in reqwest (feature `reqwest`) | terminal | no | neutral | `user` | `reqwest::builder` |
//! | https through a plain connector | terminal | no | neutral | `user` | `connect::https_through_a_plain_connector` |
//! | certificate refused by us | terminal | no | failure | `tls` | `tls::self_signed`, `tls::wrong_name`, `tls::expired` |
//! | TLS protocol error | terminal | no | failure | `tls` | `tls::plain_http_instead_of_tls` |
//! | TLS handshake cut or reset | transient | no | failure | `tls` | `tls::handshake_cut`, `tls::handshake_reset` |
//! | our certificate refused, TLS 1.3 (feature `rustls`) | terminal | maybe | failure | `tls` | `tls::client_certificate_required` |
//! | refused | transient | no | failure | `connect` | `connect::refused`, `reqwest::refused` |
//! | unreachable | transient | no | failure | `connect` | `connect::unreachable` |
//! | connect timeout | transient | no | failure | `connect` | `connect::connect_timeout`, `connect::connector_timeout`, `reqwest::connect_timeout` |
//! | name not found | transient | no | failure | `dns` | `connect::dns`, `reqwest::dns` |
//! | any other error of a connector | transient | no | failure | `connect` | `connect::a_connector_that_fails_for_reasons_of_its_own` |
//! | connection dies in its handshake | transient | no | failure | `connect` | `http1::connection_dies_in_its_handshake`, `http2::connection_dies_in_its_handshake` |
//! | HTTP/2 connection ended in good order, or GOAWAY, before the first request | transient | no | neutral | `canceled` | `http2::connection_dies_in_its_handshake`, `http2::go_away_on_connect` |
//! | pooled connection closed before the write | transient | no | neutral | `canceled` | `http1::pooled_connection_closed_before_the_write` |
//! | REFUSED_STREAM | transient | no | neutral | `refused_stream` | `http2::refused_stream`, `tonic::refused_stream` |
//! | GOAWAY, our stream beyond the last id | transient | no | neutral | `goaway` | `http2::go_away_beyond_the_last_id` |
//! | the same with ENHANCE_YOUR_CALM | transient | no | throttled | `goaway` | `http2::go_away_to_calm_down` |
//! | GOAWAY that covers our stream, then close | transient | maybe | failure | `reset` | `http2::go_away_that_covers_the_stream` |
//! | keep-alive race, no head or half of one | transient | maybe | failure | `incomplete` | `http1::keep_alive_race`, `http1::fin_before_the_status_line`, `http1::fin_inside_the_head` |
//! | reset in flight | transient | maybe | failure | `reset` | `http1::rst_before_the_status_line`, `http1::rst_inside_the_head`, `http2::rst_in_flight`, `http2::rst_inside_the_body` |
//! | end of the connection in flight, HTTP/2 | transient | maybe | failure | `reset` | `http2::eof_in_flight` |
//! | RST_STREAM: CANCEL, INTERNAL_ERROR | transient | maybe | failure | `reset` | `http2::remote_reset` |
//! | RST_STREAM: ENHANCE_YOUR_CALM | transient | maybe | throttled | `reset` | `http2::remote_reset_to_calm_down` |
//! | timeout after sending, of tower, tokio or reqwest | transient | maybe | failure | `timeout` | `http1::timeout_after_sending`, `reqwest::total_timeout`, `tonic::timeout_after_sending` |
//! | HTTP/2 keep-alive unanswered | transient | maybe | failure | `timeout` | `http2::keep_alive_timeout` |
//! | garbage instead of HTTP | ambiguous | maybe | failure | `protocol` | `http1::garbage_instead_of_http`, `reqwest::garbage_instead_of_http` |
//! | our own request body failed | terminal | maybe | neutral | `user` | `http1::own_request_body_failed`, `http1::own_request_body_failed_for_reasons_that_were_judged`, `http2::own_request_body_failed` |
//! | h2 found the peer at fault | transient | maybe | failure | `protocol` | `http2::peer_at_fault` |
//! | runtime shut down under the client | terminal | maybe | neutral | `user` | `http1::runtime_shut_down_under_the_client` |
//! | reqwest gives up on redirects (feature `reqwest`) | terminal | maybe | success | `protocol` | `reqwest::redirects_without_end` |
//! | reqwest's `error_for_status` (feature `reqwest`) | as the status says | | | `status` | `reqwest::error_for_status` |
//! | a `tonic::Status` from the server (feature `tonic`) | as the code says | | | `grpc` | `tonic::status_from_the_server` |
//! | a `tonic::Status` that tonic made of an error | as its source says | | | | `tonic::refused_stream`, `tonic::status_of_an_unknown_error` |
//! | tonic cannot connect (feature `tonic`) | transient | no | failure | `connect` | `tonic::cannot_connect`, `tonic::cannot_connect_for_reasons_unknown` |
//! | body broken off, where it is watched | ambiguous | maybe | failure | `body` | `body::fin_inside_the_body`, `body::rst_inside_the_body`, `body::garbage_inside_the_body`, `body::stream_reset_inside_the_body`, `reqwest::fin_inside_the_body` |
//! | an error that says its verdict, as this crate's `CircuitOpen` (terminal, no, neutral) | as it says | | | | `the_outermost_classified_wins` in `src/classify/chain.rs` |
//! | anything else | transient | maybe | failure | `unknown` | `unknown_chain` in `src/classify/chain.rs` |
//!
//! What cannot be told apart:
//!
//! - A server that accepts HTTP/2 connections and ends each in good order looks to hyper-util like a pooled connection that
//!   was closed: the call is known not to have been sent, but a breaker learns nothing.
//! - A body without a length ends where its connection does, so it is never short
//!   (`body::body_without_length_ends_with_the_connection`).
//! - Of TLS by another library than rustls, and without the feature `rustls` of another version than 0.23, only the
//!   `io::Error` is seen. What tokio-rustls makes of a failed handshake (`InvalidData`) is enough for the rows above; a
//!   certificate that native-tls refuses is taken for a connection that failed.
//! - That hyper-util tells of a failed handshake by having no [`connect_info`][info] is nowhere promised; the two tests of
//!   `connection_dies_in_its_handshake` and `http1::fin_before_the_status_line` hold it to that.
//!
//! [info]: https://docs.rs/hyper-util/latest/hyper_util/client/legacy/struct.Error.html#method.connect_info

pub mod body;
mod chain;
mod classified;
mod classifier;
mod classify_http;
mod counters;
mod distrust;
mod facts;
mod future;
mod grpc;
mod head;
mod hint;
mod http;
mod layer;
mod observe;
mod reason;
mod request_body_failed;
mod retry_info;
mod route;
mod rule;
mod scope;
mod status;
#[cfg(feature = "tower-http")]
pub mod tower_http;
mod verdict;

pub use self::classified::Classified;
pub use self::classifier::{Classifier, ClassifierFn, classifier_fn};
pub use self::classify_http::{ClassifyHttp, GrpcEnding, HttpEnding};
pub use self::counters::Counters;
pub use self::distrust::DistrustRefusals;
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
#[allow(unused_imports)]
pub(crate) use self::facts::cause;
pub(crate) use self::request_body_failed::RequestBodyFailed;
