use std::fmt;
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method};

/// The method, host and partition of a request, for telemetry; empty for other protocols than HTTP. Never contains a
/// path, a query or userinfo.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    method: Option<Method>,
    host: Option<HostText>,
    partition: Option<Box<str>>,
}

#[derive(Clone)]
enum HostText {
    Authority(Authority),
    Header(HeaderValue),
}

/// A closure that returns the label of a request's partition.
#[derive(Clone)]
pub(in crate::retry) struct PartitionLabel(Arc<Labeler>);

type Labeler = dyn Fn(&Parts) -> Option<String> + Send + Sync;

impl Origin {
    pub(in crate::retry) fn of(head: &Parts, label: Option<&PartitionLabel>) -> Self {
        let host = match head.uri.authority() {
            Some(authority) => Some(HostText::Authority(authority.clone())),
            None => head.headers.get(HOST).cloned().map(HostText::Header),
        };
        let partition = label.and_then(|PartitionLabel(label)| label(head)).map(String::into_boxed_str);
        Self { method: Some(head.method.clone()), host, partition }
    }

    pub(in crate::retry) const fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    pub(in crate::retry) fn host(&self) -> Option<&str> {
        let text = match self.host.as_ref()? {
            HostText::Authority(authority) => authority.as_str(),
            HostText::Header(value) => value.to_str().ok()?,
        };
        // RFC 3986 section 3.2.1: userinfo, which may contain a password, precedes the `@`.
        text.rsplit('@').next()
    }

    pub(in crate::retry) fn partition(&self) -> Option<&str> {
        self.partition.as_deref()
    }
}

impl PartitionLabel {
    pub(in crate::retry) fn new(label: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(label))
    }
}

/// Omits the text, because an authority may contain userinfo.
impl fmt::Debug for HostText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostText(..)")
    }
}

impl fmt::Debug for PartitionLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartitionLabel(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(request: http::request::Builder) -> Option<String> {
        let (head, ()) = request.body(()).unwrap().into_parts();
        Origin::of(&head, None).host().map(str::to_owned)
    }

    #[test]
    fn the_host_has_no_userinfo() {
        let get = http::Request::get;
        assert_eq!(host(get("http://user:hunter2@api.example:80/path?query")).unwrap(), "api.example:80");
        assert_eq!(host(get("/path").header("host", "api.example")).unwrap(), "api.example");
        assert_eq!(host(get("/path")), None);
    }
}
