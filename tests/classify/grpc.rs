use http::HeaderValue;
use tower_rampart::classify::{Class, Classifier, GrpcClassifier, Health, Processed, Reason, Verdict};

use super::{Facts, facts, response};

const OK: Facts = (Class::Success, Processed::Yes, Health::Success);
const FLAKY: Facts = (Class::Transient, Processed::Maybe, Health::Failure);
const THROTTLED: Facts = (Class::Transient, Processed::Maybe, Health::Throttled);
const UNCLEAR: Facts = (Class::Ambiguous, Processed::Maybe, Health::Failure);
const SAID_NO: Facts = (Class::Terminal, Processed::Yes, Health::Success);

const CODES: [(&str, Facts); 17] = [
    ("OK", OK),
    ("CANCELLED", (Class::Terminal, Processed::Maybe, Health::Neutral)),
    ("UNKNOWN", UNCLEAR),
    ("INVALID_ARGUMENT", SAID_NO),
    ("DEADLINE_EXCEEDED", FLAKY),
    ("NOT_FOUND", SAID_NO),
    ("ALREADY_EXISTS", SAID_NO),
    ("PERMISSION_DENIED", SAID_NO),
    ("RESOURCE_EXHAUSTED", THROTTLED),
    ("FAILED_PRECONDITION", SAID_NO),
    ("ABORTED", (Class::Ambiguous, Processed::Maybe, Health::Success)),
    ("OUT_OF_RANGE", SAID_NO),
    ("UNIMPLEMENTED", SAID_NO),
    ("INTERNAL", UNCLEAR),
    ("UNAVAILABLE", FLAKY),
    ("DATA_LOSS", UNCLEAR),
    ("UNAUTHENTICATED", SAID_NO),
];

const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");

fn classify(status: u16, headers: &[(&str, &str)]) -> Verdict {
    GrpcClassifier::new().classify(Ok(&response(status, headers)))
}

#[test]
fn every_code_trailers_only() {
    for (code, (name, expected)) in CODES.into_iter().enumerate() {
        let verdict = classify(200, &[GRPC, ("grpc-status", &code.to_string())]);
        assert_eq!(facts(verdict), expected, "{name}");
        let said = if code == 0 { (Reason::UNKNOWN, None) } else { (Reason::GRPC, Some(code as u16)) };
        assert_eq!((verdict.reason(), verdict.code()), said, "{name}");
    }
}

#[test]
fn undefined_codes_are_unknown() {
    for code in ["17", "-1", "+0", "999999999999", "", "OK", "0x0", "1 4"] {
        let verdict = classify(200, &[GRPC, ("grpc-status", code)]);
        assert_eq!((facts(verdict), verdict.code()), (UNCLEAR, Some(2)), "{code}");
    }
    let mut junk = response(200, &[GRPC]);
    junk.headers_mut().insert("grpc-status", HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(facts(GrpcClassifier::new().classify(Ok(&junk))), UNCLEAR);
}

#[test]
fn a_streaming_head_is_a_success_so_far() {
    for kind in ["application/grpc", "application/grpc+json", "Application/gRPC; charset=utf-8"] {
        assert_eq!(classify(200, &[("content-type", kind)]), Verdict::success(), "{kind}");
    }
}

#[test]
fn a_response_without_a_code_is_judged_by_its_http_status() {
    let mapped = |status| {
        let verdict = classify(status, &[("content-type", "text/html")]);
        (verdict.code().unwrap(), facts(verdict))
    };
    assert_eq!(mapped(200), (2, UNCLEAR));
    assert_eq!(mapped(400), (13, UNCLEAR));
    assert_eq!(mapped(401), (16, SAID_NO));
    assert_eq!(mapped(403), (7, SAID_NO));
    assert_eq!(mapped(404), (12, SAID_NO));
    for status in [429, 502, 503, 504] {
        assert_eq!(mapped(status), (14, FLAKY), "{status}");
    }
    for status in [204, 302, 408, 500, 501] {
        assert_eq!(mapped(status), (2, UNCLEAR), "{status}");
    }
    // With any content type, and with the wait of a proxy.
    let verdict = classify(503, &[GRPC, ("retry-after", "9")]);
    assert_eq!((facts(verdict), verdict.retry_after().unwrap().as_secs()), (FLAKY, 9));
    assert_eq!(facts(classify(200, &[])), UNCLEAR);
}

#[test]
fn pushback() {
    let pushback = |values: &[&str]| {
        let mut headers = vec![GRPC, ("grpc-status", "14")];
        headers.extend(values.iter().map(|value| ("grpc-retry-pushback-ms", *value)));
        let verdict = classify(200, &headers);
        (verdict.retry_after().map(|wait| wait.as_millis()), verdict.should_retry())
    };
    assert_eq!(pushback(&[]), (None, None));
    assert_eq!(pushback(&["0"]), (Some(0), None));
    assert_eq!(pushback(&["1500"]), (Some(1_500), None));
    assert_eq!(pushback(&["2147483647"]), (Some(2_147_483_647), None));
    for forbidding in [&["-1"][..], &["soon"], &[""], &["1.5"], &["2147483648"], &["10", "10"]] {
        assert_eq!(pushback(forbidding), (None, Some(false)), "{forbidding:?}");
    }
}

#[test]
fn resource_exhausted_is_retried_only_if_the_server_says_when() {
    let exhausted = |headers: &[_]| classify(200, &[&[GRPC, ("grpc-status", "8")], headers].concat());
    assert_eq!(exhausted(&[]).should_retry(), Some(false));
    let verdict = exhausted(&[("grpc-retry-pushback-ms", "40")]);
    assert_eq!((verdict.should_retry(), verdict.retry_after().unwrap().as_millis()), (None, 40));
    assert_eq!(exhausted(&[("grpc-retry-pushback-ms", "-1")]).should_retry(), Some(false));
}

/// A status with these details, as a server would encode it.
fn details(details: Vec<tonic_types::ErrorDetail>) -> String {
    use tonic_types::StatusExt;
    let status = tonic::Status::with_error_details_vec(tonic::Code::ResourceExhausted, "slow down", details);
    let headers = status.into_http::<()>().into_parts().0.headers;
    headers.get("grpc-status-details-bin").unwrap().to_str().unwrap().to_owned()
}

#[test]
fn retry_info_becomes_the_wait() {
    let exhausted = |details: &str, pushback: Option<&str>| {
        let mut headers = vec![GRPC, ("grpc-status", "8"), ("grpc-status-details-bin", details)];
        headers.extend(pushback.map(|value| ("grpc-retry-pushback-ms", value)));
        let verdict = classify(200, &headers);
        (verdict.retry_after(), verdict.should_retry())
    };
    let delay = std::time::Duration::new(75, 250_000_000);
    let retry_info = tonic_types::RetryInfo::new(Some(delay)).into();
    let localized = tonic_types::LocalizedMessage::new("de", "Langsam").into();
    let encoded = details(vec![localized, retry_info]);
    assert_eq!(exhausted(&encoded, None), (Some(delay), None));
    // Padded or not.
    let padded = format!("{encoded}{}", "=".repeat((4 - encoded.len() % 4) % 4));
    assert_eq!(exhausted(&padded, None), (Some(delay), None));
    // The pushback is meant for retries, so it comes first.
    assert_eq!(exhausted(&encoded, Some("9")), (Some(std::time::Duration::from_millis(9)), None));
    assert_eq!(exhausted(&encoded, Some("-1")), (None, Some(false)));

    let without = details(vec![tonic_types::LocalizedMessage::new("de", "Langsam").into()]);
    let cut = &encoded[..encoded.len() - 8];
    for junk in [&*without, cut, "", "!", "AAAA", "////////////////"] {
        assert_eq!(exhausted(junk, None), (None, Some(false)), "{junk}");
    }
}

#[test]
fn overrides_of_a_code() {
    let classifier =
        GrpcClassifier::new().code(10, Class::Transient).code(0, Class::Ambiguous).code(10, Class::Terminal);
    let class = |code: &str| classifier.classify(Ok(&response(200, &[GRPC, ("grpc-status", code)])));
    assert_eq!((class("10").class(), class("10").code()), (Class::Terminal, Some(10)));
    assert_eq!(class("0").class(), Class::Ambiguous);
    assert_eq!(class("14").class(), Class::Transient);
}

#[test]
#[should_panic(expected = "there is no code 17")]
fn an_undefined_code_panics() {
    let _ = GrpcClassifier::new().code(17, Class::Success);
}
