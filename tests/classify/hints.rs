use std::time::{Duration, SystemTime};

use http::{HeaderValue, Response};
use proptest::prelude::*;
use tower_rampart::classify::{Class, Classifier, HttpClassifier, Verdict};

use super::response;

const LONGEST: Duration = Verdict::LONGEST_RETRY_AFTER;

fn verdict(headers: &[(&str, &str)]) -> Verdict {
    Verdict::of(&response(503, headers))
}

fn wait(headers: &[(&str, &str)]) -> Option<Duration> {
    verdict(headers).retry_after()
}

fn millis(millis: u64) -> Option<Duration> {
    Some(Duration::from_millis(millis))
}

/// Far enough from every limit that the seconds this test takes do not matter.
fn in_a_day() -> SystemTime {
    SystemTime::now() + Duration::from_secs(86_400)
}

fn about_a_day(wait: Option<Duration>) -> bool {
    wait.is_some_and(|wait| (Duration::from_secs(82_800)..=Duration::from_secs(86_400)).contains(&wait))
}

#[test]
fn retry_after_in_seconds() {
    assert_eq!(wait(&[]), None);
    assert_eq!(wait(&[("retry-after", "0")]), millis(0));
    assert_eq!(wait(&[("retry-after", "120")]), millis(120_000));
    assert_eq!(wait(&[("retry-after", "  00120 ")]), millis(120_000));
}

#[test]
fn retry_after_overflow_is_the_longest_wait() {
    for seconds in ["31622401", "18446744073709551615", "18446744073709551616", &"9".repeat(8_000)] {
        assert_eq!(wait(&[("retry-after", seconds)]), Some(LONGEST), "{seconds:.20}");
    }
    assert_eq!(wait(&[("retry-after", "31622400")]), Some(LONGEST));
    assert_eq!(wait(&[("retry-after", "31622399")]), Some(LONGEST - Duration::from_secs(1)));
    assert_eq!(Verdict::transient().with_retry_after(Duration::MAX).retry_after(), Some(LONGEST));
}

#[test]
fn retry_after_as_a_date_in_any_form() {
    let imf = httpdate::fmt_http_date(in_a_day());
    assert!(about_a_day(wait(&[("retry-after", &imf)])), "{imf}");

    // "Sun, 06 Nov 1994 08:49:37 GMT" in the two obsolete forms of RFC 9110 section 5.6.7. The weekday has to fit the
    // day.
    const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let (short, day, month, year, time) = (&imf[..3], &imf[5..7], &imf[8..11], &imf[12..16], &imf[17..25]);
    let long = WEEKDAYS.iter().find(|weekday| weekday.starts_with(short)).unwrap();
    let rfc850 = format!("{long}, {day}-{month}-{} {time} GMT", &year[2..]);
    let asctime = format!("{short} {month} {:>2} {time} {year}", day.trim_start_matches('0'));
    for date in [rfc850, asctime] {
        assert!(about_a_day(wait(&[("retry-after", &date)])), "{date}");
    }
}

#[test]
fn a_retry_after_date_is_clamped_to_zero_and_the_longest_wait() {
    assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), millis(0));
    assert_eq!(wait(&[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")]), Some(LONGEST));
}

#[test]
fn invalid_values_are_ignored() {
    for junk in ["", " ", "-1", "+1", "1.5", "1e3", "soon", "5 s", "1, 2", "Sun, 32 Nov 2094 08:49:37 GMT", "\u{661}"] {
        assert_eq!(wait(&[("retry-after", junk)]), None, "{junk}");
    }
    let mut response = response(503, &[]);
    response.headers_mut().insert("retry-after", HeaderValue::from_bytes(b"1\xff").unwrap());
    assert_eq!(Verdict::of(&response).retry_after(), None);
}

#[test]
fn the_longest_of_several_valid_values_applies() {
    let values = [("retry-after", "3"), ("retry-after", "soon"), ("retry-after", "20"), ("retry-after", "7")];
    assert_eq!(wait(&values), millis(20_000));
}

#[test]
fn milliseconds() {
    assert_eq!(wait(&[("retry-after-ms", "1500")]), millis(1_500));
    assert_eq!(wait(&[("x-ms-retry-after-ms", "250")]), millis(250));
    assert_eq!(wait(&[("retry-after-ms", "1500.25")]), millis(1_501));
    assert_eq!(wait(&[("retry-after-ms", "1500.0")]), millis(1_500));
    // More precise than Retry-After, unless invalid.
    assert_eq!(wait(&[("retry-after", "2"), ("x-ms-retry-after-ms", "9"), ("retry-after-ms", "1500")]), millis(1_500));
    assert_eq!(wait(&[("retry-after", "2"), ("retry-after-ms", "a while")]), millis(2_000));
    for junk in ["-1", ".", "1.", ".5", "1.2.3", "NaN"] {
        assert_eq!(wait(&[("retry-after-ms", junk)]), None, "{junk}");
    }
    assert_eq!(wait(&[("retry-after-ms", &"9".repeat(30))]), Some(LONGEST));
}

#[test]
fn should_retry() {
    let said = |values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|value| ("x-should-retry", *value)).collect();
        verdict(&headers).should_retry()
    };
    assert_eq!(said(&[]), None);
    assert_eq!(said(&["true"]), Some(true));
    assert_eq!(said(&[" False "]), Some(false));
    assert_eq!(said(&["true", "TRUE"]), Some(true));
    for junk in [&["yes"][..], &[""], &["1"], &["true", "false"], &["true", "perhaps"]] {
        assert_eq!(said(junk), None, "{junk:?}");
    }
    // It does not change the class.
    assert_eq!(Verdict::of(&response(400, &[("x-should-retry", "true")])).class(), Class::Terminal);
}

#[test]
fn a_success_has_no_hints() {
    let headers = [("retry-after", "7"), ("x-should-retry", "true")];
    assert_eq!(Verdict::of(&response(200, &headers)), Verdict::success());
}

#[test]
fn rate_limit_reset_only_if_asked_for_and_throttled() {
    let reset = [("ratelimit-reset", "30")];
    let obedient = HttpClassifier::new().rate_limit_reset(true);
    let wait = |status, headers: &[_]| obedient.classify(Ok(&response(status, headers))).retry_after();

    assert_eq!(Verdict::of(&response(429, &reset)).retry_after(), None);
    assert_eq!(wait(429, &reset), millis(30_000));
    assert_eq!(wait(429, &[("x-ratelimit-reset", "31")]), millis(31_000));
    assert_eq!(wait(503, &reset), None);
    assert_eq!(wait(429, &[("ratelimit-reset", "30"), ("retry-after", "5")]), millis(5_000));
}

#[test]
fn rate_limit_reset_as_seconds_since_1970() {
    let obedient = HttpClassifier::new().rate_limit_reset(true);
    let wait = |value: &str| obedient.classify(Ok(&response(429, &[("x-ratelimit-reset", value)]))).retry_after();
    let epoch = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();

    assert!(about_a_day(wait(&epoch(in_a_day()).to_string())));
    assert_eq!(wait("1000000000"), millis(0));
    assert_eq!(wait("999999999"), Some(LONGEST));
    assert_eq!(wait("99999999999"), Some(LONGEST));
    for junk in ["100000000000", "-1", "soon", &"9".repeat(30)] {
        assert_eq!(wait(junk), None, "{junk}");
    }
}

#[test]
fn ten_thousand_headers() {
    let mut response = response(503, &[]);
    for n in 0..10_000 {
        let name = http::HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap();
        response.headers_mut().append(name, HeaderValue::from(n));
        response.headers_mut().append("retry-after", HeaderValue::from(n));
    }
    assert_eq!(Verdict::of(&response).retry_after(), millis(9_999_000));
}

const HINTS: [&str; 9] = [
    "retry-after",
    "retry-after-ms",
    "x-ms-retry-after-ms",
    "x-should-retry",
    "ratelimit-reset",
    "x-ratelimit-reset",
    "grpc-retry-pushback-ms",
    "grpc-status",
    "grpc-status-details-bin",
];

/// Bytes that a header may hold, mostly similar to hints.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[0-9]{0,30}",
        "[-+0-9.eE, ]{0,12}",
        "(true|false|TRUE| )[ ,a-z]{0,3}",
        "[A-Za-z0-9+/]{0,64}={0,2}",
        "[A-Z][a-z]{2,8}, [0-9]{2}[- ][A-Z][a-z]{2}[- ][0-9]{2,4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        "[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}",
    ]
    .prop_map(String::into_bytes)
    .boxed()
    .prop_union(prop::collection::vec(any::<u8>(), 0..40).boxed())
}

proptest! {
    #[test]
    fn any_bytes_are_a_hint_within_the_limit_or_none(
        status in 100..1000_u16,
        headers in prop::collection::vec((prop::sample::select(&HINTS[..]), value()), 0..6),
    ) {
        let mut response = Response::builder().status(status).body(()).unwrap();
        for (name, value) in &headers {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                response.headers_mut().append(*name, value);
            }
        }
        let obedient = HttpClassifier::new().rate_limit_reset(true);
        let grpc = tower_rampart::classify::GrpcClassifier::new();
        for verdict in [Verdict::of(&response), obedient.classify(Ok(&response)), grpc.classify(Ok(&response))] {
            prop_assert!(verdict.retry_after().is_none_or(|wait| wait <= LONGEST), "{verdict:?}");
        }
    }

    #[test]
    fn dates_are_read_as_httpdate_reads_them(value in value(), seconds in 0..253_402_300_799_u64) {
        let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        for text in [date.as_bytes(), &value] {
            let Ok(header) = HeaderValue::from_bytes(text) else { continue };
            let Ok(text) = header.to_str() else { continue };
            let digits = !text.trim().is_empty() && text.trim().bytes().all(|byte| byte.is_ascii_digit());
            let date = httpdate::parse_http_date(text.trim()).ok();
            prop_assert_eq!(wait(&[("retry-after", text)]).is_some(), digits || date.is_some(), "{}", text);
            // A day away from now, so that the test does not depend on the time it takes.
            if let Some(date) = date {
                let now = SystemTime::now();
                let wait = wait(&[("retry-after", text)]).unwrap();
                let expected = date.duration_since(now).unwrap_or_default().min(LONGEST);
                prop_assert!(expected.abs_diff(wait) < Duration::from_secs(60), "{}: {:?}", text, wait);
            }
        }
    }
}
