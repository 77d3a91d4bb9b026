//! Attaches a verdict to a response, in its extensions.

use http::{Extensions, Response};

use super::status;
use crate::classify::Verdict;

/// The verdict attached to a response. Private, so that only this crate can attach or remove it.
#[derive(Clone, Copy, Debug)]
struct Annotation(Verdict);

impl Verdict {
    /// Returns the verdict that a [`ClassifyLayer`](crate::ClassifyLayer) attached to the response, else the verdict of
    /// [`HttpClassifier::new`](crate::classify::HttpClassifier::new).
    ///
    /// ```
    /// use tower_rampart::classify::{Class, Verdict};
    ///
    /// let response = http::Response::builder().status(503).body(()).unwrap();
    /// assert_eq!(Verdict::of(&response).class(), Class::Transient);
    /// ```
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Self {
        Self::left_in(response.extensions())
            .unwrap_or_else(|| status::default_verdict(response.status(), response.headers()))
    }

    /// Returns the verdict in the extensions of a response, if any.
    #[inline]
    pub(crate) fn left_in(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Annotation>().map(|&Annotation(verdict)| verdict)
    }

    /// Attaches this verdict to a response, for the outer layers and the caller. Skips a success that the default
    /// classifier would return too, so that it costs nothing.
    pub(crate) fn leave_in<B>(self, response: &mut Response<B>) {
        let known = match Self::left_in(response.extensions()) {
            Some(attached) => attached == self,
            None => self.is_success() && self == status::default_verdict(response.status(), response.headers()),
        };
        if !known {
            response.extensions_mut().insert(Annotation(self));
        }
    }
}
