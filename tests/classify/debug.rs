//! `Debug` of heads hides what may be secret.

use http::{Request, Response};
use tower_rampart::classify::{RequestHead, ResponseHead};

#[test]
fn a_request_head_hides_values_userinfo_path_and_query() {
    let request = Request::post("https://user:hunter2@billing.example:8443/tenants/secret-7?token=secret-8")
        .header("authorization", "Bearer secret-9")
        .header("x-tenant-id", "secret-10")
        .extension("secret-11")
        .body(())
        .unwrap();
    assert_eq!(
        format!("{:?}", RequestHead::of(&request)),
        "RequestHead { method: POST, version: HTTP/1.1, host: Some(\"billing.example\"), \
         headers: {\"authorization\", \"x-tenant-id\"}, .. }"
    );
}

#[test]
fn a_response_head_hides_values() {
    let response = Response::builder()
        .status(401)
        .header("set-cookie", "session=secret-1")
        .header("set-cookie", "csrf=secret-2")
        .extension("secret-3")
        .body("secret-4")
        .unwrap();
    assert_eq!(
        format!("{:?}", ResponseHead::of(&response)),
        "ResponseHead { status: 401, version: HTTP/1.1, headers: {\"set-cookie\"}, .. }"
    );
}
