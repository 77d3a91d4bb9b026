use std::fmt;

use super::ResponseHead;
use crate::classify::Verdict;

/// A rule in front of the default, as [`HttpClassifier::when`](super::HttpClassifier::when) takes it.
///
/// A closure from a [`ResponseHead`] to an optional [`Verdict`] is a rule; `()` is the rule that has nothing to say.
pub trait ResponseRule {
    /// The verdict on a response, or `None` to let others decide.
    fn rule(&self, head: &ResponseHead<'_>) -> Option<Verdict>;
}

/// A rule, and one to ask where it has nothing to say. Made by [`HttpClassifier::when`](super::HttpClassifier::when).
#[derive(Clone)]
pub struct RuleOrElse<F, R> {
    rule: F,
    otherwise: R,
}

impl<F, R> RuleOrElse<F, R> {
    pub(super) const fn new(rule: F, otherwise: R) -> Self {
        Self { rule, otherwise }
    }
}

impl ResponseRule for () {
    #[inline]
    fn rule(&self, _: &ResponseHead<'_>) -> Option<Verdict> {
        None
    }
}

impl<F> ResponseRule for F
where
    F: Fn(&ResponseHead<'_>) -> Option<Verdict>,
{
    fn rule(&self, head: &ResponseHead<'_>) -> Option<Verdict> {
        self(head)
    }
}

impl<F: ResponseRule, R: ResponseRule> ResponseRule for RuleOrElse<F, R> {
    fn rule(&self, head: &ResponseHead<'_>) -> Option<Verdict> {
        self.rule.rule(head).or_else(|| self.otherwise.rule(head))
    }
}

/// A closure has nothing to show.
impl<F, R: fmt::Debug> fmt::Debug for RuleOrElse<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleOrElse").field("otherwise", &self.otherwise).finish_non_exhaustive()
    }
}
