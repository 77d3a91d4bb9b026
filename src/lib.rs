//! Three [`tower`] layers for outbound calls that can fail. For every attempt of a call they answer:
//!
//! - **what happened**: [`ClassifyLayer`] turns a response or an error into a [`Verdict`](classify::Verdict);
//! - **whether to try again**: [`RetryLayer`];
//! - **whether to try at all**: [`CircuitBreakerLayer`], with one breaker per tenant, host or any other key of a
//!   request.
//!
//! # The stack
//!
//! The order, from the caller to the wire, is retry, breaker, classify, client. Each layer also works alone.
//!
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::Full;
//! use hyper_util::client::legacy::Client;
//! use hyper_util::rt::TokioExecutor;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use tower_rampart::breaker::{CircuitOpen, partition};
//! use tower_rampart::classify::{Class, HttpClassifier, Verdict};
//! use tower_rampart::retry::RetryError;
//! use tower_rampart::{CircuitBreakerLayer, ClassifyLayer, RetryLayer};
//!
//! # async fn serve() -> std::net::SocketAddr {
//! #     use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! #     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
//! #     let address = listener.local_addr().unwrap();
//! #     tokio::spawn(async move {
//! #         // The first attempt fails, the second succeeds.
//! #         for answer in ["503 Service Unavailable", "200 OK"] {
//! #             let (mut socket, _) = listener.accept().await.unwrap();
//! #             let _ = socket.read(&mut [0; 4096]).await;
//! #             let answer = format!("HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
//! #             let _ = socket.write_all(answer.as_bytes()).await;
//! #         }
//! #     });
//! #     address
//! # }
//! # #[tokio::main]
//! # async fn main() -> Result<(), tower_rampart::BoxError> {
//! # let upstream = serve().await;
//! let breaker = CircuitBreakerLayer::new_for_http()
//!     .name("billing-api")
//!     .partition_by(partition::header("x-tenant-id"))
//!     .slow_calls(Duration::from_secs(1), 0.9);
//! let breakers = breaker.handle(); // watch and control
//!
//! let mut client = ServiceBuilder::new()
//!     .layer(RetryLayer::new_for_http().attempt_timeout(Duration::from_secs(2)).deadline(Duration::from_secs(15)))
//!     .layer(breaker)
//!     .layer(ClassifyLayer::new(HttpClassifier::new().status(409, Class::Transient)))
//!     .service(Client::builder(TokioExecutor::new()).build_http());
//!
//! let request = Request::get(format!("http://{upstream}/v1/metrics"))
//!     .header("x-tenant-id", "7")
//!     .body(Full::<Bytes>::default())?;
//! match client.ready().await?.call(request).await {
//!     Ok(response) => println!("{}: {}", response.status(), Verdict::of(&response)),
//!     Err(error) => {
//!         if let Some(open) = CircuitOpen::find(&*error) {
//!             println!("serve the cached answer; next probe in {:?}", open.retry_after());
//!         } else if let Some(gave_up) = RetryError::find(&*error) {
//!             println!("{:?} after {} attempts", gave_up.kind(), gave_up.attempts());
//!         }
//!     }
//! }
//! # let tenant = breakers.iter().next().expect("the tenant's breaker");
//! # assert_eq!((tenant.partition(), tenant.state()), ("7", tower_rampart::breaker::State::Closed));
//! # assert_eq!(tenant.snapshot().calls, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Add it to a project
//!
//! ```toml
//! [dependencies]
//! tower-rampart = "0.1"
//! tower = { version = "0.5", features = ["util"] }
//! http = "1"
//!
//! # For the client above:
//! bytes = "1"
//! http-body-util = "0.1"
//! hyper-util = { version = "0.1", features = ["client-legacy", "http1", "tokio"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! # What to read next
//!
//! | to learn | read |
//! |---|---|
//! | what is retried, and why nothing else is | [`retry`] |
//! | when a circuit opens, and how it closes | [`breaker`] |
//! | how to give every tenant or host its own breaker or retry budget | [`cookbook::tenants`], [`breaker::partition`] |
//! | what each status and each error means | [`classify`], for gRPC [`classify::GrpcClassifier`] |
//! | all settings and their defaults | [`RetryLayer`], [`CircuitBreakerLayer`], [`classify::HttpClassifier`] |
//! | how to take settings from a configuration file | [`cookbook::config`], [`InvalidSetting`] |
//! | what to do with the error of a call | [`breaker::CircuitOpen`], [`retry::RetryError`], [`retry::GiveUp`], [`retry::Outcome`] |
//! | how long to wait before a retry | [`cookbook::backoff`], [`retry::Backoff`] |
//! | what a server answers when its upstream fails | [`clients::UpstreamFailure`] |
//! | how to use hyper, reqwest, tonic, axum, or something that is not HTTP | [`cookbook::clients`] |
//! | how to retry a function, with or without a runtime | [`retry::call`], [`retry::call_blocking`] |
//! | where timeouts, limits and other layers go | [`cookbook::order`] |
//! | why the defaults are what they are | [`cookbook::defaults`] |
//! | how to test that a stack survives a storm | [`cookbook::storms`] |
//! | how to log, watch and explain | [`cookbook::observing`], [`explain`] |
//! | how to get numbers into Prometheus or OpenTelemetry | [`cookbook::metrics`], [`metrics`] |
//! | how to test code over the layers | [`cookbook::testing`] |
//! | how to come from another library, setting by setting | [`cookbook::migrating`] |
//! | how to read a compiler error | [`cookbook::troubleshooting`] |
//! | what a call costs | [`cookbook::cost`] |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `hyper` | yes | classifies the errors of the hyper client |
//! | `h2` | yes | classifies refused streams, GOAWAY and resets of HTTP/2 |
//! | `rustls` | no | classifies failures of rustls 0.23 by their type, not only by the io error around them |
//! | `reqwest` | no | classifies the errors of reqwest; its client as a service, and `send`: [`clients::reqwest`] |
//! | `reqwest-middleware` | no | a stack as a middleware, and the other way round: [`clients::reqwest_middleware`] |
//! | `metrics` | no | [`metrics::Publisher`] publishes through the facade `metrics` |
//! | `opentelemetry` | no | [`metrics::observe`] registers observable instruments |
//! | `tonic` | no | classifies the errors of tonic's transport; errors of this crate carry a `tonic::Status`; [`clients`] |
//! | `axum` | no | [`clients::UpstreamFailure`] as the error of a handler |
//! | `tower-http` | no | classifiers of tower-http as ours, and ours in its `TraceLayer` |
//! | `serde` | no | `config`: settings from a file, in JSON, TOML or another format |
//! | `schemars` | no | the JSON schema of such a file |
//! | `status-page` | no | [`status_page`]: a page that shows all breakers, and can control them |
//!
//! [`tower`]: https://docs.rs/tower
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod backoff;
pub mod breaker;
mod call;
pub mod classify;
pub mod clients;
mod clock;
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
pub mod config;
#[cfg(all(doc, not(doctest)))]
pub mod cookbook;
mod explain;
mod isolated;
pub mod metrics;
mod registry;
pub mod retry;
mod seed;
mod settings;
#[cfg(feature = "status-page")]
#[cfg_attr(docsrs, doc(cfg(feature = "status-page")))]
pub mod status_page;
mod sync;

#[doc(inline)]
pub use breaker::CircuitBreakerLayer;
#[doc(inline)]
pub use classify::ClassifyLayer;
pub use explain::explain;
#[doc(inline)]
pub use retry::RetryLayer;
pub use settings::invalid_setting::InvalidSetting;

/// The error type of the layers: the same type as `tower::BoxError`.
///
/// The original error is in the chain of its [`source`](std::error::Error::source)s.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
