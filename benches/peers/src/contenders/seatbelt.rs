//! The crate `seatbelt`, through its tower services.

use http::Request;
use seatbelt::breaker::{Breaker, BreakerId, HalfOpenMode};
use seatbelt::retry::{Backoff, Retry};
use seatbelt::{RecoveryInfo, ResilienceContext};
use tick::Clock;
use tower::Layer;

use crate::contenders::Contender;
use crate::paths::Path;
use crate::settings::{FAILURE_RATE, FIRST_WAIT, LONGEST_WAIT, MAX_ATTEMPTS, MINIMUM_CALLS, OPEN_FOR, TIME_WINDOW};
use crate::upstream::{Answer, Body, Failure, Inner, host, is_failure, refusal};

pub(crate) const WHO: &str = "seatbelt";
pub(crate) const NOTE: &str = "breaker and retry as tower services, without logs or metrics; its only window is one of time, ten \
    buckets in 60 s, shown in the row of the small count window too; by host: BreakerId::hashed of the host's text; retry \
    has no budget";

type Outcome = Result<Answer, Failure>;
type Settings = ResilienceContext<Request<Body>, Outcome>;

pub(crate) fn contender(path: Path) -> Option<Contender> {
    Some(match path {
        Path::Retry => Contender::new(WHO, || retry(&context(), Inner::Healthy)),
        Path::Metrics => Contender::new(WHO, || stack(&context())),
        Path::ClosedCount | Path::ClosedTime | Path::ClosedTime10k | Path::TwoThreads | Path::TwoThreadsTime => {
            Contender::new(WHO, || breaker(&context(), Inner::Healthy, false))
        }
        Path::Keyed1k | Path::Keyed100k | Path::BytesPerKey => {
            Contender::new(WHO, || breaker(&context(), Inner::Healthy, true))
        }
        Path::Open => Contender::new(WHO, || breaker(&context(), Inner::Sick, false)),
        _ => return None,
    })
}

/// What is measured on the path `metrics`.
pub(crate) fn stack(context: &Settings) -> Retry<Request<Body>, Outcome, Breaker<Request<Body>, Outcome, Inner>> {
    retry(context, breaker(context, Inner::Healthy, false))
}

fn breaker(context: &Settings, inner: Inner, by_host: bool) -> Breaker<Request<Body>, Outcome, Inner> {
    let layer = Breaker::layer("peers", context)
        .recovery_with(|outcome, _| recovery(outcome))
        .rejected_input_error(|_, _| refusal())
        .failure_threshold(FAILURE_RATE as f32)
        .min_throughput(MINIMUM_CALLS)
        .sampling_duration(TIME_WINDOW)
        .break_duration(OPEN_FOR)
        .half_open_mode(HalfOpenMode::quick());
    let by = |request: &Request<Body>| BreakerId::hashed(&host(request).as_str(), "host");
    let layer = if by_host { layer.breaker_id(by) } else { layer };
    layer.layer(inner)
}

fn retry<S>(context: &Settings, inner: S) -> Retry<Request<Body>, Outcome, S> {
    Retry::layer("peers", context)
        .clone_input()
        .recovery_with(|outcome, _| recovery(outcome))
        .max_retry_attempts(MAX_ATTEMPTS - 1)
        .backoff(Backoff::Exponential)
        .base_delay(FIRST_WAIT)
        .max_delay(LONGEST_WAIT)
        .layer(inner)
}

pub(crate) fn context() -> Settings {
    ResilienceContext::new(Clock::new_tokio())
}

fn recovery(outcome: &Outcome) -> RecoveryInfo {
    if is_failure(outcome) { RecoveryInfo::retry() } else { RecoveryInfo::never() }
}
