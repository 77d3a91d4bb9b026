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
//! | `GET /recordings/{number}` | the [`Recording`](crate::breaker::Recording) of a layer that has one, without labels |
//! | `GET /events` | a stream of server-sent events: all breakers, then those that changed |
//! | `POST /breakers/{id}/force-open`, `/disable`, `/reset` | the breaker after that, as JSON |
//!
//! # Rules
//!
//! 1. **Read-only** unless a [`guard`](StatusPage::guard) is set. Then the page acts on a request if the guard admits
//!    it and a browser sent it from a page of the same origin: `Sec-Fetch-Site` is `same-origin`, or that header is
//!    missing and `Origin` names the `Host`. Every other request gets a 403, so no other site can act through the
//!    browser of an operator. A script sends `Sec-Fetch-Site: same-origin` itself, and a proxy in front must keep
//!    `Host`. A guard that does not check who the operator is must compare `Host` with the names of the server: an
//!    attacker can point a domain at this server, and a page of that domain then has the same origin.
//! 2. **Who reads** is for the server that mounts the page to decide.
//! 3. **Labels** are those of errors and telemetry: [redacted](crate::CircuitBreakerLayer::redact_labels) if they are
//!    there. An id is a keyed hash of the layer, the address of the breaker, its label and the hash of its key. It
//!    names one breaker as long as that exists. Later it can name a new breaker of the same key, but one of another key
//!    only if it has the same address and label and the hashes collide, which is one chance in four billion. So a
//!    button acts on the breaker that is shown, or gets a 404.
//! 4. **Nothing is loaded** from elsewhere, and no label becomes markup: the `Content-Security-Policy` admits only the
//!    script and the style with the nonce of the response, and the script writes labels as text.
//! 5. **No call waits** for the page, and the page holds no thread: one poll reads at most 128 breakers, and the 17
//!    without a key, then other tasks run. A stream reads all breakers, pauses for a second, and begins again. Each
//!    such round sends the breakers whose state has changed. Those of which only counts have changed are sent in every
//!    round up to 4,095 breakers, in every second one up to 8,191, and so on. A stream needs tokio's timer, and ends
//!    with its connection.
//! 6. **No breaker is kept** from being evicted. A page remembers the last 16 changes of each of 4,096 breakers. A
//!    probe that fails adds none: it is counted in the change that opened the breaker, as `reopened`.
//! 7. **Viewers are bounded**: a page serves 16 streams and recordings at once, and a further one gets a 503 with
//!    `Retry-After`. A stream first sends about 350 bytes of each breaker, and remembers about 60 as long as it is open:
//!    23 MB and 4 MB at 65,536 breakers. It queues nothing for a slow reader. The page closes its stream while its tab is
//!    hidden. A recording is copied in one poll, and holds at least 72 bytes for each decision until it is sent.
//!
//! # JSON
//!
//! `breakers.json` is `{"layers": […], "breakers": […]}`. A layer has `name` and
//! [`overflowed`](crate::breaker::Handle::overflowed), and with a flight recorder the path of its `recording`. A breaker
//! has `id`, `name`, `partition`, and the fields of [`Snapshot`](crate::breaker::Snapshot), in which times are
//! milliseconds: `retry_after_ms`, `unchanged_for_ms`. Its `explanation` is a sentence about what opened it, and null
//! while it is closed. Its `history` lists changes, oldest first, with `from`, `to`, `mode`, `cause`, `ago_ms` and
//! `reopened`. A breaker can come twice, with the same id, in a list that is read while others are evicted.
//!
//! The stream has three events. `hello` begins it: `can_act` is true if the guard admits this client. `rows` is a list
//! of breakers. `tick` ends a round that had news, and comes at least every five seconds: `breakers` is their number,
//! `gone` lists the ids of those that are no more, and `layers` is as above.
//!
//! # Where to look
//!
//! `page` is the service, `route` and `same_origin` read a request, `response` makes the head of a response, and
//! `viewers` counts those who read a stream or a recording. `breakers` goes through the breakers of all layers and keeps
//! their history. `body` makes the list and the stream while they are sent, of `row`s.

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
