use std::error::Error;
use std::fmt;

/// The error of [`ReqwestService::new`](super::ReqwestService::new): the client may follow redirects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowsRedirects(());

impl FollowsRedirects {
    /// Reqwest shows the policy of a client in its `Debug` output alone. A test pins the text; if it changes, every
    /// client is rejected.
    pub(super) fn check(client: &reqwest::Client) -> Result<(), Self> {
        let is_off = format!("{client:?}").contains(r#"redirect_policy: "Policy(None)""#);
        if is_off { Ok(()) } else { Err(Self(())) }
    }
}

impl fmt::Display for FollowsRedirects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client may follow redirects: build it with `ReqwestService::from_builder`")
    }
}

impl Error for FollowsRedirects {}
