//! Invalid settings panic where they are written.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{panic, thread};

use tower_rampart::retry::{Backoff, Budget, Jitter};
use tower_rampart::{InvalidSetting, RetryLayer};

use crate::support::*;

#[test]
#[should_panic(expected = "max_attempts includes the first try and must be at least 1, but is 0")]
fn no_attempt_at_all_panics() {
    let _ = RetryLayer::new_for_http().max_attempts(0);
}

#[test]
#[should_panic(expected = "attempt_timeout must not be zero")]
fn no_time_for_an_attempt_panics() {
    let _ = RetryLayer::new_for_http().attempt_timeout(Duration::ZERO);
}

#[test]
#[should_panic(expected = "deadline must not be zero")]
fn no_time_at_all_panics() {
    let _ = RetryLayer::new_for_http().deadline(Duration::ZERO);
}

/// The `try_` form returns an error with the text of the panic.
#[test]
fn the_try_forms_return_the_error() {
    let invalid = |error: InvalidSetting| error.to_string();
    let layer = RetryLayer::new_for_http;
    let zero = Duration::ZERO;
    assert_eq!(invalid(layer().try_deadline(zero).unwrap_err()), "retry: deadline must not be zero");
    assert_eq!(invalid(layer().try_attempt_timeout(zero).unwrap_err()), "retry: attempt_timeout must not be zero");
    assert_eq!(invalid(layer().try_name("").unwrap_err()), "retry: the name must not be empty");
    assert_eq!(
        invalid(layer().try_max_partitions(0).unwrap_err()),
        "retry: max_partitions must be at least 1, but is 0"
    );
    assert!(invalid(layer().try_max_attempts(0).unwrap_err()).contains("must be at least 1, but is 0"));
    assert!(invalid(Backoff::try_exponential(zero, zero).unwrap_err()).contains("must not be zero"));
    assert!(invalid(Backoff::none().try_factor(0.5).unwrap_err()).contains("at least 1, but is 0.5"));
    assert!(invalid(Backoff::try_fibonacci(zero, zero).unwrap_err()).contains("the first wait must not be zero"));
    assert!(
        invalid(Backoff::try_decorrelated(2 * MS, MS).unwrap_err()).contains("2ms, is longer than the longest, 1ms")
    );
    assert!(invalid(Backoff::try_linear(zero, MS, MS).unwrap_err()).contains("the first wait must not be zero"));
    assert!(invalid(Backoff::try_linear(MS, zero, MS).unwrap_err()).contains("the step must not be zero"));
    assert!(invalid(Backoff::none().try_factor(2.0).unwrap_err()).contains("only an exponential one has a factor"));
    for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        for jitter in [Jitter::Proportional(share), Jitter::OnTop(share)] {
            let message = format!("Backoff: the share of jitter must be from 0 to 1, but is {share}");
            assert_eq!(invalid(Backoff::none().try_jitter(jitter).unwrap_err()), message);
        }
    }
    assert!(invalid(Budget::try_ratio(-1.0).unwrap_err()).contains("from 0 to 1000, but is -1"));
    assert!(invalid(Budget::unlimited().try_capacity(0).unwrap_err()).contains("at least 1 token, but is 0"));
    let layer = layer().try_deadline(Duration::from_secs(1)).and_then(|layer| layer.try_max_attempts(2));
    assert!(layer.is_ok());
}

#[test]
fn a_panic_points_at_the_line_of_the_setting() {
    let location = Arc::new(Mutex::new(None));
    let before = panic::take_hook();
    panic::set_hook(Box::new({
        let location = location.clone();
        move |info| {
            if thread::current().name().is_some_and(|name| name.ends_with("the_line_of_the_setting")) {
                *location.lock().unwrap() = info.location().map(|location| location.file().to_owned());
            }
        }
    }));
    let settings: [fn(); 8] = [
        || drop(RetryLayer::new_for_http().max_attempts(0)),
        || drop(RetryLayer::new_for_http().deadline(Duration::ZERO)),
        || drop(Budget::ratio(2_000.0)),
        || {
            let _ = Backoff::exponential(Duration::from_secs(2), Duration::from_secs(1));
        },
        || drop(Backoff::linear(MS, Duration::ZERO, MS)),
        || drop(Backoff::fibonacci(2 * MS, MS)),
        || drop(Backoff::decorrelated(2 * MS, MS)),
        || drop(Backoff::none().jitter(Jitter::OnTop(2.0))),
    ];
    let files = settings.map(|setting| {
        assert!(panic::catch_unwind(setting).is_err());
        location.lock().unwrap().take()
    });
    panic::set_hook(before);
    assert_eq!(files, [(); 8].map(|()| Some(file!().to_owned())));
}

#[tokio::test(start_paused = true)]
async fn what_is_idempotent_can_be_set_before_or_after_clone_bodies() {
    let always: fn(&http::request::Parts) -> bool = |_| true;
    for layer in [layer().idempotent(always).clone_bodies(), layer().clone_bodies().idempotent(always)] {
        let upstream = Upstream::new([answer(503), answer(200)]);
        let log = upstream.log();
        send(layer.partition_label(|_| None), upstream, post("again")).await.unwrap();
        assert_eq!(log.bodies(), ["again", "again"]);
    }
}
