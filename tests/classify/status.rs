use tower_rampart::classify::{Class, Classifier, GrpcClassifier, Health, HttpClassifier, Processed, Reason, Verdict};

use super::{Facts, facts, response};

/// The table of the docs, grouped by verdict.
fn table(status: u16) -> Facts {
    const ALIVE: Facts = (Class::Terminal, Processed::Yes, Health::Success);
    const BROKEN: Facts = (Class::Terminal, Processed::Yes, Health::Failure);
    const FLAKY: Facts = (Class::Transient, Processed::Maybe, Health::Failure);
    match status {
        100..=399 => (Class::Success, Processed::Yes, Health::Success),
        408 => FLAKY,
        421 | 425 => (Class::Transient, Processed::No, Health::Neutral),
        429 => (Class::Transient, Processed::No, Health::Throttled),
        400..=407 | 409..=420 | 422..=424 | 426..=428 | 430..=499 => ALIVE,
        500 | 502 | 503 | 504 | 507 | 509 | 520..=527 | 529 | 530 => FLAKY,
        501 | 505 | 506 | 508 | 510 | 511 => BROKEN,
        512..=519 | 528 | 531..=599 => FLAKY,
        _ => unreachable!("{status}"),
    }
}

#[test]
fn every_status() {
    for status in 100..=599 {
        let verdict = Verdict::of(&response(status, &[]));
        assert_eq!(facts(verdict), table(status), "{status}");
        assert_eq!(HttpClassifier::new().classify(Ok(&response(status, &[]))), verdict, "{status}");
        let said = if status < 400 { (Reason::UNKNOWN, None) } else { (Reason::STATUS, Some(status)) };
        assert_eq!((verdict.reason(), verdict.code()), said, "{status}");
        assert_eq!((verdict.retry_after(), verdict.should_retry()), (None, None), "{status}");
    }
}

/// Valid on the wire, and treated as 5xx (RFC 9110 section 15).
#[test]
fn statuses_beyond_599() {
    for status in 600..=999 {
        assert_eq!(facts(Verdict::of(&response(status, &[]))), table(500), "{status}");
    }
}

#[test]
fn overrides_of_a_status_and_a_range() {
    let classifier = HttpClassifier::new()
        .statuses(500..=599, Class::Terminal)
        .status(503, Class::Ambiguous)
        .status(409, Class::Transient);
    let class = |status| classifier.classify(Ok(&response(status, &[]))).class();
    assert_eq!([500, 503, 599].map(class), [Class::Terminal, Class::Ambiguous, Class::Terminal]);
    assert_eq!([404, 409, 200].map(class), [Class::Terminal, Class::Transient, Class::Success]);

    // The last override applies, also if a range overrides a status.
    let classifier = classifier.statuses(500..=503, Class::Success);
    assert!(classifier.classify(Ok(&response(503, &[]))).is_success());
}

#[test]
fn an_override_gets_status_and_hints_but_keeps_its_own() {
    const QUOTA: Reason = Reason::new("quota");
    let headers = [("retry-after", "7"), ("x-should-retry", "true")];

    let verdict = HttpClassifier::new().status(409, Class::Transient).classify(Ok(&response(409, &headers)));
    assert_eq!((verdict.reason(), verdict.code()), (Reason::STATUS, Some(409)));
    assert_eq!(verdict.retry_after().unwrap().as_secs(), 7);

    let wait = std::time::Duration::from_secs(1);
    let own = Verdict::transient().with_reason(QUOTA).with_code(7).with_retry_after(wait).with_should_retry(false);
    assert_eq!(HttpClassifier::new().status(409, own).classify(Ok(&response(409, &headers))), own);
}

/// The user's override decides whether to retry, not the server.
#[test]
fn an_override_or_a_rule_beats_x_should_retry() {
    let should_retry = |classifier: &dyn Classifier<http::Response<()>>, said| {
        let verdict = classifier.classify(Ok(&response(409, &[("x-should-retry", said), ("retry-after", "7")])));
        assert_eq!(verdict.retry_after().unwrap().as_secs(), 7);
        verdict.should_retry()
    };
    for said in ["true", "false"] {
        assert_eq!(should_retry(&HttpClassifier::new(), said), Some(said == "true"));
        assert_eq!(should_retry(&HttpClassifier::new().status(409, Class::Transient), said), None);
        assert_eq!(should_retry(&HttpClassifier::new().statuses(400..=499, Class::Ambiguous), said), None);
        assert_eq!(should_retry(&HttpClassifier::new().when(|_| Some(Verdict::transient())), said), None);
        let own = Verdict::transient().with_should_retry(true);
        assert_eq!(should_retry(&HttpClassifier::new().status(409, own), said), Some(true));
    }
}

#[test]
fn rules_come_before_overrides_and_the_last_rule_first() {
    let classifier = HttpClassifier::new()
        .when(|head| (head.status() == 404).then(Verdict::transient))
        .when(|head| head.header("x-empty").map(|_| Verdict::success()))
        .status(404, Class::Ambiguous);
    let class = |headers: &[_]| classifier.classify(Ok(&response(404, headers))).class();
    assert_eq!(class(&[("x-empty", "1")]), Class::Success);
    assert_eq!(class(&[]), Class::Transient);
    // Neither rule decides.
    assert_eq!(classifier.classify(Ok(&response(403, &[]))).class(), Class::Terminal);
}

#[test]
fn a_rule_sees_the_whole_head() {
    #[derive(Clone)]
    struct Route(&'static str);

    let classifier = HttpClassifier::new().when(|head| match head.extensions().get() {
        Some(Route("search")) if head.status() == 404 && head.version() == http::Version::HTTP_2 => {
            Some(Verdict::success())
        }
        _ => None,
    });
    let mut response = response(404, &[]);
    assert_eq!(classifier.classify(Ok(&response)).class(), Class::Terminal);
    response.extensions_mut().insert(Route("search"));
    *response.version_mut() = http::Version::HTTP_2;
    assert_eq!(classifier.classify(Ok(&response)).class(), Class::Success);
}

#[test]
#[should_panic(expected = "no status lies in 99..=99")]
fn an_undefined_status_panics() {
    let _ = HttpClassifier::new().status(99, Class::Success);
}

#[test]
#[should_panic(expected = "no status lies in 504..=500")]
#[allow(clippy::reversed_empty_ranges)]
fn an_empty_range_panics() {
    let _ = HttpClassifier::new().statuses(504..=500, Class::Success);
}

/// The message must name the line to change.
#[test]
fn the_panic_of_a_setting_names_the_caller() {
    use std::panic::{catch_unwind, set_hook, take_hook};
    use std::sync::Mutex;

    static FILES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    // Other tests of this process may panic at the same time.
    let (here, earlier) = (std::thread::current().id(), take_hook());
    set_hook(Box::new(move |info| {
        if std::thread::current().id() == here {
            FILES.lock().unwrap().extend(info.location().map(|place| place.file().to_owned()));
        }
        earlier(info);
    }));
    catch_unwind(|| HttpClassifier::new().status(1_000, Class::Success)).unwrap_err();
    catch_unwind(|| HttpClassifier::new().statuses(1..=2, Class::Success)).unwrap_err();
    catch_unwind(|| tower_rampart::classify::GrpcClassifier::new().code(17, Class::Success)).unwrap_err();
    // Not under the lock: a failing assertion panics too.
    let files = std::mem::take(&mut *FILES.lock().unwrap());
    assert_eq!(files, [file!(); 3]);
}

#[test]
fn overrides_of_a_clone_do_not_change_the_original() {
    let limited = |status| response(status, &[("ratelimit-reset", "9")]);
    let said = |classifier: &HttpClassifier| {
        let verdict = |status| classifier.classify(Ok(&limited(status)));
        (verdict(204).class(), verdict(409).class(), verdict(429).retry_after().map(|wait| wait.as_secs()))
    };
    let plain = HttpClassifier::new();
    let one = plain.clone().status(409, Class::Transient);
    let two = one.clone().status(204, Class::Ambiguous).status(409, Class::Ambiguous).rate_limit_reset(true);
    let three = two.clone().rate_limit_reset(false).status(204, Class::Terminal);
    assert_eq!(said(&plain), (Class::Success, Class::Terminal, None));
    assert_eq!(said(&one), (Class::Success, Class::Transient, None));
    assert_eq!(said(&two), (Class::Ambiguous, Class::Ambiguous, Some(9)));
    assert_eq!(said(&three), (Class::Terminal, Class::Ambiguous, None));
}

#[test]
fn try_methods_return_an_error() {
    let error = HttpClassifier::new().try_statuses(99..=600, Class::Success).unwrap_err();
    assert_eq!(error.to_string(), "HttpClassifier: no status lies in 99..=600; statuses go from 100 to 999");
    assert!(HttpClassifier::new().try_status(99, Class::Success).is_err());
    let error = GrpcClassifier::new().try_code(17, Class::Success).unwrap_err();
    assert_eq!(error.to_string(), "GrpcClassifier: there is no code 17; codes go from 0 to 16");
    let conflict = HttpClassifier::new().try_status(409, Class::Transient).unwrap();
    let response = http::Response::builder().status(409).body(()).unwrap();
    assert_eq!(conflict.classify(Ok(&response)).class(), Class::Transient);
}
