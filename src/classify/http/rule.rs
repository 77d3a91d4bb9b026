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

/// A closure has nothing to show.
impl<Rule, Otherwise: fmt::Debug> fmt::Debug for RuleOrElse<Rule, Otherwise> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleOrElse").field("otherwise", &self.otherwise).finish_non_exhaustive()
    }
}
