//! The inlined path for a plain success.

use http::{HeaderValue, Response, StatusCode};
use proptest::prelude::*;
use tower_rampart::classify::{Class, Classifier, Health, HttpClassifier, Processed, ResponseHead, Verdict};

fn verdicts() -> impl Strategy<Value = Verdict> {
    let class = prop::sample::select(vec![Class::Success, Class::Transient, Class::Terminal, Class::Ambiguous]);
    let health = prop::sample::select(vec![Health::Success, Health::Failure, Health::Throttled, Health::Neutral]);
    (class, health, any::<bool>(), prop::option::of(any::<bool>())).prop_map(|(class, health, unprocessed, retry)| {
        let verdict = Verdict::new(class).with_health(health);
        let verdict = if unprocessed { verdict.with_processed(Processed::No) } else { verdict };
        retry.map_or(verdict, |retry| verdict.with_should_retry(retry))
    })
}

/// Responses of any status, with hints, extensions and an attached verdict.
fn responses() -> impl Strategy<Value = Response<()>> {
    let status = prop_oneof![100..=999_u16, Just(200), Just(399), Just(400), Just(429)];
    let header = prop::sample::select(vec![
        ("retry-after", "7"),
        ("retry-after-ms", "70"),
        ("x-should-retry", "false"),
        ("x-should-retry", "true"),
        ("ratelimit-reset", "9"),
        ("x-rule", "1"),
    ]);
    let headers = prop::collection::vec(header, 0..3);
    (status, headers, any::<bool>(), prop::option::weighted(0.3, verdicts())).prop_map(
        |(status, headers, extension, left)| {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                response.headers_mut().append(name, HeaderValue::from_static(value));
            }
            if extension {
                response.extensions_mut().insert(7_u8);
            }
            if let Some(verdict) = left {
                HttpClassifier::new().annotate(&mut response, verdict);
            }
            response
        },
    )
}

proptest! {
    /// Any setting turns the fast path off, also one that changes nothing.
    #[test]
    fn the_fast_path_returns_what_the_slow_path_returns(
        response in responses(),
        overrides in prop::collection::vec((100..=999_u16, 0..900_u16, verdicts()), 0..3),
        ruled in prop::option::of(verdicts()),
    ) {
        let fast = HttpClassifier::new();
        let mut slow = HttpClassifier::new().rate_limit_reset(false);
        prop_assert_eq!(fast.classify(Ok(&response)), slow.classify(Ok(&response)));

        let rule = move |head: &ResponseHead<'_>| head.headers().contains_key("x-rule").then_some(ruled).flatten();
        prop_assert_eq!(fast.clone().when(rule).classify(Ok(&response)), slow.clone().when(rule).classify(Ok(&response)));
        // A rule alone: it runs for every response.
        let always = move |_: &ResponseHead<'_>| ruled;
        prop_assert_eq!(
            fast.clone().when(always).classify(Ok(&response)),
            slow.clone().when(always).classify(Ok(&response)),
        );

        // Overrides of other statuses change nothing.
        for (first, more, verdict) in overrides {
            let statuses = first..=(first + more).min(999);
            if !statuses.contains(&response.status().as_u16()) {
                slow = slow.statuses(statuses, verdict);
            }
        }
        prop_assert_eq!(fast.classify(Ok(&response)), slow.classify(Ok(&response)));
    }
}
