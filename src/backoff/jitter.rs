use std::time::Duration;

use super::growth::scaled;
use crate::settings::invalid_setting::{InvalidSetting, ensure};

/// How much of a wait is random, so that clients that failed together do not return together.
///
/// `wait` is what the formula of the [`Backoff`](super::Backoff) returns, capped; all draws are uniform, both ends
/// included.
///
/// | jitter | the wait is drawn from | source |
/// |---|---|---|
/// | `Full` | 0 ..= wait | AWS |
/// | `Equal` | wait / 2 ..= wait | AWS |
/// | `Proportional(share)` | wait × (1 - share) ..= wait × (1 + share) | gRPC, resilience4j |
/// | `OnTop(share)` | wait ..= wait × (1 + share) | backon, with a share of 1 |
/// | `Decorrelated` | first ..= 3 × last, then capped | AWS |
/// | `None` | wait | |
///
/// - AWS: Marc Brooker, [Exponential Backoff And Jitter][aws], AWS Architecture Blog, 2015. The names are from there.
/// - gRPC: the [Connection Backoff Protocol][grpc], with a share of 0.2.
/// - resilience4j: `IntervalFunction.ofRandomized`, with a share of 0.5 by default.
/// - backon: `with_jitter`. tenacity's `wait_exponential_jitter` adds up to a second whatever the wait; for that, write
///   a [custom](super::Backoff::custom) function.
///
/// # The cap
///
/// No wait exceeds the longest one of the backoff. For that, `Proportional` and `OnTop` cap the wait at
/// `max / (1 + share)`, before the jitter: at the cap the longest draw is `max`, and waits stay as spread out as before
/// it. gRPC caps at `max` and so exceeds it by the share; backon's limits only what comes before the jitter, too.
/// A [fixed](super::Backoff::fixed) or [custom](super::Backoff::custom) wait has no cap.
///
/// `Decorrelated` is capped after the draw, as published: of the waits that follow one at the cap, about two thirds are
/// exactly `max`.
///
/// ```
/// use std::time::Duration;
/// use tower_rampart::retry::{Backoff, Jitter};
///
/// let backoff = Backoff::fixed(Duration::from_secs(1)).jitter(Jitter::OnTop(0.5));
/// let waits: Vec<_> = backoff.waits_with_seed(7).take(100).collect();
/// assert!(waits.iter().all(|wait| (1_000..=1_500).contains(&wait.as_millis())));
/// ```
///
/// [aws]: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
/// [grpc]: https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Jitter {
    /// Between zero and the whole wait: spreads clients best.
    #[default]
    Full,
    /// Between half of the wait and the whole wait.
    Equal,
    /// A share of the wait more or less: `Proportional(0.2)` is ± 20 %. From 0 to 1.
    Proportional(f64),
    /// Up to a share of the wait more, and never less: `OnTop(0.2)` adds up to 20 %. From 0 to 1.
    OnTop(f64),
    /// Between the first wait and three times the last one, whatever the formula, and at most the longest:
    /// [`Backoff::decorrelated`](super::Backoff::decorrelated).
    ///
    /// A wait that a server asked for counts as the last one, and so does one that was spread over an attempt timeout.
    /// An open circuit has no last wait and takes [`Equal`](Self::Equal) instead. A [fixed](super::Backoff::fixed) or
    /// [custom](super::Backoff::custom) backoff has no longest wait to grow to, and gets no jitter from this.
    Decorrelated,
    /// Always the whole wait.
    None,
}

impl Jitter {
    pub(super) fn check(self) -> Result<(), InvalidSetting> {
        if let Self::Proportional(share) | Self::OnTop(share) = self {
            ensure!((0.0..=1.0).contains(&share), "Backoff: the share of jitter must be from 0 to 1, but is {share}");
        }
        Ok(())
    }

    /// Returns the cap of a wait before jitter, so that none exceeds `max` with it.
    pub(super) fn cap(self, max: Duration) -> Duration {
        match self {
            Self::Proportional(share) | Self::OnTop(share) => scaled(max, 1.0 / (1.0 + share)),
            Self::Full | Self::Equal | Self::Decorrelated | Self::None => max,
        }
    }
}
