use std::error::Error;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::Response;

use super::{Classifier, Verdict, chain, status};

/// The default classifier for HTTP.
///
/// Looks, in this order, for an override of the status, for a verdict that a [`ClassifyLayer`](crate::ClassifyLayer)
/// further inside left in the response, and at the status itself. Errors are judged by the chain of their sources.
///
/// ```
/// use tower_rampart::classify::{Class, Classifier, HttpClassifier};
///
/// let classifier = HttpClassifier::new().status(409, Class::Transient).statuses(520..=529, Class::Terminal);
/// let conflict = http::Response::builder().status(409).body(()).unwrap();
/// assert_eq!(classifier.classify(Ok(&conflict)).class(), Class::Transient);
/// ```
#[derive(Clone, Debug, Default)]
pub struct HttpClassifier {
    // Shared, because a classifier is cloned with every service.
    overrides: Option<Arc<[Override]>>,
}

#[derive(Clone, Debug)]
struct Override {
    statuses: RangeInclusive<u16>,
    verdict: Verdict,
}

impl HttpClassifier {
    /// The defaults, without any override.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what this status means. A class alone stands for what is usual for it: see [`Verdict::new`].
    ///
    /// The last word on a status counts.
    ///
    /// # Panics
    ///
    /// If the status is outside 100 to 999.
    #[must_use]
    pub fn status(self, status: u16, verdict: impl Into<Verdict>) -> Self {
        self.statuses(status..=status, verdict)
    }

    /// Says what every status of a range means.
    ///
    /// # Panics
    ///
    /// If the range is empty or reaches outside 100 to 999.
    #[must_use]
    pub fn statuses(self, statuses: RangeInclusive<u16>, verdict: impl Into<Verdict>) -> Self {
        let (first, last) = (*statuses.start(), *statuses.end());
        assert!(
            100 <= first && first <= last && last <= 999,
            "HttpClassifier: no status lies in {first}..={last}; statuses go from 100 to 999"
        );
        let earlier = self.overrides.as_deref().unwrap_or_default().iter().cloned();
        let added = Override { statuses, verdict: verdict.into() };
        Self { overrides: Some(earlier.chain([added]).collect()) }
    }

    fn overridden<B>(&self, response: &Response<B>) -> Option<Verdict> {
        let status = response.status().as_u16();
        let rule = self.overrides.as_deref()?.iter().rfind(|rule| rule.statuses.contains(&status))?;
        Some(status::with_facts(rule.verdict, response.status(), response.headers()))
    }
}

impl<B> Classifier<Response<B>> for HttpClassifier {
    fn classify(&self, outcome: Result<&Response<B>, &(dyn Error + 'static)>) -> Verdict {
        match outcome {
            Ok(response) => self.overridden(response).unwrap_or_else(|| Verdict::of(response)),
            Err(error) => chain::verdict(error),
        }
    }

    fn annotate(&self, response: &mut Response<B>, verdict: Verdict) {
        if !verdict.is_success() || verdict != Verdict::of(response) {
            verdict.leave_in(response);
        }
    }
}
