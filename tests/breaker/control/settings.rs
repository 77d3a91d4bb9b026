use std::cell::RefCell;
use std::panic;
use std::sync::Once;
use std::time::Duration;

use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{InvalidSetting, Window, partition};
use tower_rampart::retry::Backoff;

use crate::support::*;

macro_rules! panics {
    ($($name:ident: $setting:expr => $message:literal;)*) => {$(
        #[test]
        #[should_panic(expected = $message)]
        fn $name() {
            let _ = $setting;
        }
    )*};
}

panics! {
    an_empty_name_panics: layer().name("") => "name: must not be empty";
    a_rate_of_zero_panics: layer().failure_rate(0.0) => "failure_rate: the rate must be over 0 and at most 1, but is 0";
    a_rate_over_one_panics: layer().failure_rate(1.01) => "failure_rate: the rate must be over 0 and at most 1, but is 1.01";
    a_rate_below_zero_panics: layer().failure_rate(-0.5) => "but is -0.5";
    a_rate_that_is_no_number_panics: layer().failure_rate(f64::NAN) => "but is NaN";
    a_slow_rate_of_zero_panics: layer().slow_calls(SECOND, 0.0) => "slow_calls: the rate must be over 0 and at most 1";
    a_slow_limit_of_zero_panics: layer().slow_calls(Duration::ZERO, 1.0) => "slow_calls: the limit must not be zero";
    a_minimum_of_zero_panics: layer().minimum_calls(0) => "minimum_calls: must be at least 1, but is 0";
    a_minimum_over_the_window_panics: layer().window(Window::count(5)).minimum_calls(6)
        => "minimum_calls: 6 calls never fit into a window of 5";
    a_window_below_the_minimum_panics: layer().minimum_calls(6).window(Window::count(5))
        => "minimum_calls: 6 calls never fit into a window of 5";
    no_consecutive_failures_panic: layer().consecutive_failures(0) => "consecutive_failures: must be at least 1, but is 0";
    a_row_too_long_to_be_counted_panics: layer().consecutive_failures(1 << 14)
        => "consecutive_failures: must be at most 16383, but is 16384";
    an_outage_of_no_failures_panics: layer().outage(0, SECOND)
        => "outage: the failures must lie between 1 and 16383, but are 0";
    an_outage_too_long_to_be_counted_panics: layer().outage(1 << 14, SECOND)
        => "outage: the failures must lie between 1 and 16383, but are 16384";
    an_open_time_of_zero_panics: layer().open_for(Duration::ZERO) => "open_for: must not be zero";
    a_backoff_of_nothing_panics: layer().open_for(Backoff::none()) => "open_for: must not be zero";
    a_custom_time_of_nothing_panics: layer().open_for(Backoff::custom(|_, _, _| Duration::ZERO)) => "open_for: must not be zero";
    no_half_open_calls_panic: layer().half_open_max_calls(0)
        => "half_open_max_calls: must be at least 1, but is 0";
    a_success_threshold_of_zero_panics: layer().success_threshold(0)
        => "success_threshold: must be at least 1, but is 0";
    a_lease_of_zero_panics: layer().probe_lease(Duration::ZERO) => "probe_lease: must not be zero";
    a_ramp_of_no_shares_panics: layer().ramp(&[], 1) => "ramp: there must be at least one share, but are []";
    a_ramp_of_a_zero_share_panics: layer().ramp(&[0.0], 1) => "ramp: every share must lie between a millionth and 1";
    a_ramp_that_shrinks_panics: layer().ramp(&[0.5, 0.1], 1) => "ramp: the shares must not shrink, but are [0.5, 0.1]";
    a_ramp_of_no_calls_panics: layer().ramp(&[0.5], 0) => "ramp: the calls of a step must be at least 1, but are 0";
    no_partitions_panic: layer().max_partitions(0) => "max_partitions: must be at least 1, but is 0";
    a_bad_header_name_panics: partition::header("not a header") => "partition::header: \"not a header\" is not the name of a header";
}

#[test]
fn the_default_minimum_gives_way_to_a_small_window() {
    let _ = layer().window(Window::count(1)).handle();
}

#[test]
fn the_longest_times_do_not_overflow() {
    let layer = layer()
        .window(Window::time(Duration::MAX))
        .open_for(Duration::MAX)
        .probe_lease(Duration::MAX)
        .slow_calls(Duration::MAX, 1.0)
        .outage(1, Duration::MAX);
    layer.breaker().force_open();
    assert_eq!(layer.breaker().snapshot().retry_after, None);
}

/// A setting a line that panics, and the form of it that does not: the same words, and the line of the user.
macro_rules! invalid {
    ($($panics:expr, $fails:expr;)*) => {
        let mut last = line!();
        $(
        let (message, file, line) = panic_of(|| {
            let _ = $panics;
        });
        last += 1;
        assert_eq!((file.as_str(), line), (file!(), last), "{message}");
        assert_eq!($fails.map(drop).map_err(|error: InvalidSetting| error.to_string()), Err(message));
        )*
    };
}

thread_local! {
    static PANIC: RefCell<Option<(String, u32)>> = const { RefCell::new(None) };
}

fn panic_of(run: impl FnOnce()) -> (String, String, u32) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(|location| (location.file().to_owned(), location.line()));
            PANIC.with_borrow_mut(|last| *last = place);
            before(info);
        }));
    });
    let message = panic::catch_unwind(panic::AssertUnwindSafe(run)).unwrap_err().downcast::<String>().unwrap();
    let (file, line) = PANIC.take().unwrap();
    (*message, file, line)
}

#[test]
fn a_setting_that_makes_no_sense_fails_at_the_line_of_the_user() {
    let small = || layer().window(Window::count(5));
    let tenants = || CircuitBreakerLayer::new_for_http().partition_by(partition::header("x-tenant-id"));
    invalid! {
        layer().name(""), layer().try_name("");
        layer().failure_rate(f64::NAN), layer().try_failure_rate(f64::NAN);
        layer().slow_calls(SECOND, 2.0), layer().try_slow_calls(SECOND, 2.0);
        layer().minimum_calls(0), layer().try_minimum_calls(0);
        small().minimum_calls(6), small().try_minimum_calls(6);
        layer().minimum_calls(6).window(Window::count(5)), layer().minimum_calls(6).try_window(Window::count(5));
        layer().consecutive_failures(0), layer().try_consecutive_failures(0);
        layer().outage(0, SECOND), layer().try_outage(0, SECOND);
        layer().open_for(Duration::ZERO), layer().try_open_for(Duration::ZERO);
        layer().honor_retry_after(Duration::ZERO), layer().try_honor_retry_after(Duration::ZERO);
        layer().half_open_max_calls(0), layer().try_half_open_max_calls(0);
        layer().success_threshold(0), layer().try_success_threshold(0);
        layer().probe_lease(Duration::ZERO), layer().try_probe_lease(Duration::ZERO);
        layer().ramp(&[], 1), layer().try_ramp(&[], 1);
        layer().max_partitions(0), layer().try_max_partitions(0);
        layer().minimum_children(1), layer().try_minimum_children(1);
        tenants().nested_in(partition::host(), 0.0), tenants().try_nested_in(partition::host(), 0.0);
        Window::count(0), Window::try_count(0);
        Window::time(Duration::ZERO), Window::try_time(Duration::ZERO);
        Window::count(5).buckets(5), Window::count(5).try_buckets(5);
        partition::header("not a header"), partition::try_header("not a header");
    }
    let (message, file, _) = panic_of(|| drop(layer().handle().subscribe(0)));
    assert_eq!((file.as_str(), message.as_str()), (file!(), "subscribe: the capacity must be at least 1, but is 0"));
}

#[test]
fn a_setting_from_outside_is_set_like_any_other() {
    let layer = layer().try_name("billing").and_then(|layer| layer.try_window(Window::try_count(1)?)).unwrap();
    let breaker = layer.breaker();
    breaker.try_acquire().unwrap().settle(tower_rampart::classify::Verdict::transient());
    assert_eq!((breaker.name(), breaker.state()), ("billing", tower_rampart::breaker::State::Open));
}
