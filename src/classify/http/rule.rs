use std::fmt;

use super::Head;
use crate::classify::Verdict;

/// A rule in front of the default, as [`HttpClassifier::when`](super::HttpClassifier::when) takes it.
///
/// A closure from a [`Head`] to an optional [`Verdict`] is a rule; `()` is the rule that has nothing to say.
pub trait Rule {
    /// The verdict on a response, or `None` to let others decide.
    fn rule(&self, head: &Head<'_>) -> Option<Verdict>;
}

/// A rule, and one to ask where it has nothing to say. Made by [`HttpClassifier::when`](super::HttpClassifier::when).
#[derive(Clone)]
pub struct When<F, R> {
    rule: F,
    otherwise: R,
}

impl<F, R> When<F, R> {
    pub(super) const fn new(rule: F, otherwise: R) -> Self {
        Self { rule, otherwise }
    }
}

impl Rule for () {
    #[inline]
    fn rule(&self, _: &Head<'_>) -> Option<Verdict> {
        None
    }
}

impl<F> Rule for F
where
    F: Fn(&Head<'_>) -> Option<Verdict>,
{
    fn rule(&self, head: &Head<'_>) -> Option<Verdict> {
        self(head)
    }
}

impl<F: Rule, R: Rule> Rule for When<F, R> {
    fn rule(&self, head: &Head<'_>) -> Option<Verdict> {
        self.rule.rule(head).or_else(|| self.otherwise.rule(head))
    }
}

/// A closure has nothing to show.
impl<F, R: fmt::Debug> fmt::Debug for When<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("When").field("otherwise", &self.otherwise).finish_non_exhaustive()
    }
}
