//! Any bytes as the authority of a URI or as a `Host` header: two requests share a breaker if and only if their hosts
//! are the same without userinfo and in lower case, and no label shows userinfo.
#![no_main]

use std::hash::{DefaultHasher, Hash, Hasher};

use http::uri::Authority;
use http::{HeaderValue, Request, Uri};
use libfuzzer_sys::fuzz_target;
use tower_rampart::breaker::partition::{self, Host, Partition};

/// The key of a request with this host, in its URI or in a header.
fn key(host: &[u8], in_uri: bool) -> Option<Host> {
    let mut request = Request::new(());
    if in_uri {
        let authority = Authority::try_from(host).ok()?;
        *request.uri_mut() = Uri::builder().scheme("http").authority(authority).path_and_query("/").build().ok()?;
    } else {
        request.headers_mut().insert("host", HeaderValue::from_bytes(host).ok()?);
    }
    partition::host().key(&request)
}

fn hash(host: &Host) -> u64 {
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    hasher.finish()
}

/// Without userinfo and in lower case. If what is left is no authority, the host "invalid", which RFC 2606 reserves.
fn canonical(host: &[u8]) -> String {
    let text = String::from_utf8_lossy(host).to_ascii_lowercase();
    let (_, text) = text.rsplit_once('@').unwrap_or(("", &text));
    if text.parse::<Authority>().is_ok() { text.to_owned() } else { "invalid".to_owned() }
}

fuzz_target!(|data: &[u8]| {
    let Some((flags, hosts)) = data.split_first() else { return };
    let mut hosts = hosts.splitn(2, |byte| *byte == b'\n');
    let (Some(one), Some(other)) = (hosts.next(), hosts.next()) else { return };
    let (Some(first), Some(second)) = (key(one, flags & 1 == 0), key(other, flags & 2 == 0)) else { return };

    let same = canonical(one) == canonical(other);
    assert_eq!(first == second, same, "{first:?} and {second:?}");
    if same {
        assert_eq!(hash(&first), hash(&second), "{first:?}");
    }
    for (host, key) in [(one, &first), (other, &second)] {
        let label = format!("{key:?}");
        assert!(!label.contains('@'), "{label}");
        assert_eq!(label, canonical(host));
        assert_eq!(Host::from(label.parse::<Authority>().expect("a label is an authority")), *key);
    }
});
