mod display;
#[cfg(feature = "tonic")]
mod status;
mod timed_out;

use std::error::Error;
use std::panic::{RefUnwindSafe, UnwindSafe};

#[cfg(feature = "tonic")]
use self::status::WithStatus;
use super::observe::RetryReport;
use super::policy::GiveUp;
use crate::BoxError;
use crate::classify::{self, Verdict};

pub use self::timed_out::TimedOut;

/// The error of a failed call, with a report of its attempts.
///
/// Its source is the error of the last attempt.
///
/// ```
/// use tower::{Service, ServiceExt};
/// use tower_rampart::classify::{Verdict, classifier_fn};
/// use tower_rampart::retry::{GiveUp, RetryError};
/// use tower_rampart::{BoxError, RetryLayer};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let layer = RetryLayer::new(classifier_fn(|_: Result<&u32, _>| Verdict::transient()));
/// let mut service = tower::ServiceBuilder::new()
///     .layer(layer)
///     .service(tower::service_fn(|_: ()| async { Err::<u32, BoxError>("down".into()) }));
///
/// let error = service.ready().await.unwrap().call(()).await.unwrap_err();
/// let gave_up = RetryError::find(&*error).unwrap();
/// assert_eq!((gave_up.kind(), gave_up.attempts()), (GiveUp::Exhausted, 3));
/// assert_eq!(gave_up.report().history().len(), 3);
/// # }
/// ```
pub struct RetryError {
    kind: GiveUp,
    report: RetryReport,
    verdict: Verdict,
    source: Source,
}

/// The error of the last attempt.
enum Source {
    Plain(BoxError),
    /// For gRPC: a generated client returns the first status in the chain.
    #[cfg(feature = "tonic")]
    Grpc(WithStatus),
}

impl RetryError {
    /// The report covers all attempts, so its `processed` overrides that of the verdict on the last one.
    pub(in crate::retry) fn with_report(kind: GiveUp, report: RetryReport, verdict: Verdict, source: BoxError) -> Self {
        let verdict = verdict.with_processed(report.processed);
        Self { kind, report, verdict, source: Source::Plain(source) }
    }

    /// Adds a status to the source chain, which a generated gRPC client returns, unless there is one already. `is_late`
    /// is true if the deadline has passed, whatever error the last attempt ended in.
    #[cfg(feature = "tonic")]
    pub(in crate::retry) fn with_status(self, is_late: bool) -> Self {
        use crate::classify::{Class, Reason};

        // tonic searches the sources alone, so this does too.
        let mut sources = std::iter::successors(Some(self.source_error()), |&error| error.source());
        let has_status = sources.any(|error| error.is::<tonic::Status>());
        let message = self.to_string();
        let Self { kind, report, verdict, source } = self;
        let source = match source {
            Source::Plain(error) if !has_status && verdict.class() == Class::Transient => {
                let status = if is_late || verdict.reason() == Reason::TIMEOUT {
                    tonic::Status::deadline_exceeded(message)
                } else {
                    tonic::Status::unavailable(message)
                };
                Source::Grpc(WithStatus::new(status, error))
            }
            source => source,
        };
        Self { kind, report, verdict, source }
    }

    /// Returns the outermost `RetryError` in the source chain of an error.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        classify::find(error)
    }

    /// Returns why there was no further attempt.
    #[must_use]
    pub const fn kind(&self) -> GiveUp {
        self.kind
    }

    /// Returns how many attempts were started, the first one included; 0 if the deadline had passed before.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.report.attempts
    }

    /// Returns the report of the call, attempt by attempt.
    #[must_use]
    pub const fn report(&self) -> &RetryReport {
        &self.report
    }

    /// Returns the verdict on the last outcome, with what the report says of [`processed`](RetryReport::processed).
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns the error of the last attempt.
    #[must_use]
    pub fn into_source(self) -> BoxError {
        match self.source {
            Source::Plain(error) => error,
            #[cfg(feature = "tonic")]
            Source::Grpc(error) => error.into_original(),
        }
    }

    fn source_error(&self) -> &(dyn Error + 'static) {
        match &self.source {
            Source::Plain(error) => &**error,
            #[cfg(feature = "tonic")]
            Source::Grpc(error) => error.status(),
        }
    }
}

/// As the errors of the layers, for code that accepts both.
impl AsRef<dyn Error + Send + Sync + 'static> for RetryError {
    fn as_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }
}

impl Error for RetryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source_error())
    }
}

// No method mutates an error, so a panic cannot leave it in a broken state.
impl UnwindSafe for RetryError {}
impl RefUnwindSafe for RetryError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Processed;
    use crate::retry::observe::History;

    fn error(processed: Processed) -> RetryError {
        let refused = Verdict::transient().with_processed(Processed::No);
        let report =
            RetryReport { attempts: 2, gave_up: Some(GiveUp::Exhausted), processed, history: History::default() };
        RetryError::with_report(GiveUp::Exhausted, report, refused, "refused".into())
    }

    #[test]
    fn rule_5_an_earlier_attempt_that_may_have_been_processed_outweighs_the_last() {
        let maybe = error(Processed::Maybe);
        assert_eq!(maybe.verdict().processed(), Processed::Maybe);
        assert_eq!(Verdict::of_error(&maybe).processed(), Processed::Maybe);
        assert_eq!(maybe.to_string(), "gave up after 2 attempts: no attempts left");
        // The error of the last attempt itself, not a wrapper.
        assert_eq!(maybe.into_source().to_string(), "refused");

        assert_eq!(error(Processed::No).verdict().processed(), Processed::No);
        assert_eq!(Verdict::of_error(&error(Processed::No)).processed(), Processed::No);
    }

    #[test]
    fn display_and_debug_omit_the_text_of_the_source() {
        let secret = RetryError::new(GiveUp::Exhausted, 3, "GET https://user:hunter2@host/?token=7");
        for text in [secret.to_string(), format!("{secret:?}")] {
            assert!(!text.contains("hunter2") && !text.contains("token"), "{text}");
        }
    }

    #[test]
    #[cfg(feature = "tonic")]
    fn the_status_omits_the_text_of_the_source() {
        let secret = || std::io::Error::other("GET https://user:hunter2@host/?token=7");
        let error = RetryError::new(GiveUp::Exhausted, 3, secret()).with_status(false);
        let status = error.source().unwrap();
        assert!(status.is::<tonic::Status>());
        assert!(!format!("{status} {status:?}").contains("hunter2"), "{status}");
    }

    #[test]
    #[cfg(feature = "tonic")]
    fn a_generated_client_returns_the_code_and_into_source_the_error() {
        for (kind, code) in [
            (std::io::ErrorKind::ConnectionReset, tonic::Code::Unavailable),
            (std::io::ErrorKind::TimedOut, tonic::Code::DeadlineExceeded),
        ] {
            let error = || RetryError::new(GiveUp::Exhausted, 3, std::io::Error::from(kind)).with_status(false);
            assert_eq!(Verdict::of_error(&error()), error().verdict());
            let source = error().into_source().downcast::<std::io::Error>().unwrap();
            assert_eq!(source.kind(), kind);
            let status = tonic::Status::from_error(Box::new(error()));
            assert_eq!(status.code(), code);
            assert!(status.message().starts_with("gave up after 3 attempts: no attempts left"), "{status}");
        }
        // tonic does not find a status inside an io error.
        let hidden = std::io::Error::other(tonic::Status::unavailable("gone"));
        let hidden = RetryError::new(GiveUp::Exhausted, 3, hidden).with_status(false);
        assert_eq!(tonic::Status::from_error(Box::new(hidden)).code(), tonic::Code::Unavailable);
        // A status from the server stays.
        let busy = RetryError::new(GiveUp::Exhausted, 3, tonic::Status::resource_exhausted("quota")).with_status(false);
        assert_eq!(tonic::Status::from_error(Box::new(busy)).message(), "quota");
        let denied =
            RetryError::new(GiveUp::NotRetryable, 1, tonic::Status::permission_denied("no")).with_status(false);
        assert_eq!(tonic::Status::from_error(Box::new(denied)).code(), tonic::Code::PermissionDenied);
        // A terminal error gets no status that would promise a better outcome next time.
        let terminal = classify::ClassifiedError::new(Verdict::terminal());
        let terminal = RetryError::new(GiveUp::NotRetryable, 1, terminal).with_status(false);
        assert_eq!(tonic::Status::from_error(Box::new(terminal)).code(), tonic::Code::Unknown);
    }
}
