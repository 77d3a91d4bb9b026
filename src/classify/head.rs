use http::{Extensions, HeaderMap, Response, StatusCode, Version};

use super::Verdict;

/// All of a response but its body, borrowed: what the HTTP classifiers look at, whatever the type of the body is.
///
/// ```
/// use tower_rampart::classify::Head;
///
/// let response = http::Response::builder().status(404).body("no such tenant").unwrap();
/// assert_eq!(Head::of(&response).status(), 404);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    status: StatusCode,
    version: Version,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> Head<'a> {
    /// The head of a response.
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

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The version of HTTP it was spoken in.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The headers.
    #[must_use]
    pub const fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The extensions: what layers further inside left with the response.
    #[must_use]
    pub const fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// The first value of a header, if it is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The verdict that a [`ClassifyLayer`](crate::ClassifyLayer) further inside left, if any.
    #[must_use]
    #[inline]
    pub fn annotation(&self) -> Option<Verdict> {
        Verdict::left_in(self.extensions)
    }
}
