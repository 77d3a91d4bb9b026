//! The report for people.

use std::fmt;

use super::plan::Group;
use super::report::{Comparison, Figures, Run};

/// What the columns mean, and how they add up.
const LEGEND: &str = "\
pulls = ok + exhausted + open + terminal + ambiguous
  ok         fresh metrics
  exhausted  still failing when the attempts, the time or the retry budget were used up
  open       the circuit breaker of the tenant refused the last attempt
  terminal   the upstream said no, and would again
  ambiguous  truncated or malformed: kept as a dead letter, and never asked again
cached       of exhausted and open, those that the last good value stood in for
attempts     pulls + retries; an attempt that the circuit breaker refused cost the upstream nothing";

const COLUMNS: [&str; 12] = [
    "tenants",
    "pulls",
    "ok",
    "cached",
    "attempts",
    "retries",
    "exhausted",
    "open",
    "terminal",
    "ambiguous",
    "p50 ms",
    "p99 ms",
];

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rampart, naive } = self;
        writeln!(f, "Through RetryLayer, CircuitBreakerLayer and ClassifyLayer")?;
        run(f, rampart)?;
        writeln!(f, "\nNaively: every error tried 4 times with a fixed wait between")?;
        run(f, naive)?;
        writeln!(f, "\nRequests the upstream received, and time taken")?;
        side_by_side(f, rampart, naive)?;
        writeln!(f, "\n{LEGEND}")
    }
}

fn run(f: &mut fmt::Formatter<'_>, run: &Run) -> fmt::Result {
    write!(f, "{:12}", "")?;
    for column in COLUMNS {
        write!(f, "  {column:>width$}", width = width(column))?;
    }
    writeln!(f)?;
    for (group, figures) in present(run) {
        row(f, group.name(), figures, true)?;
    }
    row(f, "total", &run.total(), false)
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, figures: &Figures, percentiles: bool) -> fmt::Result {
    let Figures {
        tenants,
        pulls,
        ok,
        cached,
        attempts,
        retries,
        exhausted,
        circuit_open,
        terminal,
        ambiguous,
        upstream_requests: _,
        p50_ms,
        p99_ms,
    } = figures;
    write!(f, "{name:12}")?;
    let counts = [tenants, pulls, ok, cached, attempts, retries, exhausted, circuit_open, terminal, ambiguous];
    for (column, count) in COLUMNS.iter().zip(counts) {
        write!(f, "  {count:>width$}", width = width(column))?;
    }
    if percentiles {
        for (column, ms) in COLUMNS[counts.len()..].iter().zip([p50_ms, p99_ms]) {
            write!(f, "  {ms:>width$.1}", width = width(column))?;
        }
    }
    writeln!(f)
}

fn side_by_side(f: &mut fmt::Formatter<'_>, rampart: &Run, naive: &Run) -> fmt::Result {
    writeln!(f, "{:12}  {:>10}  {:>10}  {:>9}", "", "rampart", "naive", "of naive")?;
    for (group, figures) in present(rampart) {
        let by_naive = naive.groups.get(group).map_or(0, |figures| figures.upstream_requests);
        compared(f, group.name(), figures.upstream_requests, by_naive, "")?;
    }
    compared(f, "total", rampart.upstream_requests, naive.upstream_requests, "")?;
    compared(f, "time", rampart.elapsed_ms, naive.elapsed_ms, " ms")
}

fn compared(f: &mut fmt::Formatter<'_>, name: &str, ours: u64, theirs: u64, unit: &str) -> fmt::Result {
    let percent = if theirs == 0 { 0.0 } else { 100.0 * ours as f64 / theirs as f64 };
    let (ours, theirs) = (format!("{ours}{unit}"), format!("{theirs}{unit}"));
    writeln!(f, "{name:12}  {ours:>10}  {theirs:>10}  {percent:>7.1} %")
}

/// A group without tenants has nothing to tell.
fn present(run: &Run) -> impl Iterator<Item = (&Group, &Figures)> {
    run.groups.iter().filter(|(_, figures)| figures.tenants > 0)
}

/// Room for a column's name and for seven digits.
fn width(column: &str) -> usize {
    column.len().max(7)
}
