//! A page that shows all breakers to an operator, and can control them.
//!
//! [`StatusPage`] is a tower service over `http` types, to be mounted in the router or behind the server that the
//! program already has, best on a port that only operators reach.
//!
//! ```
//! use tower_rampart::CircuitBreakerLayer;
//! use tower_rampart::breaker::partition;
//! use tower_rampart::status_page::StatusPage;
//! # use tower::ServiceExt;
//! # #[derive(Clone)]
//! # struct Operator;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let tenants = CircuitBreakerLayer::new_for_http().name("billing-api").partition_by(partition::header("x-tenant-id"));
//! let database = CircuitBreakerLayer::new_for_http().name("database");
//!
//! let page = StatusPage::new()
//!     .breakers(tenants.handle())
//!     .breakers(database.handle())
//!     // A layer in front has checked who it is, and left this in the extensions.
//!     .guard(|request| request.extensions.get::<Operator>().is_some());
//! # let response = page.oneshot(http::Request::get("/breakers.json").body(()).unwrap()).await.unwrap();
//! # assert_eq!(response.status(), 200);
//! # }
//! ```
//!
//! | request, below where the page is mounted | response |
//! |---|---|
//! | `GET /` | the page: open breakers first, search, the last changes of each as a strip |
//! | `GET /breakers.json` | all breakers in no order, as JSON |
//! | `GET /events` | a stream of server-sent events: all breakers, then those that changed |
//! | `POST /breakers/{id}/force-open`, `/disable`, `/reset` | the breaker after that, as JSON |
//!
//! # Rules
//!
//! 1. **Read-only** unless a [`guard`](StatusPage::guard) is set. Then the page acts for those requests that the guard
//!    admits and that a page of the same origin has sent: `Sec-Fetch-Site` is `same-origin`, or, without that header,
//!    `Origin` names the `Host`. All others get a 403. So no page of another origin can act through the browser of an
//!    operator. A program sends `Sec-Fetch-Site: same-origin` itself. A proxy in front must pass on `Host`. A guard
//!    that checks no operator must compare `Host` with the names of the server: otherwise a page whose name an attacker
//!    resolves to this server has the same origin.
//! 2. **Who reads** is for the server that mounts the page to decide.
//! 3. **Labels** are those of errors and telemetry: [redacted](crate::CircuitBreakerLayer::redact_labels) if they are
//!    there. An id is a keyed hash of where a breaker lies and of its label, and names the breaker as long as that
//!    exists. Later another breaker with an equal label can have the same id.
//! 4. **Nothing is loaded** from elsewhere, and no label becomes markup: a `Content-Security-Policy` admits only what
//!    has the nonce of the response, and text only as text.
//! 5. **No call pays**, and no runtime thread is held: one poll reads at most 128 breakers, and 17 without a key, then
//!    other tasks run. A stream reads all breakers once, a second later again, and so on, and sends what has changed:
//!    new states at once, and counts alone every second of up to 4,095 breakers, every two seconds of twice as many,
//!    and so on. It needs tokio's timer, and ends with its connection.
//! 6. **No breaker is kept** from being evicted. A page remembers the last 16 changes of each of 4,096 breakers; a
//!    probe that failed is counted as `reopened` where the breaker opened.
//!
//! # JSON
//!
//! `breakers.json` is `{"layers": […], "breakers": […]}`. A layer has `name` and
//! [`overflowed`](crate::breaker::Handle::overflowed). A breaker has `id`, `name`, `partition`, and the fields of
//! [`Snapshot`](crate::breaker::Snapshot), in which times are milliseconds: `retry_after_ms`, `unchanged_for_ms`. Its
//! `history` lists changes, oldest first, with `from`, `to`, `mode`, `cause`, `ago_ms` and `reopened`. A breaker can
//! come twice, with the same id, in a list that is read while others are evicted.
//!
//! The stream has three events. `hello` begins it: `can_act` is true if the guard admits this client. `rows` is a list
//! of breakers. `tick` ends a round that had news, and comes at least every five seconds: `breakers` is their number,
//! `gone` lists the ids of those that are no more, and `layers` is as above.
//!
//! # Where to look
//!
//! `page` is the service, `route` and `same_origin` read a request, `response` makes the head of a response. `breakers`
//! goes through the breakers of all layers and keeps their history. `body` makes the list and the stream while they are
//! sent, of `row`s.

mod body;
mod breakers;
mod future;
mod page;
mod response;
mod route;
mod row;
mod same_origin;
mod viewers;

pub use self::body::ResponseBody;
pub use self::future::ResponseFuture;
pub use self::page::StatusPage;
