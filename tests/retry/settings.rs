//! Settings that make no sense panic where they are written.

use std::time::Duration;

use tower_rampart::RetryLayer;

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
