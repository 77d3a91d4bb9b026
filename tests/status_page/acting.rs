//! What a page allows: reading only, unless a guard and the origin of the request say yes.

use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use serde_json::Value;
use tower_rampart::breaker::{Mode, State};
use tower_rampart::status_page::ResponseBody;

use tower_rampart::status_page::StatusPage;

use crate::support::*;

const SAME_ORIGIN: &[(&str, &str)] = &[("sec-fetch-site", "same-origin")];

fn post(path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let request = headers.iter().fold(Request::post(path), |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap()
}

async fn refusal(response: Response<ResponseBody>) -> (StatusCode, String) {
    (response.status(), String::from_utf8(bytes(response).await.to_vec()).unwrap())
}

/// A tenant, its page with a guard, and the path of its breaker on it.
async fn guarded()
-> (tower_rampart::breaker::CircuitBreaker, StatusPage<impl Fn(&http::request::Parts) -> bool + Clone>, String) {
    let tenants = tenants("billing");
    let breaker = tenant(&tenants, "seven");
    let page = StatusPage::new().breakers(tenants).guard(|head| !head.headers.contains_key("x-stranger"));
    let path = format!("/breakers/{}", list(page.clone()).await["breakers"][0]["id"].as_str().unwrap());
    (breaker, page, path)
}

#[tokio::test]
async fn an_action_answers_with_the_new_state() {
    let (breaker, page, path) = guarded().await;
    for (action, state, mode) in [
        ("force-open", State::Open, Mode::ForcedOpen),
        ("disable", State::Closed, Mode::Disabled),
        ("reset", State::Closed, Mode::Automatic),
    ] {
        let response = send(page.clone(), post(&format!("{path}/{action}"), SAME_ORIGIN)).await;
        assert_eq!(response.status(), StatusCode::OK, "{action}");
        let row: Value = serde_json::from_slice(&bytes(response).await).unwrap();
        assert_eq!((&row["state"], &row["mode"]), (&state.to_string().into(), &mode.to_string().into()), "{action}");
        assert_eq!((breaker.state(), breaker.mode()), (state, mode), "{action}");
        assert_eq!(row["history"].as_array().unwrap().last().unwrap()["cause"], "by hand", "{action}");
    }
}

#[tokio::test]
async fn rule_1_without_a_guard_the_page_only_reads() {
    let tenants = tenants("billing");
    let breaker = tenant(&tenants, "seven");
    let page = StatusPage::new().breakers(tenants);
    let id = list(page.clone()).await["breakers"][0]["id"].as_str().unwrap().to_owned();
    let response = send(page, post(&format!("/breakers/{id}/force-open"), SAME_ORIGIN)).await;
    assert_eq!((response.status(), breaker.mode()), (StatusCode::FORBIDDEN, Mode::Automatic));
}

#[tokio::test]
async fn rule_1_the_guard_decides_by_the_request() {
    let (breaker, page, path) = guarded().await;
    let stranger = post(&format!("{path}/force-open"), &[SAME_ORIGIN[0], ("x-stranger", "yes")]);
    assert_eq!(refusal(send(page, stranger).await).await, (StatusCode::FORBIDDEN, "forbidden\n".to_owned()));
    assert_eq!(breaker.mode(), Mode::Automatic);
}

#[tokio::test]
async fn rule_1_only_the_page_itself_acts() {
    let (breaker, page, path) = guarded().await;
    let path = format!("{path}/force-open");
    let whole = format!("https://ops.example:8443{path}");
    for (path, headers, is_admitted) in [
        (&path, &[] as &[_], false),
        (&path, &[("sec-fetch-site", "same-site")], false),
        (&path, &[("sec-fetch-site", "cross-site")], false),
        (&path, &[("sec-fetch-site", "none")], false),
        (&path, &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
        // What the browser says counts more than the names, which a proxy may change.
        (&path, &[("sec-fetch-site", "cross-site"), ("origin", "http://ops.example"), ("host", "ops.example")], false),
        (&path, &[("sec-fetch-site", "same-origin"), ("origin", "https://ops.example"), ("host", "inner")], true),
        (&path, &[("origin", "http://ops.example"), ("host", "ops.example")], true),
        (&path, &[("origin", "http://OPS.example:80"), ("host", "ops.example:80")], true),
        (&path, &[("origin", "http://evil.example"), ("host", "ops.example")], false),
        (&path, &[("origin", "http://ops.example.evil"), ("host", "ops.example")], false),
        (&path, &[("origin", "http://ops.example:81"), ("host", "ops.example")], false),
        (&path, &[("origin", "null"), ("host", "null")], false),
        (&path, &[("origin", "http://ops.example")], false),
        (&path, &[("host", "ops.example")], false),
        (&path, &[("origin", "http://a"), ("origin", "http://ops.example"), ("host", "ops.example")], false),
        // HTTP/2 has the host in the URI.
        (&whole, &[("origin", "https://ops.example:8443")], true),
        (&whole, &[("origin", "https://evil.example:8443"), ("host", "evil.example:8443")], false),
    ] {
        breaker.reset();
        let answer = refusal(send(page.clone(), post(path, headers)).await).await;
        if is_admitted {
            assert_eq!((answer.0, breaker.mode()), (StatusCode::OK, Mode::ForcedOpen), "{headers:?}");
        } else {
            let expected = (StatusCode::FORBIDDEN, "only the page itself may act\n".to_owned());
            assert_eq!((answer, breaker.mode()), (expected, Mode::Automatic), "{headers:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (breaker, page, path) = guarded().await;
    let zero = "0".repeat(16);
    for request in [
        get("/no"),
        get("/breakers"),
        get(&format!("{path}/no")),
        post(&format!("/breakers/{zero}/reset"), SAME_ORIGIN),
        post(&format!("/breakers/{}/reset", breaker.partition()), SAME_ORIGIN),
        post(&format!("{path}/no"), SAME_ORIGIN),
        post(&path, SAME_ORIGIN),
    ] {
        let uri = request.uri().clone();
        assert_eq!(send(page.clone(), request).await.status(), StatusCode::NOT_FOUND, "{uri}");
    }
}

#[tokio::test]
async fn a_removed_breaker_is_not_found() {
    let tenants = tenants("billing");
    let _ = tenant(&tenants, "seven");
    let page = StatusPage::new().breakers(tenants.clone()).guard(|_| true);
    let id = list(page.clone()).await["breakers"][0]["id"].as_str().unwrap().to_owned();
    tenants.remove(&"seven".to_owned());
    let _ = tenant(&tenants, "eight");
    let response = send(page, post(&format!("/breakers/{id}/force-open"), SAME_ORIGIN)).await;
    assert_eq!(refusal(response).await, (StatusCode::NOT_FOUND, "no breaker has this id\n".to_owned()));
    assert_eq!(tenants.state(&"eight".to_owned()), State::Closed);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let (_, page, path) = guarded().await;
    let act = format!("{path}/reset");
    for (method, path, allow) in [
        (Method::POST, "/", "GET, HEAD"),
        (Method::DELETE, "/breakers.json", "GET, HEAD"),
        (Method::PUT, "/events", "GET, HEAD"),
        (Method::GET, &*act, "POST"),
        (Method::OPTIONS, &*act, "POST"),
    ] {
        let request = Request::builder().method(method.clone()).uri(path).body(()).unwrap();
        let response = send(page.clone(), request).await;
        assert_eq!(
            (response.status(), &response.headers()["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &allow.parse().unwrap()),
            "{method} {path}"
        );
    }
    for path in ["/", "/breakers.json", "/events"] {
        let response = send(page.clone(), Request::head(path).body(()).unwrap()).await;
        assert_eq!((response.status(), response.body().is_end_stream()), (StatusCode::OK, true), "{path}");
    }
}
