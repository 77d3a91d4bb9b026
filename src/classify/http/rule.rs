use std::fmt;

use super::ResponseHead;
use crate::classify::Verdict;

/// A rule that comes before the defaults: see [`HttpClassifier::when`](super::HttpClassifier::when).
///
/// Implemented by closures from a [`ResponseHead`] to an optional [`Verdict`], and by `()`, which never decides.
pub trait ResponseRule {
    /// Returns the verdict on a response, or `None` to leave the decision to what comes next.
    fn rule(&self, head: &ResponseHead<'_>) -> Option<Verdict>;
}

/// A rule, and the one to try where it returns `None`. Created by
/// [`HttpClassifier::when`](super::HttpClassifier::when).
#[derive(Clone)]
pub struct RuleOrElse<Rule, Otherwise> {
    rule: Rule,
    otherwise: Otherwise,
}

impl<Rule, Otherwise> RuleOrElse<Rule, Otherwise> {
    pub(super) const fn new(rule: Rule, otherwise: Otherwise) -> Self {
        Self { rule, otherwise }
    }
}

impl ResponseRule for () {
    #[inline]
    fn rule(&self, _: &ResponseHead<'_>) -> Option<Verdict> {
        None
    }
}

impl<Rule> ResponseRule for Rule
where
    Rule: Fn(&ResponseHead<'_>) -> Option<Verdict>,
{
    fn rule(&self, head: &ResponseHead<'_>) -> Option<Verdict> {
        self(head)
    }
}

impl<Rule: ResponseRule, Otherwise: ResponseRule> ResponseRule for RuleOrElse<Rule, Otherwise> {
    fn rule(&self, head: &ResponseHead<'_>) -> Option<Verdict> {
        self.rule.rule(head).or_else(|| self.otherwise.rule(head))
    }
}

/// Omits the closure, which has no `Debug`.
impl<Rule, Otherwise: fmt::Debug> fmt::Debug for RuleOrElse<Rule, Otherwise> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleOrElse").field("otherwise", &self.otherwise).finish_non_exhaustive()
    }
}
