use std::fmt;

use http::{Extensions, HeaderMap, Response, StatusCode, Version};

use crate::classify::Verdict;

/// A borrowed response without its body: what the HTTP classifiers see, for every type of body.
///
/// ```
/// use tower_rampart::classify::ResponseHead;
///
/// let response = http::Response::builder().status(404).body("no such tenant").unwrap();
/// assert_eq!(ResponseHead::of(&response).status(), 404);
/// ```
///
/// `Debug` shows the status, the version and the header names. It hides header values and extensions, which may be
/// secret.
#[derive(Clone, Copy)]
pub struct ResponseHead<'a> {
    status: StatusCode,
    version: Version,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

/// Shows header names and hides their values.
pub(super) struct HeaderNames<'a>(pub(super) &'a HeaderMap);

impl<'a> ResponseHead<'a> {
    /// Borrows the head of a response.
    #[must_use]
    #[inline]
    pub fn of<B>(response: &'a Response<B>) -> Self {
        Self {
            status: response.status(),
            version: response.version(),
            headers: response.headers(),
            extensions: response.extensions(),
        }
    }

    /// Returns the status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the HTTP version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns the headers.
    #[must_use]
    pub const fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// Returns the extensions, where inner layers attach data to the response.
    #[must_use]
    pub const fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// Returns the first value of a header, if it is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the verdict that an inner [`ClassifyLayer`](crate::ClassifyLayer) attached, if any.
    #[must_use]
    #[inline]
    pub fn annotation(&self) -> Option<Verdict> {
        Verdict::left_in(self.extensions)
    }
}

impl fmt::Debug for ResponseHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("version", &self.version)
            .field("headers", &HeaderNames(self.headers))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HeaderNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
