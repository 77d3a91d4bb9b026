//! Classification of HTTP responses.
//!
//! 1. `head` borrows all of a response but its body, so that one classifier serves every body type.
//! 2. `status` is the table of statuses; `rule` holds the user's closures in front of it; `route` picks a classifier by
//!    request.
//! 3. `hint` reads what the server asks for: a wait, or another attempt.
//! 4. `annotation` attaches a verdict to a response; `eos` judges the end of a body.
//! 5. `tower_http` converts classifiers from and to tower-http's.

mod annotation;
mod eos;
mod head;
pub(super) mod hint;
mod route;
mod rule;
pub(super) mod status;
#[cfg(feature = "tower-http")]
pub mod tower_http;

use std::error::Error;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::Response;

pub use self::eos::HttpEos;
pub use self::head::ResponseHead;
pub use self::route::{RequestHead, Route, Routes};
pub use self::rule::{ResponseRule, RuleOrElse};
use super::error::verdict_of_error;
use super::{Classifier, DistrustRefusals, Verdict};
use crate::settings::invalid_setting::{InvalidSetting, ensure, valid};

/// The default classifier for HTTP.
///
/// The first of these that returns a verdict judges a response:
///
/// 1. the rules of [`when`](Self::when), the last one added first;
/// 2. the overrides of [`status`](Self::status) and [`statuses`](Self::statuses), the last matching one;
/// 3. the verdict that an inner [`ClassifyLayer`](crate::ClassifyLayer) attached to the response;
/// 4. the table in [the module](super).
///
/// The chain of its sources judges an error.
///
/// ```
/// use tower_rampart::classify::{Class, Classifier, HttpClassifier, Verdict};
///
/// let classifier = HttpClassifier::new()
///     .status(409, Class::Transient)
///     .statuses(520..=529, Class::Terminal)
///     .when(|head| (head.header("x-cache") == Some("stale")).then(Verdict::ambiguous));
///
/// let conflict = http::Response::builder().status(409).body(()).unwrap();
/// assert_eq!(classifier.classify(Ok(&conflict)).class(), Class::Transient);
/// let stale = http::Response::builder().header("x-cache", "stale").body(()).unwrap();
/// assert_eq!(classifier.classify(Ok(&stale)).class(), Class::Ambiguous);
/// ```
///
/// # Hints
///
/// For every verdict except a success, the classifier reads what the server asks for. Whatever a rule or an override
/// sets (a wait, a reason, whether to retry) stays. A rule or an override also disables `x-should-retry`: you know
/// better than a header what a status means to you.
///
/// | header | becomes |
/// |---|---|
/// | `retry-after-ms`, else `x-ms-retry-after-ms` | [`retry_after`](Verdict::retry_after), in milliseconds |
/// | else `Retry-After` (RFC 9110 section 10.2.3) | `retry_after`, in seconds or until a date in any of the three forms; a date in the past is a wait of zero |
/// | else `RateLimit-Reset`, `X-RateLimit-Reset` | the same, if [asked for](Self::rate_limit_reset) |
/// | `x-should-retry: true`, `false` | [`should_retry`](Verdict::should_retry), unless a rule or an override decided |
///
/// Invalid values are ignored. If a header is repeated, the longest wait applies, which satisfies all of them; both
/// `true` and `false` cancel out. Waits are capped at [`Verdict::LONGEST_RETRY_AFTER`].
#[derive(Clone, Debug, Default)]
pub struct HttpClassifier<Rule = ()> {
    // Shared, because a classifier is cloned with every call.
    overrides: Option<Arc<Overrides>>,
    distrusts_refusals: bool,
    rule: Rule,
}

/// What differs from the defaults.
#[derive(Clone, Debug, Default)]
struct Overrides {
    statuses: Vec<(RangeInclusive<u16>, Verdict)>,
    rate_limit_reset: bool,
}

impl HttpClassifier {
    /// Creates a classifier with the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<Rule> HttpClassifier<Rule> {
    /// Sets the verdict on this status. A class alone stands for its usual verdict, whatever the status: see
    /// [`Verdict::new`]. For example, `Class::Terminal` also reports to a breaker that the upstream is alive. To only
    /// stop the retries, set the health too:
    ///
    /// ```
    /// use tower_rampart::classify::{Health, HttpClassifier, Verdict};
    ///
    /// let classifier = HttpClassifier::new().status(500, Verdict::terminal().with_health(Health::Failure));
    /// # let _ = classifier;
    /// ```
    ///
    /// If several overrides match a status, the last one applies.
    ///
    /// # Panics
    ///
    /// If the status is outside 100 to 999.
    #[must_use]
    #[track_caller]
    pub fn status(self, status: u16, verdict: impl Into<Verdict>) -> Self {
        valid(self.try_status(status, verdict))
    }

    /// Like [`status`](Self::status), but returns an error instead of panicking.
    pub fn try_status(self, status: u16, verdict: impl Into<Verdict>) -> Result<Self, InvalidSetting> {
        self.try_statuses(status..=status, verdict)
    }

    /// Sets the verdict on every status of a range.
    ///
    /// # Panics
    ///
    /// If the range is empty or reaches outside 100 to 999.
    #[must_use]
    #[track_caller]
    pub fn statuses(self, statuses: RangeInclusive<u16>, verdict: impl Into<Verdict>) -> Self {
        valid(self.try_statuses(statuses, verdict))
    }

    /// Like [`statuses`](Self::statuses), but returns an error instead of panicking.
    pub fn try_statuses(
        mut self,
        statuses: RangeInclusive<u16>,
        verdict: impl Into<Verdict>,
    ) -> Result<Self, InvalidSetting> {
        let (first, last) = (*statuses.start(), *statuses.end());
        ensure!(
            100 <= first && first <= last && last <= 999,
            "HttpClassifier: no status lies in {first}..={last}; statuses go from 100 to 999"
        );
        let verdict = verdict.into();
        self.update(|overrides| overrides.statuses.push((statuses, verdict)));
        Ok(self)
    }

    /// Adds a rule in front of everything set before. Where it returns `None`, what was set before decides.
    ///
    /// The rule sees the response without its body. It runs for every response, so it must be cheap and must not block.
    ///
    /// ```
    /// use tower_rampart::classify::{Class, HttpClassifier, Verdict};
    ///
    /// // This API marks a search without hits by a header: not a failure.
    /// let classifier = HttpClassifier::new()
    ///     .when(|head| (head.status() == 404 && head.headers().contains_key("x-no-hits")).then(Verdict::success));
    /// # let _ = classifier;
    /// ```
    #[must_use]
    pub fn when<NewRule>(self, rule: NewRule) -> HttpClassifier<RuleOrElse<NewRule, Rule>>
    where
        NewRule: Fn(&ResponseHead<'_>) -> Option<Verdict>,
    {
        let Self { overrides, distrusts_refusals, rule: otherwise } = self;
        HttpClassifier { overrides, distrusts_refusals, rule: RuleOrElse::new(rule, otherwise) }
    }

    /// Uses `RateLimit-Reset` and `X-RateLimit-Reset` as the wait of a throttled call without another hint. Off by
    /// default.
    ///
    /// These headers are not standardized. Numbers below a billion are seconds from now, larger ones are seconds since
    /// 1970, and numbers beyond the year 5138 (milliseconds) are ignored.
    #[must_use]
    pub fn rate_limit_reset(mut self, obey: bool) -> Self {
        self.update(|overrides| overrides.rate_limit_reset = obey);
        self
    }

    /// Treats a request whose stream was refused (`REFUSED_STREAM`) as one that may have been processed.
    ///
    /// For proxies such as HAProxy that refuse streams after their backend has processed the request: see
    /// [`DistrustRefusals`](super::DistrustRefusals). Applies to every error, even if an inner
    /// [`ClassifyLayer`](crate::ClassifyLayer) has already judged it.
    #[must_use]
    pub fn distrust_refusals(mut self) -> Self {
        self.distrusts_refusals = true;
        self
    }

    fn update(&mut self, update: impl FnOnce(&mut Overrides)) {
        update(Arc::make_mut(self.overrides.get_or_insert_default()));
    }

    /// Returns the verdict on a response. Fast path: a few inlined comparisons recognize a plain success.
    #[inline(always)]
    pub(super) fn classify_head(&self, head: &ResponseHead<'_>) -> Verdict
    where
        Rule: ResponseRule,
    {
        let ruled = self.rule.rule(head);
        let is_plain = ruled.is_none() && self.overrides.is_none() && head.extensions().is_empty();
        if is_plain && status::is_success(head.status()) { Verdict::success() } else { self.classify_slow(head, ruled) }
    }

    fn classify_slow(&self, head: &ResponseHead<'_>, ruled: Option<Verdict>) -> Verdict {
        let overrides = self.overrides.as_deref();
        let status = head.status();
        let overridden = || {
            let (_, verdict) = overrides?.statuses.iter().rfind(|(range, _)| range.contains(&status.as_u16()))?;
            Some(*verdict)
        };
        let verdict = match ruled.or_else(overridden) {
            Some(verdict) => status::with_details_of_override(verdict, status, head.headers()),
            None => head.annotation().unwrap_or_else(|| status::default_verdict(status, head.headers())),
        };
        match overrides {
            Some(overrides) if overrides.rate_limit_reset => hint::apply_rate_limit(verdict, head.headers()),
            _ => verdict,
        }
    }
}

impl<Rule: ResponseRule> DistrustRefusals for HttpClassifier<Rule> {
    fn distrust_refusals(self) -> Self {
        HttpClassifier::distrust_refusals(self)
    }
}

impl<B, Rule: ResponseRule> Classifier<Response<B>> for HttpClassifier<Rule> {
    #[inline(always)]
    fn classify(&self, outcome: Result<&Response<B>, &(dyn Error + 'static)>) -> Verdict {
        match outcome {
            Ok(response) => self.classify_head(&ResponseHead::of(response)),
            Err(error) => verdict_of_error(error, self.distrusts_refusals),
        }
    }

    fn annotate(&self, response: &mut Response<B>, verdict: Verdict) {
        verdict.leave_in(response);
    }
}
