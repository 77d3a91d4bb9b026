use std::fmt;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};

use http::Request;
use http::header::HOST;
use http::uri::Authority;
use papaya::Equivalent;

use super::{Finder, Keyed, Partition};

/// One breaker a host: see [`host`].
#[derive(Clone, Copy, Debug)]
pub struct ByHost;

/// The key of [`host`]: a host and port, in which letter case makes no difference.
///
/// [`Authority`] hashes letter by letter and takes 32 bytes beside its text; this hashes many letters at once and takes
/// 16.
///
/// ```
/// use http::uri::Authority;
/// use tower_rampart::CircuitBreakerLayer;
/// use tower_rampart::breaker::{State, partition};
///
/// let breakers = CircuitBreakerLayer::new_for_http().partition_by(partition::host()).handle();
/// breakers.force_open(&Authority::from_static("api.example.com").into());
/// assert_eq!(breakers.state(&Authority::from_static("API.example.com").into()), State::Open);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Host(Box<str>);

/// A host where it lies in a request, without its user.
struct HostText<'a> {
    text: &'a str,
    /// Whether it is to be taken as it is.
    is_lowercase: bool,
}

const PIECE: usize = 64;
/// All that passes for an authority and names no host shares this one, which RFC 2606 reserves.
const INVALID: &str = "invalid";

/// One breaker for each host and port, from the request's URI, else from its `Host` header. Letter case makes no
/// difference; a user and a password are left out.
///
/// A request without a host falls to the default partition. Requests of tonic's clients have none, unless the client
/// was made with `with_origin`.
#[must_use]
pub fn host() -> ByHost {
    ByHost
}

impl Keyed for ByHost {
    type Key = Host;
}

impl<B> Partition<Request<B>> for ByHost {
    fn key(&self, request: &Request<B>) -> Option<Host> {
        match request.uri().authority() {
            Some(authority) => Some(Host::of(authority)),
            None => Authority::try_from(request.headers().get(HOST)?.as_bytes()).ok().as_ref().map(Host::of),
        }
    }

    #[inline]
    fn find<F: Finder<Host>>(&self, request: &Request<B>, finder: &F) -> Option<F::Found> {
        let text = match request.uri().authority() {
            Some(authority) => authority.as_str(),
            None => request.headers().get(HOST)?.to_str().ok()?,
        };
        // Mostly written as it is kept. What is not, or is new, is looked at letter by letter.
        match finder.find(&HostText { text, is_lowercase: true }) {
            Some(found) => Some(found),
            None => self.find_otherwise(text, request, finder),
        }
    }
}

impl ByHost {
    #[inline(never)]
    fn find_otherwise<B, F: Finder<Host>>(&self, text: &str, request: &Request<B>, finder: &F) -> Option<F::Found> {
        let host = HostText::of(text);
        // What stands before an `@` in a `Host` header may make it no authority: the key decides.
        let is_authority = request.uri().authority().is_some() || host.text.len() == text.len();
        let written_otherwise = is_authority && (!host.is_lowercase || host.text.len() != text.len());
        let found = if written_otherwise { finder.find(&host) } else { None };
        // It may name no host at all; the key decides.
        if found.is_some() {
            return found;
        }
        let key = self.key(request)?;
        let found = if is_authority { None } else { finder.find(&key) };
        Some(found.unwrap_or_else(|| finder.insert(|| key)))
    }
}

impl<'a> HostText<'a> {
    #[inline]
    fn of(authority: &'a str) -> Self {
        if is_plain(authority) { Self { text: authority, is_lowercase: true } } else { Self::of_any(authority) }
    }

    /// Credentials are not for labels. Only an authority that has some (RFC 3986 section 3.2.1) pays for this.
    #[cold]
    fn of_any(authority: &'a str) -> Self {
        let text = authority.rsplit('@').next().unwrap_or_default();
        // A bracket that was opened before the `@`, which passes for an authority. Without its user it is none.
        let is_none = text.contains(']') && !text.contains('[') && authority.contains('[');
        let text = if is_none { INVALID } else { text };
        Self { text, is_lowercase: is_plain(text) }
    }
}

impl Equivalent<Host> for HostText<'_> {
    #[inline]
    fn equivalent(&self, host: &Host) -> bool {
        if self.is_lowercase { self.text == &*host.0 } else { self.text.eq_ignore_ascii_case(&host.0) }
    }
}

impl Hash for HostText<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Many letters at once, and in pieces of the same length whether they need folding or not.
        for piece in self.text.as_bytes().chunks(PIECE) {
            if self.is_lowercase {
                state.write(piece);
            } else {
                let mut folded = [0; PIECE];
                let folded = &mut folded[..piece.len()];
                folded.copy_from_slice(piece);
                folded.make_ascii_lowercase();
                state.write(folded);
            }
        }
    }
}

impl Host {
    fn of(authority: &Authority) -> Self {
        let HostText { text, is_lowercase } = HostText::of(authority.as_str());
        let is_valid = text.len() == authority.as_str().len() || Authority::try_from(text).is_ok();
        let text = if is_valid { text } else { INVALID };
        Self(if is_lowercase { text.into() } else { text.to_ascii_lowercase().into() })
    }
}

impl From<Authority> for Host {
    fn from(authority: Authority) -> Self {
        Self::of(&authority)
    }
}

impl Hash for Host {
    fn hash<H: Hasher>(&self, state: &mut H) {
        HostText { text: &self.0, is_lowercase: true }.hash(state);
    }
}

/// Whether nothing in it is a capital or ends a user's part: in ASCII `@` stands just before `A`.
#[inline]
fn is_plain(text: &str) -> bool {
    // Not the short-circuiting `any` of iterators, so that many bytes are looked at in one step.
    !text.bytes().fold(false, |any, byte| any | matches!(byte, b'@'..=b'Z'))
}

impl Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::hash::KeyedHash;
    use crate::seed::Seed;

    /// Whether a request to this authority finds the breaker that was made for it.
    fn is_found(authority: &Authority) -> bool {
        let (hash, kept) = (KeyedHash::new(Seed::default()), ByHost.keep(Host::from(authority.clone())));
        let text = HostText::of(authority.as_str());
        text.equivalent(&kept) && hash.of(&text) == hash.of(&kept)
    }

    fn host(text: &'static str) -> Host {
        Authority::from_static(text).into()
    }

    #[test]
    fn letter_case_makes_no_difference_and_all_else_does() {
        let hash = KeyedHash::new(Seed::default());
        for (one, other, same) in [
            ("api.example", "API.Example", true),
            ("api.example", "api.example:80", false),
            ("[::1]:80", "[::1]:80", true),
            ("[fe80::A]", "[FE80::a]", true),
            ("[::1]", "[::1]:80", false),
            ("user@api.example", "API.example", true),
            ("One@api.example", "tWo@api.example", true),
            ("a_b", "a-b", false),
        ] {
            let (one, other) = (host(one), host(other));
            assert_eq!(one == other, same, "{one:?}, {other:?}");
            assert_eq!(hash.of(&one) == hash.of(&other), same, "{one:?}, {other:?}");
        }
    }

    #[test]
    fn a_host_has_one_label_however_it_was_spelled() {
        for text in ["API.Example:80", "api.example:80", "User@Api.Example:80"] {
            assert_eq!(format!("{:?}", host(text)), "api.example:80");
        }
    }

    #[test]
    fn a_host_that_is_none_without_its_user_is_found_too() {
        for text in ["[@host]", "[user:hunter2@HOST]:80", "[@]"] {
            let authority = Authority::try_from(text).unwrap();
            assert_eq!(format!("{:?}", Host::from(authority.clone())), "invalid", "{text}");
            assert!(is_found(&authority), "{text}");
        }
    }

    #[test]
    fn letter_case_and_credentials_make_no_difference_however_long_the_host() {
        let state = KeyedHash::new(Seed::default());
        for len in [1, 7, 8, 63, 64, 65, 127, 128, 129, 200] {
            let lower = format!("{}.example:8080", "ab".repeat(len));
            let kept = Host::from(Authority::try_from(lower.as_str()).unwrap());
            for other in [lower.to_ascii_uppercase(), lower.replacen('a', "A", 1), format!("User:p@{lower}")] {
                let text = HostText::of(&other);
                assert!(text.equivalent(&kept), "{other}");
                assert_eq!(state.of(&text), state.of(&kept), "{other}");
            }
            let text = &lower[1..];
            assert!(!HostText::of(text).equivalent(&kept), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_an_authority_is_found_by_what_lies_in_the_request(
            text in prop_oneof![r"[a-cYZ@:\[\].%_~0-9]{1,14}", r"\[?([aZ:%]{0,2}@){0,2}\[?[a-cX-Z:.]{0,4}\]?(:80)?"],
        ) {
            if let Ok(authority) = Authority::try_from(text.as_str()) {
                prop_assert!(is_found(&authority), "{}", authority);
                let host = Host::from(authority);
                let label = format!("{host:?}");
                prop_assert!(!label.contains('@'), "{}", label);
                let other: Authority = text.to_ascii_uppercase().parse().unwrap();
                let (other, hash) = (Host::from(other), KeyedHash::new(Seed::default()));
                prop_assert_eq!(hash.of(&host), hash.of(&other));
                prop_assert_eq!(host, other);
            }
        }
    }
}
