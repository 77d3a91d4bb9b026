use std::error::Error;
use std::fmt;
use std::marker::PhantomData;

use super::RetryPolicy;
use crate::classify::{self, Class, Classifier, Verdict};

/// The classifier of [`RetryPolicy::retry_if`].
pub struct RetryIf<Inner, F, E> {
    inner: Inner,
    predicate: F,
    error: PhantomData<fn(&E)>,
}

impl<Classifier, OnRetry> RetryPolicy<Classifier, OnRetry> {
    /// Sets which errors of one type are retried: those for which the predicate returns true. Errors of this type are
    /// found anywhere in the chain of sources; all others, timeouts of the policy too, are judged as before. Call it
    /// once for each type of error.
    ///
    /// The predicate sets the class alone: a server's hint is still honored, and an open circuit is still retried only
    /// with [`retry_circuit_open`](Self::retry_circuit_open).
    ///
    /// ```
    /// use std::io;
    /// use tower_rampart::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().retry_if(|error: &io::Error| error.kind() != io::ErrorKind::NotFound);
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn retry_if<F, E>(self, predicate: F) -> RetryPolicy<RetryIf<Classifier, F, E>, OnRetry>
    where
        F: Fn(&E) -> bool,
        E: Error + 'static,
    {
        self.map_classifier(|inner| RetryIf { inner, predicate, error: PhantomData })
    }
}

impl<Inner, F, E, Res> Classifier<Res> for RetryIf<Inner, F, E>
where
    Inner: Classifier<Res>,
    F: Fn(&E) -> bool,
    E: Error + 'static,
{
    fn classify(&self, outcome: Result<&Res, &(dyn Error + 'static)>) -> Verdict {
        let verdict = self.inner.classify(outcome);
        let Some(error) = outcome.err().and_then(classify::find) else { return verdict };
        let class = if (self.predicate)(error) { Class::Transient } else { Class::Terminal };
        verdict.with_class(class)
    }
}

impl<Inner: Clone, F: Clone, E> Clone for RetryIf<Inner, F, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), predicate: self.predicate.clone(), error: PhantomData }
    }
}

impl<Inner: fmt::Debug, F, E> fmt::Debug for RetryIf<Inner, F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryIf").field("inner", &self.inner).finish_non_exhaustive()
    }
}
