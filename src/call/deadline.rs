use std::time::Duration;

use http::Extensions;
use tokio::time::Instant;

/// Stands for "never" where a sum of times overflows; the same value as in tokio's timers.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// The moment by which a call must have ended, with all its attempts and waits.
///
/// In the extensions of an HTTP request it overrides [`RetryLayer::deadline`](crate::RetryLayer::deadline), whether it
/// is later or earlier, and stays there for the layers inside. It is a point in time, so every layer can compute what
/// remains.
///
/// ```
/// use std::time::Duration;
/// use tower_rampart::retry::Deadline;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Deadline::within(Duration::from_secs(2)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

impl Deadline {
    /// Creates a deadline at this moment.
    #[must_use]
    pub const fn at(moment: Instant) -> Self {
        Self(moment)
    }

    /// Creates a deadline this long from now, or 30 years from now if the clock overflows.
    #[must_use]
    pub fn within(time: Duration) -> Self {
        Self(after(Instant::now(), time))
    }

    /// Returns the moment.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// Returns the time that is left; zero once the moment has come.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Returns true once the moment has come.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }
}

/// The moment at which the attempt timeout cuts an attempt. The [`RetryLayer`](crate::RetryLayer) puts it in the
/// extensions of every HTTP request if it has an [`attempt_timeout`](crate::RetryLayer::attempt_timeout).
///
/// A layer or client inside reads from it how much time its answer has. A call that is dropped at that moment or later
/// has timed out; one that is dropped earlier was abandoned by its caller.
///
/// ```
/// use tower_rampart::retry::AttemptDeadline;
///
/// fn time_left<B>(request: &http::Request<B>) -> Option<std::time::Duration> {
///     request.extensions().get().map(|deadline: &AttemptDeadline| deadline.remaining())
/// }
/// # assert_eq!(time_left(&http::Request::new(())), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptDeadline(Instant);

impl AttemptDeadline {
    pub(crate) const fn at(moment: Instant) -> Self {
        Self(moment)
    }

    /// Returns the moment.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// Returns the time that is left; zero once the moment has come.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Returns the earliest moment at which the attempt with these extensions is cut.
#[inline]
pub(crate) fn earliest(extensions: &Extensions) -> Option<Deadline> {
    if extensions.is_empty() {
        return None;
    }
    let attempt = extensions.get().map(|&AttemptDeadline(moment)| Deadline(moment));
    extensions.get().copied().into_iter().chain(attempt).min()
}

/// Adds a time to a moment without overflow.
pub(crate) fn after(moment: Instant, time: Duration) -> Instant {
    moment.checked_add(time).unwrap_or_else(|| moment + FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_remaining_time_stops_at_zero() {
        let deadline = Deadline::within(Duration::from_secs(2));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(deadline.remaining(), Duration::from_millis(1_500));
        assert!(!deadline.has_passed());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(deadline.remaining(), Duration::ZERO);
        assert!(deadline.has_passed());
    }

    #[test]
    fn the_earlier_of_both_limits_cuts() {
        let now = Instant::now();
        let late = now + Duration::from_secs(1);
        let cut = |limits: (Option<Instant>, Option<Instant>)| {
            let mut extensions = Extensions::new();
            limits.0.map(|moment| extensions.insert(Deadline(moment)));
            limits.1.map(|moment| extensions.insert(AttemptDeadline(moment)));
            earliest(&extensions).map(Deadline::instant)
        };
        assert_eq!(cut((None, None)), None);
        for limits in [(Some(now), Some(late)), (Some(late), Some(now)), (Some(now), None), (None, Some(now))] {
            assert_eq!(cut(limits), Some(now));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_duration_does_not_overflow() {
        assert!(Deadline::within(Duration::MAX).remaining() >= FAR);
    }
}
