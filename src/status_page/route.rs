use http::Method;

use super::breakers::Id;
use crate::breaker::CircuitBreaker;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Page,
    List,
    Live,
    /// The recording of the layer with this number.
    Recording(usize),
    Act(Id, Action),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    ForceOpen,
    Disable,
    Reset,
}

impl Route {
    /// The route of a path below a prefix, which neither begins nor ends with a slash.
    pub(super) fn of(path: &str, prefix: &str) -> Option<Self> {
        let path = path.trim_start_matches('/').strip_prefix(prefix)?;
        let path = if path.is_empty() || prefix.is_empty() { path } else { path.strip_prefix('/')? };
        Some(match path {
            "" => Self::Page,
            "breakers.json" => Self::List,
            "events" => Self::Live,
            path => {
                if let Some(number) = path.strip_prefix("recordings/") {
                    // The number may also be written with a sign, or with zeros before it.
                    let layer = number.parse().ok().filter(|layer: &usize| layer.to_string() == number)?;
                    return Some(Self::Recording(layer));
                }
                let (id, action) = path.strip_prefix("breakers/")?.split_once('/')?;
                Self::Act(id.parse().ok()?, Action::of(action)?)
            }
        })
    }

    /// The methods that it takes, as in `Allow`.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Page | Self::List | Self::Live | Self::Recording(_) => "GET, HEAD",
            Self::Act(..) => "POST",
        }
    }

    pub(super) fn allows(self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method)
    }
}

impl Action {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "force-open" => Self::ForceOpen,
            "disable" => Self::Disable,
            "reset" => Self::Reset,
            _ => return None,
        })
    }

    pub(super) fn act(self, breaker: &CircuitBreaker) {
        match self {
            Self::ForceOpen => breaker.force_open(),
            Self::Disable => breaker.disable(),
            Self::Reset => breaker.reset(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_route() {
        let act = |action| Route::of(&format!("/breakers/{}/{action}", "0".repeat(16)), "");
        assert!(matches!(act("reset"), Some(Route::Act(_, Action::Reset))));
        assert!(matches!(act("disable"), Some(Route::Act(_, Action::Disable))));
        assert!(matches!(act("force-open"), Some(Route::Act(_, Action::ForceOpen))));
        assert_eq!((act("remove"), act("reset/"), act("")), (None, None, None));
        for (path, prefix, route) in [
            ("/", "", Some(Route::Page)),
            ("/events", "", Some(Route::Live)),
            ("/breakers.json", "", Some(Route::List)),
            ("/recordings/7", "", Some(Route::Recording(7))),
            ("/recordings/x", "", None),
            ("/recordings/+7", "", None),
            ("/recordings/07", "", None),
            ("/breakers", "", None),
            ("/breakers/7/reset", "", None),
            ("/events/", "", None),
            ("/admin", "admin", Some(Route::Page)),
            ("/admin/", "admin", Some(Route::Page)),
            ("/admin/events", "admin", Some(Route::Live)),
            ("/adminevents", "admin", None),
            ("/events", "admin", None),
            ("/a/b/events", "a/b", Some(Route::Live)),
        ] {
            assert_eq!(Route::of(path, prefix), route, "{path} below {prefix}");
        }
    }
}
