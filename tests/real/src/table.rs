//! The audits of many runs as a table.

use crate::audit::Audit;

pub struct Row {
    pub server: String,
    pub protocol: &'static str,
    pub scenario: String,
    pub load: String,
    pub audit: Audit,
}

pub const HEAD: &str = "\
| server | protocol | scenario | load | calls | good | processed | POST doubled | GET lost | unreachable, shed, declined, cut | POST failed | untrue |
|---|---|---|---|---|---|---|---|---|---|---|---|";

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { server, protocol, scenario, load, audit } = self;
        let Audit {
            calls, good, processed, doubled, lost, unreachable, shed, declined, cut, failed_posts, untrue, ..
        } = audit;
        write!(
            f,
            "| {server} | {protocol} | {scenario} | {load} | {calls} | {good} | {processed} | {doubled} | {lost} "
        )?;
        write!(f, "| {unreachable}, {shed}, {declined}, {cut} | {failed_posts} | {untrue} |")
    }
}
