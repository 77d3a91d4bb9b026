#![allow(dead_code)]

use std::io::{Write, stderr};
use std::path::Path;

use rampart_real::audit::Audit;
use rampart_real::load::Load;
use rampart_real::request::Kind;
use rampart_real::run::{Plan, run};

pub(crate) const MIXED: Load =
    Load { calls: 1_000, at_once: 100, kinds: &[Kind::Get, Kind::Post, Kind::Get, Kind::PostSmall] };

/// Runs all plans, of one server, and then says of each what was wrong with it.
///
/// A machine that stands still for a moment lets one call meet several reloads in a row, more than its attempts. So a run
/// in which GETs were lost, and nothing else was wrong, is repeated once. A POST that was processed twice counts at once.
pub(crate) async fn assert_all(plans: impl IntoIterator<Item = Plan>) {
    let mut wrong = Vec::new();
    for plan in plans {
        let Some(mut audit) = audit(&plan).await else { return };
        if audit.only_lost() {
            let _ = writeln!(stderr(), "once more: {}:\n  {}", plan.name(), audit.faults().join("\n  "));
            let Some(second) = self::audit(&plan).await else { return };
            audit = second;
        }
        let faults = audit.faults();
        if !faults.is_empty() {
            wrong.push(format!("{}:\n  {}", plan.name(), faults.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs the plan; `None`, and one line, if its server is not installed.
pub(crate) async fn audit(plan: &Plan) -> Option<Audit> {
    if !plan.server.is_installed() {
        skip(plan.server.program());
        return None;
    }
    let app = Path::new(env!("CARGO_BIN_EXE_rampart-real"));
    Some(run(plan, app).await.unwrap_or_else(|error| panic!("{}: {error}", plan.name())))
}

/// Straight to standard error, because the test harness hides what passing tests print.
pub(crate) fn skip(what: &str) {
    let _ = writeln!(stderr(), "skipped: {what} is not installed");
}
