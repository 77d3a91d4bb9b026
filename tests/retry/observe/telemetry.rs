//! One event for every retry and for every give-up that matters, without data of the request.

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::sync::Once;

use http::Request;
use http_body_util::Full;
use tower_rampart::RetryLayer;
use tower_rampart::retry::{self, Backoff, RetryPolicy};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use crate::support::*;

thread_local! {
    /// The events of the current thread. Every test has a thread of its own.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Fields(String);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                write!(self.0, " {}={value:?}", field.name()).unwrap();
            }
        }
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let metadata = event.metadata();
        if metadata.target().starts_with("tower_rampart") {
            LINES.with_borrow_mut(|lines| {
                lines.push(format!("{} {}{}", metadata.level(), metadata.target(), fields.0));
            });
        }
    }
}

/// What is logged while this runs.
pub(crate) async fn lines_of(run: impl Future<Output = ()>) -> Vec<String> {
    // One subscriber for all tests: tracing caches interest, and a subscriber per test would race with that.
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| tracing::subscriber::set_global_default(Registry::default().with(Lines)).unwrap());
    LINES.take();
    run.await;
    LINES.take()
}

async fn lines(
    step: impl IntoIterator<Item = Step>,
    request: Request<Full<bytes::Bytes>>,
    attempts: u32,
) -> Vec<String> {
    let layer = layer()
        .name("billing")
        .partition_label(|head| Some(head.headers.get("x-tenant-id")?.to_str().ok()?.to_owned()));
    lines_of(async {
        let _ = send(layer.max_attempts(attempts), Upstream::new(step), request).await;
    })
    .await
}

fn of_tenant_7() -> Request<Full<bytes::Bytes>> {
    Request::get("http://api.example/path").header("x-tenant-id", "7").body(Full::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_event_for_every_retry_and_one_for_the_give_up() {
    assert_eq!(
        lines([answer(503), answer(429), reset()], of_tenant_7(), 3).await,
        [
            r#"DEBUG tower_rampart::retry message=retrying name="billing" attempt=1 wait_ms=100 reason="status" code=503 method="GET" host="api.example" partition="7""#,
            r#"DEBUG tower_rampart::retry message=retrying name="billing" attempt=2 wait_ms=200 reason="status" code=429 method="GET" host="api.example" partition="7""#,
            r#"WARN tower_rampart::retry message=gave up name="billing" kind="exhausted" attempts=3 reason="reset" method="GET" host="api.example" partition="7" count=1"#,
        ]
    );
    assert_eq!(
        lines([answer(503)], post("5 euros"), 3).await,
        [
            r#"WARN tower_rampart::retry message=gave up name="billing" kind="not_idempotent" attempts=1 reason="status" code=503 method="POST" count=1"#
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_success_a_terminal_failure_and_a_single_attempt_log_nothing() {
    assert!(lines([answer(200)], get(), 3).await.is_empty());
    assert!(lines([answer(404)], get(), 3).await.is_empty());
    assert!(lines([circuit_open()], get(), 3).await.is_empty());
    assert!(lines([answer(503)], get(), 1).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reconfiguration_is_reported_once_by_the_names_of_what_it_changes() {
    let retries = RetryPolicy::new().name("billing").handle();
    let other = || RetryPolicy::new().max_attempts(7).deadline(SECOND);
    let lines = lines_of(async {
        assert!(!retries.reconfigure(&other()).unwrap().is_empty());
        assert!(retries.reconfigure(&other()).unwrap().is_empty());
        assert!(retries.reconfigure(&other().name("other")).is_err());
    });
    let expected =
        r#"INFO tower_rampart::retry message=retries reconfigured name="billing" changes=max_attempts, deadline"#;
    assert_eq!(lines.await, [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_layer_and_a_function_of_one_policy_log_one_line_a_second() {
    let policy = RetryPolicy::new().name("billing").max_attempts(2).backoff(Backoff::none());
    let lines = lines_of(async {
        let by_layer = || send(RetryLayer::new_for_http().policy(&policy), Upstream::new([answer(503)]), get());
        let by_function = || retry::call(&policy, || std::future::ready(Err::<(), _>("down")));
        assert!(by_layer().await.is_ok() && by_function().await.is_err());
        tokio::time::advance(SECOND).await;
        assert!(by_layer().await.is_ok());
    });
    let lines: Vec<_> = lines.await.into_iter().filter(|line| line.starts_with("WARN")).collect();
    assert!(lines.len() == 2 && lines[0].ends_with("count=1") && lines[1].ends_with("count=2"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn events_contain_no_data_of_the_request() {
    let request = || {
        Request::put("https://user:secret@api.example/secret?token=secret")
            .header("authorization", "secret")
            .header("x-secret", "1")
            .body(Full::from("secret"))
            .unwrap()
    };
    for step in [answer(503).header("set-cookie", "secret"), reset()] {
        let lines = lines([step.clone()], request(), 2).await;
        assert_eq!(lines.len(), 2);
        assert!(!lines.concat().contains("secret"), "{lines:?}");
        if let Err(error) = send(layer().max_attempts(2), Upstream::new([step]), request()).await {
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }
}
