//! One span for each attempt, within the span of the caller.

#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::fmt::{Debug, Write};
use std::io;
use std::sync::Once;
use std::time::Duration;

use http::Response;
use tower::{BoxError, Layer as _, ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::breaker::partition;
use tower_rampart::classify::{ClassifiedError, Processed, Reason, Verdict};
use tower_rampart::retry::{self, Attempt, Hedge, ReplayBody, RetryPolicy};
use tower_rampart::{CircuitBreakerLayer, RetryLayer};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Instrument, Subscriber, info_span};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

type Request = http::Request<ReplayBody<String>>;

const MS: Duration = Duration::from_millis(1);
const SECRET: &str = "hunter2";

/// A span as it was opened, with what was recorded later.
#[derive(Debug)]
struct Span {
    id: Id,
    text: String,
    parent: Option<String>,
    follows: Vec<Id>,
    is_closed: bool,
}

thread_local! {
    /// The spans of the current thread. Every test has a thread of its own.
    static SPANS: RefCell<Vec<Span>> = const { RefCell::new(Vec::new()) };
    /// Whether every record in a span of the current thread panics.
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

struct Recorder;

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

fn update(id: &Id, update: impl FnOnce(&mut Span)) {
    SPANS.with_borrow_mut(|spans| {
        if let Some(span) = spans.iter_mut().rfind(|span| span.id == *id) {
            update(span);
        }
    });
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        let mut text = format!("{} {} {}", metadata.level(), metadata.target(), metadata.name());
        attributes.record(&mut Fields(&mut text));
        let parent = context.span(id).and_then(|span| Some(span.parent()?.name().to_owned()));
        let span = Span { id: id.clone(), text, parent, follows: Vec::new(), is_closed: false };
        SPANS.with_borrow_mut(|spans| spans.push(span));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        assert!(!PANICS.get(), "a subscriber that panics");
        update(id, |span| values.record(&mut Fields(&mut span.text)));
    }

    fn on_follows_from(&self, id: &Id, other: &Id, _: Context<'_, S>) {
        update(id, |span| span.follows.push(other.clone()));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        update(&id, |span| span.is_closed = true);
    }
}

fn listen() {
    // One subscriber for all tests: tracing caches interest, and a subscriber per test would race with that.
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| tracing::subscriber::set_global_default(Registry::default().with(Recorder)).unwrap());
    SPANS.take();
}

/// The spans of attempts that a call within a span of its own opens. All of them must be closed and lie in that span.
async fn attempts_of(call: impl Future) -> Vec<Span> {
    listen();
    call.instrument(info_span!("caller")).await;
    attempts()
}

fn attempts() -> Vec<Span> {
    const START: &str = "INFO tower_rampart::retry rampart.retry.attempt ";
    let mut spans = SPANS.take();
    spans.retain(|span| span.text.starts_with(START));
    for span in &mut spans {
        assert!(span.is_closed && span.parent.as_deref() == Some("caller"), "{span:?}");
        span.text.drain(..START.len());
    }
    spans
}

fn texts(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| &*span.text).collect()
}

fn layer() -> RetryLayer {
    RetryLayer::new_for_http().name("billing").backoff(100 * MS).no_budget()
}

fn get() -> http::Request<String> {
    http::Request::get("/").header("x-tenant-id", "7").body(String::new()).unwrap()
}

/// Answers the attempts with these statuses.
async fn answer(request: Request, statuses: [u16; 3]) -> Result<Response<()>, BoxError> {
    let status = statuses[Attempt::of(&request).number() as usize - 1];
    Ok(Response::builder().status(status).body(())?)
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_span_with_what_came_before_and_after() {
    let client = layer().attempt_spans().layer(service_fn(|request| answer(request, [503, 429, 200])));
    let request = http::Request::get("http://api.example/path").body(String::new()).unwrap();
    let spans = attempts_of(client.oneshot(request)).await;
    let origin = r#"method="GET" host="api.example""#;
    assert_eq!(
        texts(&spans),
        [
            format!(
                r#"name="billing" attempt=1 {origin} outcome="failure" error.type="status" code=503 otel.status_code="ERROR""#
            ),
            format!(
                r#"name="billing" attempt=2 reason="status" wait_ms=100 {origin} http.request.resend_count=1 outcome="failure" error.type="status" code=429 otel.status_code="ERROR""#
            ),
            format!(
                r#"name="billing" attempt=3 reason="status" wait_ms=100 {origin} http.request.resend_count=2 outcome="success""#
            ),
        ]
    );
    assert!(spans.iter().all(|span| span.follows.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn spans_of_the_client_lie_in_the_attempt() {
    listen();
    let client = layer().attempt_spans().layer(service_fn(|request| {
        let in_call = info_span!("in call");
        async move {
            let _in_call = in_call;
            answer(request, [503, 200, 0]).instrument(info_span!("in future")).await
        }
    }));
    client.oneshot(get()).instrument(info_span!("caller")).await.unwrap();
    let parents: Vec<_> = SPANS.take().into_iter().filter_map(|span| span.parent).collect();
    assert_eq!(parents.iter().filter(|parent| *parent == "rampart.retry.attempt").count(), 4, "{parents:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_an_open_circuit_rejects_differs_from_one_that_fails() {
    for (is_redacted, label) in [(false, "7"), (true, "#")] {
        let breaker = CircuitBreakerLayer::new_for_http()
            .name("upstream")
            .partition_by(partition::header("x-tenant-id"))
            .redact_labels(is_redacted)
            .consecutive_failures(2);
        let breaker = breaker.layer(service_fn(|request| answer(request, [503, 503, 200])));
        // A service in between has a span of its own.
        let between = service_fn(|request| breaker.clone().oneshot(request).instrument(info_span!("between")));
        let client = layer().retry_circuit_open(true).attempt_spans().layer(between);
        let spans = attempts_of(client.oneshot(get())).await;
        let texts = texts(&spans);
        let breaker = format!(r#"breaker.name="upstream" breaker.partition="{label}"#);
        assert_eq!(texts.len(), 3);
        for (text, end) in texts.iter().zip([
            r#"outcome="failure" error.type="status" code=503 otel.status_code="ERROR""#,
            r#"outcome="failure" error.type="status" code=503 otel.status_code="ERROR""#,
            r#"outcome="rejected" error.type="circuit_open" otel.status_code="ERROR""#,
        ]) {
            assert!(text.contains(&breaker) && text.ends_with(end), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hedge_follows_from_the_attempt_beside_which_it_is_sent() {
    let slow_at_first = service_fn(|request: Request| async move {
        let number = Attempt::of(&request).number();
        tokio::time::sleep(if number == 1 { 1_000 * MS } else { 20 * MS }).await;
        answer(request, [200, 200, 200]).await
    });
    let client = layer().attempt_spans().hedge(Hedge::after(50 * MS)).layer(slow_at_first);
    let spans = attempts_of(client.oneshot(get())).await;
    assert_eq!(
        texts(&spans),
        [
            r#"name="billing" attempt=1 method="GET" outcome="dropped""#,
            r#"name="billing" attempt=2 hedge=true reason="slow" method="GET" http.request.resend_count=1 outcome="success""#,
        ]
    );
    assert_eq!((spans[0].follows.len(), &spans[1].follows), (0, &vec![spans[0].id.clone()]));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_the_breaker_rejects_leaves_the_span_of_the_attempt_open() {
    let breaker = CircuitBreakerLayer::new_for_http().name("upstream");
    let breakers = breaker.handle();
    let slow = breaker.layer(service_fn(|request: Request| {
        breakers.default_partition().force_open();
        async move {
            tokio::time::sleep(100 * MS).await;
            answer(request, [200, 0, 0]).await
        }
    }));
    let client = layer().attempt_spans().hedge(Hedge::after(50 * MS)).layer(slow);
    let spans = attempts_of(client.oneshot(get())).await;
    let texts = texts(&spans);
    assert_eq!(texts[0], r#"name="billing" attempt=1 method="GET" outcome="success""#);
    assert!(texts[1].contains("attempt=2 hedge=true") && texts[1].contains(r#"outcome="rejected""#), "{texts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_ends_the_span_of_what_it_cuts() {
    let breaker = CircuitBreakerLayer::new_for_http().name("upstream").partition_by(partition::header("x-tenant-id"));
    let hangs = service_fn(|_: Request| std::future::pending::<Result<Response<()>, BoxError>>());
    let client = ServiceBuilder::new()
        .layer(layer().attempt_timeout(10 * MS).deadline(15 * MS).backoff(MS).attempt_spans())
        .layer(breaker)
        .service(hangs);
    let end = r#"breaker.name="upstream" breaker.partition="7" outcome="failure" error.type="timeout" otel.status_code="ERROR""#;
    let spans = attempts_of(client.oneshot(get())).await;
    assert!(!spans.is_empty() && spans.iter().all(|span| span.text.ends_with(end)), "{spans:?}");

    let hedged = layer().attempt_timeout(30 * MS).max_attempts(2).attempt_spans().hedge(Hedge::after(10 * MS));
    let spans = attempts_of(hedged.layer(hangs).oneshot(get())).await;
    let end = r#"outcome="failure" error.type="timeout" otel.status_code="ERROR""#;
    assert!(spans.len() == 2 && spans.iter().all(|span| span.text.ends_with(end)), "{spans:?}");
    let hedged = layer().deadline(30 * MS).attempt_spans().hedge(Hedge::after(10 * MS));
    let spans = attempts_of(hedged.layer(hangs).oneshot(get())).await;
    assert!(spans.len() == 2 && spans.iter().all(|span| span.text.ends_with(end)), "{spans:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_drops_the_attempt() {
    let hangs = service_fn(|_: Request| std::future::pending::<Result<Response<()>, BoxError>>());
    let call = layer().attempt_spans().layer(hangs).oneshot(get());
    let spans = attempts_of(tokio::time::timeout(10 * MS, call)).await;
    assert_eq!(texts(&spans), [r#"name="billing" attempt=1 method="GET" outcome="dropped""#]);
}

#[tokio::test(start_paused = true)]
async fn a_transparent_retry_has_a_span_of_its_own_and_is_a_resend() {
    let given_back = Verdict::transient().with_processed(Processed::No).with_reason(Reason::REFUSED_STREAM);
    let sends = std::sync::atomic::AtomicU32::new(0);
    let client = layer().attempt_spans().layer(service_fn(|_: Request| {
        let is_first = sends.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        std::future::ready(match is_first {
            true => Err(ClassifiedError::new(given_back)),
            false => Ok(Response::new(())),
        })
    }));
    let spans = attempts_of(client.oneshot(get())).await;
    assert_eq!(
        texts(&spans),
        [
            r#"name="billing" attempt=1 method="GET" outcome="failure" error.type="refused_stream" otel.status_code="ERROR""#,
            r#"name="billing" attempt=1 reason="refused_stream" wait_ms=0 method="GET" http.request.resend_count=1 outcome="success""#,
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn functions_open_spans_by_the_same_policy() {
    let policy = RetryPolicy::new().name("config").backoff(MS).attempt_spans();
    let expected = [
        r#"name="config" attempt=1 outcome="failure" error.type="reset" otel.status_code="ERROR""#,
        r#"name="config" attempt=2 reason="reset" wait_ms=1 outcome="success""#,
    ];
    let mut calls = 0;
    let mut operation = || {
        calls += 1;
        if calls % 2 == 1 { Err(io::Error::from(io::ErrorKind::ConnectionReset)) } else { Ok(()) }
    };
    let spans = attempts_of(retry::call(&policy, || std::future::ready(operation()))).await;
    assert_eq!(texts(&spans), expected);

    listen();
    info_span!("caller").in_scope(|| retry::call_blocking(&policy, operation).unwrap());
    assert_eq!(texts(&attempts()), expected);
}

#[tokio::test(start_paused = true)]
async fn without_the_setting_there_is_no_span() {
    let client = layer().layer(service_fn(|request| answer(request, [503, 503, 200])));
    assert!(attempts_of(client.oneshot(get())).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_disturbs_no_call() {
    listen();
    let breaker = CircuitBreakerLayer::new_for_http().name("billing").consecutive_failures(2);
    let client = ServiceBuilder::new()
        .layer(layer().attempt_spans())
        .layer(breaker.clone())
        .service(service_fn(|request| answer(request, [503, 503, 200])));
    PANICS.set(true);
    let error = client.clone().oneshot(get()).await.unwrap_err();
    PANICS.set(false);
    assert_eq!(error.to_string(), "gave up after 3 attempts: the circuit is open");
    assert_eq!(breaker.breaker().snapshot().totals.failed, 2);
}

/// A second panic would end the process.
#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_while_a_call_does_is_ignored() {
    listen();
    let client = layer().attempt_spans().layer(service_fn(|_: Request| async {
        PANICS.set(true);
        panic!("the client");
        #[expect(unreachable_code, reason = "names the type")]
        Ok::<_, BoxError>(Response::new(()))
    }));
    let call = std::panic::AssertUnwindSafe(client.oneshot(get()));
    let panicked = futures_util::FutureExt::catch_unwind(call).await;
    PANICS.set(false);
    assert!(panicked.is_err_and(|panic| panic.downcast_ref() == Some(&"the client")));
}

#[tokio::test(start_paused = true)]
async fn spans_contain_no_data_of_the_request() {
    listen();
    let client = layer().attempt_spans().layer(service_fn(|request| answer(request, [503, 503, 503])));
    let request = http::Request::get(format!("http://user:{SECRET}@host/{SECRET}?{SECRET}")).header("x-key", SECRET);
    client.oneshot(request.body(SECRET.to_owned()).unwrap()).await.unwrap();
    let spans = SPANS.take();
    assert!(spans.len() == 3 && spans.iter().all(|span| !span.text.contains(SECRET)), "{spans:?}");
}
