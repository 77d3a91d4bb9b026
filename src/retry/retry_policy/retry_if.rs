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
    /// once for each type of error. If a chain has errors of several of these types, the predicate that was added last
    /// decides, whichever error is further outside.
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
    ///
    /// The type of a policy for a static or a field can be named if the predicate is a function:
    ///
    /// ```
    /// use std::io;
    /// use std::sync::LazyLock;
    /// use tower_rampart::classify::ErrorClassifier;
    /// use tower_rampart::retry::{RetryIf, RetryPolicy};
    ///
    /// type Policy = RetryPolicy<RetryIf<ErrorClassifier, fn(&io::Error) -> bool, io::Error>>;
    ///
    /// static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    ///     RetryPolicy::new().retry_if(|error| error.kind() != io::ErrorKind::NotFound)
    /// });
    /// # let _ = &*POLICY;
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
