use http::header::{HOST, ORIGIN};
use http::request::Parts;

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Whether a browser sent the request from a page of the same origin, so that no other page can act in the name of its
/// reader.
///
/// A browser that sends no `Sec-Fetch-Site`, as over plain HTTP from another machine, sends the origin with every POST.
pub(super) fn is_same_origin(request: &Parts) -> bool {
    let header = |name| {
        let mut values = request.headers.get_all(name).iter();
        // Two of one name prove nothing.
        values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
    };
    if request.headers.contains_key(SEC_FETCH_SITE) {
        return header(SEC_FETCH_SITE) == Some("same-origin");
    }
    let origin = header(ORIGIN.as_str()).and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    // HTTP/2 has the host in the URI.
    let host = request.uri.authority().map(|authority| authority.as_str()).or_else(|| header(HOST.as_str()));
    origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}
