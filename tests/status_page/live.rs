//! The stream of events, on paused time.

use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_rampart::status_page::ResponseBody;

use tower_rampart::status_page::StatusPage;

use crate::support::*;

/// Reads a stream of events.
struct Events(std::pin::Pin<Box<ResponseBody>>);

impl Events {
    async fn open(page: StatusPage<impl Fn(&http::request::Parts) -> bool>) -> Self {
        let response = send(page, get("/events")).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(Box::pin(response.into_body()))
    }

    /// The next event, and the time until it came.
    async fn next(&mut self) -> (String, Value, u64) {
        let began = Instant::now();
        let frame = self.0.frame().await.unwrap().unwrap().into_data().unwrap();
        let text = std::str::from_utf8(&frame).unwrap();
        let (name, data) =
            text.strip_prefix("event: ").unwrap().strip_suffix("\n\n").unwrap().split_once("\ndata: ").unwrap();
        assert!(!data.contains('\n'));
        (name.to_owned(), serde_json::from_str(data).unwrap(), began.elapsed().as_millis() as u64)
    }

    /// The partitions in the next event, which must be one of rows.
    async fn rows(&mut self) -> Vec<String> {
        let (name, rows, _) = self.next().await;
        assert_eq!(name, "rows");
        rows.as_array().unwrap().iter().map(|row| row["partition"].as_str().unwrap().to_owned()).collect()
    }

    /// Reads to the next tick, and returns the number of rows before it.
    async fn round(&mut self) -> usize {
        let mut rows = 0;
        loop {
            match self.next().await {
                (name, _, _) if name == "tick" => return rows,
                (_, sent, _) => rows += sent.as_array().map_or(0, Vec::len),
            }
        }
    }

    /// The number of breakers and of those that are gone in the next event, which must be a tick; and the time until
    /// it.
    async fn tick(&mut self) -> (u64, usize, u64) {
        let (name, tick, millis) = self.next().await;
        assert_eq!(name, "tick");
        (tick["breakers"].as_u64().unwrap(), tick["gone"].as_array().unwrap().len(), millis)
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_all_breakers_and_goes_on_with_what_changed() {
    let tenants = tenants("billing");
    let [one, two] = ["one", "two"].map(|name| tenant(&tenants, name));
    let mut events = Events::open(StatusPage::new().breakers(tenants)).await;
    assert_eq!(events.next().await, ("hello".to_owned(), json!({ "can_act": false }), 0));
    assert_eq!(events.rows().await, ["one", "two"]);
    assert_eq!(events.tick().await, (2, 0, 0));

    one.force_open();
    let (name, rows, millis) = events.next().await;
    assert_eq!((&*name, millis, rows.as_array().unwrap().len()), ("rows", 1_000, 1));
    assert_eq!((&rows[0]["partition"], &rows[0]["state"]), (&json!("one"), &json!("open")));
    assert_eq!(rows[0]["history"][0]["cause"], "by hand");
    assert_eq!(events.tick().await, (2, 0, 0));

    fail(&two, 1);
    assert_eq!((events.rows().await, events.tick().await), (vec!["two".to_owned()], (2, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn time_alone_is_no_news_but_every_five_seconds_that_the_stream_lives() {
    let tenants = tenants("billing");
    let open = tenant(&tenants, "open");
    fail(&open, 2);
    let mut events = Events::open(StatusPage::new().breakers(tenants)).await;
    events.next().await;
    assert_eq!((events.rows().await, events.tick().await), (vec!["open".to_owned()], (1, 0, 0)));
    assert_eq!(events.tick().await, (1, 0, 5_000));
    // The open time ends after ten seconds, without a call.
    let (name, rows, millis) = events.next().await;
    assert_eq!((&*name, millis, &rows[0]["state"]), ("rows", 5_000, &json!("half-open")));
}

#[tokio::test(start_paused = true)]
async fn rule_5_counts_of_thousands_are_sent_less_often_and_states_at_once() {
    let tenants = tenants("billing");
    for number in 0..5_000 {
        tenant(&tenants, &number.to_string()).try_acquire().unwrap().succeed();
    }
    let mut events = Events::open(StatusPage::new().breakers(tenants.clone())).await;
    assert_eq!(events.round().await, 5_000);
    (0..20).for_each(|number| tenant(&tenants, &number.to_string()).force_open());
    assert_eq!(events.round().await, 20);

    tenants.iter().for_each(|tenant| drop(tenant.try_acquire().map(|permit| permit.succeed())));
    let rows = [events.round().await, events.round().await];
    // Each once, about half of them at a time. The open ones have rejected a call.
    assert!(rows[0] + rows[1] == 5_000 && rows[0].abs_diff(2_500) < 300, "{rows:?}");
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_is_gone_is_named_once() {
    let tenants = tenants("billing");
    let _ = (tenant(&tenants, "one"), tenant(&tenants, "two"));
    let mut events = Events::open(StatusPage::new().breakers(tenants.clone())).await;
    events.next().await;
    events.rows().await;
    events.tick().await;
    assert!(tenants.remove(&"one".to_owned()));
    assert_eq!(events.tick().await, (1, 1, 1_000));
    assert_eq!(events.tick().await, (1, 0, 5_000));
    let _ = tenant(&tenants, "one");
    assert_eq!((events.rows().await, events.tick().await), (vec!["one".to_owned()], (2, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn rule_6_the_history_keeps_the_last_sixteen_changes() {
    let tenants = tenants("billing");
    let breaker = tenant(&tenants, "one");
    let page = StatusPage::new().breakers(tenants);
    for _ in 0..10 {
        breaker.force_open();
        breaker.reset();
    }
    breaker.disable();
    let row = list(page).await["breakers"][0].clone();
    let history = row["history"].as_array().unwrap();
    assert_eq!((history.len(), &row["totals"]["transitions"]), (16, &json!(21)));
    assert_eq!(history[15]["mode"], "disabled");
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_failed_probe_is_counted_where_the_breaker_opened() {
    let tenants = tenants("billing");
    let breaker = tenant(&tenants, "one");
    let page = StatusPage::new().breakers(tenants);
    fail(&breaker, 2);
    for _ in 0..100 {
        tokio::time::advance(10 * SECOND).await;
        fail(&breaker, 1);
    }
    tokio::time::advance(10 * SECOND).await;
    breaker.try_acquire().unwrap().succeed();
    let row = list(page).await["breakers"][0].clone();
    let history: Vec<_> = row["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (&change["to"], &change["reopened"], &change["ago_ms"]))
        .collect();
    assert_eq!(
        history,
        [
            (&json!("open"), &json!(100), &json!(1_010_000)),
            (&json!("half-open"), &json!(0), &json!(0)),
            (&json!("closed"), &json!(0), &json!(0))
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn each_client_hears_whether_it_may_act() {
    let page = StatusPage::new().guard(|head| head.headers.contains_key("x-operator"));
    let mut request = get("/events");
    request.headers_mut().insert("x-operator", "ada".parse().unwrap());
    let mut operator = Events(Box::pin(send(page.clone(), request).await.into_body()));
    assert_eq!(operator.next().await.1, json!({ "can_act": true }));
    assert_eq!(Events::open(page).await.next().await.1, json!({ "can_act": false }));
}

#[tokio::test]
async fn rule_5_a_stream_that_is_dropped_leaves_nothing_behind() {
    let tenants = tenants("billing");
    let breaker = tenant(&tenants, "one");
    let guard = std::sync::Arc::new(());
    let held = guard.clone();
    let page = StatusPage::new().breakers(tenants).guard(move |_| std::sync::Arc::strong_count(&held) > 0);
    let mut events = Events::open(page.clone()).await;
    events.next().await;
    events.rows().await;
    drop((events, page));
    assert_eq!(std::sync::Arc::strong_count(&guard), 1);
    breaker.force_open();
}
