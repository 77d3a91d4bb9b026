//! The verdict on an outcome: a small `Copy` value that knows no classifier.
//!
//! 1. [`Class`] answers "is another attempt worth it?", for the retry layer.
//! 2. [`Processed`] answers "is another attempt safe?", for the retry layer.
//! 3. [`Health`] answers "is the upstream well?", for the breaker.
//! 4. [`Reason`], code and hints say why and what the server asks for.
//!
//! Three questions, because one answer cannot serve both layers: a 429 is worth another attempt, is safe to resend, and
//! must slow the breaker down without opening it at once.
//!
//! The files of the classifiers implement `Verdict::of`, `of_grpc` and `of_error`.

mod reason;

use std::fmt;
use std::time::Duration;

pub use self::reason::Reason;

/// The kind of outcome. The list is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Class {
    /// The call succeeded.
    Success,
    /// The call failed, and another attempt may succeed.
    Transient,
    /// The call failed, and every other attempt will fail too.
    Terminal,
    /// What the server did or sent is unknown (truncated, malformed). Never retried blindly: the caller has to
    /// reconcile.
    Ambiguous,
}

/// Whether the server acted on the request. The list is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Processed {
    /// The server acted on it.
    Yes,
    /// The server provably did not: safe to resend, even a POST.
    No,
    /// The server may have.
    Maybe,
}

/// What a circuit breaker learns about the upstream. The list is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Health {
    /// The upstream is alive and answered.
    Success,
    /// The upstream failed.
    Failure,
    /// The upstream asks for fewer calls. Counts in the failure rate, but not as a consecutive failure.
    Throttled,
    /// The outcome says nothing about the upstream.
    Neutral,
}

/// What the outcome of an attempt means. A [`Classifier`](super::Classifier) makes it.
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
    /// The longest [`retry_after`](Self::retry_after), 366 days. A longer wait is an outage, and the limit keeps sums
    /// of waits from overflowing.
    pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// Creates a verdict of this class, with the usual answers for it:
    ///
    /// | class | processed | health |
    /// |---|---|---|
    /// | `Success` | yes | success |
    /// | `Transient` | maybe | failure |
    /// | `Terminal` | yes | success: the upstream is alive and rejected the call |
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

    /// Creates a success that a breaker ignores, for example for a response from a cache.
    ///
    /// For a failure that a breaker ignores, use [`with_health`](Self::with_health):
    /// `Verdict::terminal().with_health(Health::Neutral)`.
    #[must_use]
    pub const fn neutral() -> Self {
        Self::success().with_health(Health::Neutral)
    }

    /// Returns the class.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// Returns whether the server acted on the request.
    #[must_use]
    pub const fn processed(&self) -> Processed {
        self.processed
    }

    /// Returns what a circuit breaker learns.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// Returns the reason.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the HTTP status or gRPC code behind the verdict.
    #[must_use]
    pub const fn code(&self) -> Option<u16> {
        self.code
    }

    /// Returns how long the server asks to wait before the next attempt.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns whether the server asks for another attempt. This overrides the class, but never makes it safe to resend
    /// a request that may have been processed.
    #[must_use]
    pub const fn should_retry(&self) -> Option<bool> {
        self.should_retry
    }

    /// Returns true if the class is [`Class::Success`].
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self.class, Class::Success)
    }

    /// Returns true if the server provably did not act on the request.
    #[must_use]
    pub const fn is_unprocessed(&self) -> bool {
        matches!(self.processed, Processed::No)
    }

    /// Sets [`processed`](Self::processed).
    #[must_use]
    pub const fn with_processed(mut self, processed: Processed) -> Self {
        self.processed = processed;
        self
    }

    /// Sets [`health`](Self::health).
    #[must_use]
    pub const fn with_health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// Sets the [`reason`](Self::reason).
    #[must_use]
    pub const fn with_reason(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    /// Sets the [`code`](Self::code).
    #[must_use]
    pub const fn with_code(mut self, code: u16) -> Self {
        self.code = Some(code);
        self
    }

    /// Sets the wait that the server asks for, capped at [`LONGEST_RETRY_AFTER`](Self::LONGEST_RETRY_AFTER).
    #[must_use]
    pub const fn with_retry_after(mut self, wait: Duration) -> Self {
        let longest = Self::LONGEST_RETRY_AFTER;
        self.retry_after = Some(if wait.as_secs() < longest.as_secs() { wait } else { longest });
        self
    }

    /// Sets whether the server asks for another attempt.
    #[must_use]
    pub const fn with_should_retry(mut self, retry: bool) -> Self {
        self.should_retry = Some(retry);
        self
    }

    /// Sets the class, and nothing that [`new`](Self::new) derives from it.
    pub(crate) const fn with_class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// Sets the reason and the code, each unless it is set already.
    pub(in crate::classify) fn or_code(mut self, reason: Reason, code: u16) -> Self {
        if self.reason == Reason::UNKNOWN {
            self.reason = reason;
        }
        self.code.get_or_insert(code);
        self
    }
}

impl From<Class> for Verdict {
    fn from(class: Class) -> Self {
        Self::new(class)
    }
}

impl fmt::Display for Verdict {
    /// Writes the class, and the reason and code if there are any: `transient (status 503)`.
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
