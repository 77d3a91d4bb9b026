//! A verdict that travels with a response, in its extensions.

use http::{Extensions, Response};

use super::status;
use crate::classify::Verdict;

/// The place of a verdict in a response's extensions. Private, so that nothing but this crate can leave or clear one.
#[derive(Clone, Copy, Debug)]
struct Annotation(Verdict);

impl Verdict {
    /// What a response means: the verdict that a [`ClassifyLayer`](crate::ClassifyLayer) left in its extensions, else
    /// what [`HttpClassifier::new`](crate::classify::HttpClassifier::new) says.
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

    /// The verdict that lies in the extensions of a response, if any.
    #[inline]
    pub(crate) fn left_in(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Annotation>().map(|&Annotation(verdict)| verdict)
    }

    /// Leaves this verdict in the extensions of a response, for the layers outside and the caller, unless it is a
    /// success and they would say the same without it.
    pub(crate) fn leave_in<B>(self, response: &mut Response<B>) {
        let known = match Self::left_in(response.extensions()) {
            Some(left) => left == self,
            None => self.is_success() && self == status::default_verdict(response.status(), response.headers()),
        };
        if !known {
            response.extensions_mut().insert(Annotation(self));
        }
    }
}
