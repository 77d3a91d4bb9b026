mod reason;

use std::fmt;
use std::time::Duration;

pub use self::reason::Reason;

/// What kind of outcome an attempt had. There will be no other kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The call did what it should.
    Success,
    /// It failed, and may go away by itself.
    Transient,
    /// It failed, and the same call will fail again.
    Terminal,
    /// It cannot be told what the server did or sent (truncated, malformed). Never retried blindly: to be reconciled
    /// by the caller.
    Ambiguous,
}

/// Whether the server acted on the request. There will be no other answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Processed {
    /// It did.
    Yes,
    /// It provably did not: safe to send again, even a POST.
    No,
    /// It may have.
    Maybe,
}

/// What a circuit breaker learns about the upstream. There will be nothing else to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// The upstream is alive and answered.
    Success,
    /// The upstream failed.
    Failure,
    /// The upstream asks for fewer calls: counts in the failure rate, not as a consecutive failure.
    Throttled,
    /// Says nothing about the upstream.
    Neutral,
}

/// What an attempt's outcome means.
///
/// Made by a [`Classifier`](super::Classifier); a small `Copy` value.
///
/// ```
/// use std::time::Duration;
/// use tower_rampart::classify::{Class, Health, Processed, Verdict};
///
/// let busy = Verdict::transient()
///     .with_processed(Processed::No)
///     .with_health(Health::Throttled)
///     .with_retry_after(Duration::from_secs(3));
/// assert_eq!(busy.class(), Class::Transient);
/// assert!(busy.is_unprocessed());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    class: Class,
    processed: Processed,
    health: Health,
    should_retry: Option<bool>,
    code: Option<u16>,
    reason: Reason,
    retry_after: Option<Duration>,
}

impl Verdict {
    /// The longest [`retry_after`](Self::retry_after), 366 days. A longer wait is no wait but an outage; the limit also
    /// keeps every sum of waits far from overflow.
    pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// A verdict of this class, with what is usual for it:
    ///
    /// | class | processed | health |
    /// |---|---|---|
    /// | `Success` | yes | success |
    /// | `Transient` | maybe | failure |
    /// | `Terminal` | yes | success: the upstream is alive and said no |
    /// | `Ambiguous` | maybe | failure |
    #[must_use]
    pub const fn new(class: Class) -> Self {
        let (processed, health) = match class {
            Class::Success | Class::Terminal => (Processed::Yes, Health::Success),
            Class::Transient | Class::Ambiguous => (Processed::Maybe, Health::Failure),
        };
        Self { class, processed, health, should_retry: None, code: None, reason: Reason::UNKNOWN, retry_after: None }
    }

    /// [`Verdict::new`] of [`Class::Success`].
    #[must_use]
    pub const fn success() -> Self {
        Self::new(Class::Success)
    }

    /// [`Verdict::new`] of [`Class::Transient`].
    #[must_use]
    pub const fn transient() -> Self {
        Self::new(Class::Transient)
    }

    /// [`Verdict::new`] of [`Class::Terminal`].
    #[must_use]
    pub const fn terminal() -> Self {
        Self::new(Class::Terminal)
    }

    /// [`Verdict::new`] of [`Class::Ambiguous`].
    #[must_use]
    pub const fn ambiguous() -> Self {
        Self::new(Class::Ambiguous)
    }

    /// A success that says nothing about the upstream: the caller is served, and a breaker learns nothing from it. For
    /// outcomes that are not the upstream's doing, for example an answer that came from a cache.
    ///
    /// Of a failure say so by [`with_health`](Self::with_health): `Verdict::terminal().with_health(Health::Neutral)`.
    #[must_use]
    pub const fn neutral() -> Self {
        Self::success().with_health(Health::Neutral)
    }

    /// The class.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// Whether the server acted on the request.
    #[must_use]
    pub const fn processed(&self) -> Processed {
        self.processed
    }

    /// What a circuit breaker learns.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// Why it is so.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// The HTTP status or gRPC code it was made from.
    #[must_use]
    pub const fn code(&self) -> Option<u16> {
        self.code
    }

    /// How long the server asks to wait before the next attempt.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The server's own word on whether to try again, which overrides what the class says. It never makes a request
    /// that may have been processed safe to send twice.
    #[must_use]
    pub const fn should_retry(&self) -> Option<bool> {
        self.should_retry
    }

    /// Whether the class is [`Class::Success`].
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self.class, Class::Success)
    }

    /// Whether the server provably did not act on the request.
    #[must_use]
    pub const fn is_unprocessed(&self) -> bool {
        matches!(self.processed, Processed::No)
    }

    /// The same with another [`processed`](Self::processed).
    #[must_use]
    pub const fn with_processed(mut self, processed: Processed) -> Self {
        self.processed = processed;
        self
    }

    /// The same with another [`health`](Self::health).
    #[must_use]
    pub const fn with_health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// The same with another [`reason`](Self::reason).
    #[must_use]
    pub const fn with_reason(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    /// The same with a [`code`](Self::code).
    #[must_use]
    pub const fn with_code(mut self, code: u16) -> Self {
        self.code = Some(code);
        self
    }

    /// The same with a wait that the server asks for, at most [`LONGEST_RETRY_AFTER`](Self::LONGEST_RETRY_AFTER).
    #[must_use]
    pub const fn with_retry_after(mut self, wait: Duration) -> Self {
        let longest = Self::LONGEST_RETRY_AFTER;
        self.retry_after = Some(if wait.as_secs() < longest.as_secs() { wait } else { longest });
        self
    }

    /// The same with the server's own word on whether to try again.
    #[must_use]
    pub const fn with_should_retry(mut self, retry: bool) -> Self {
        self.should_retry = Some(retry);
        self
    }
}

impl From<Class> for Verdict {
    fn from(class: Class) -> Self {
        Self::new(class)
    }
}

impl fmt::Display for Verdict {
    /// The class, with the reason and the code where there are any: `transient (status 503)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.class)?;
        match (self.reason, self.code) {
            (Reason::UNKNOWN, None) => Ok(()),
            (reason, None) => write!(f, " ({reason})"),
            (reason, Some(code)) => write!(f, " ({reason} {code})"),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Success => "success",
            Class::Transient => "transient",
            Class::Terminal => "terminal",
            Class::Ambiguous => "ambiguous",
        })
    }
}
