use std::io::{Result, Write};
use std::time::Duration;

use rampart_sim::scenario::Scenario;

use crate::stacks::{Run, Stack};
use crate::sweep::{Curve, Point, Setting};

/// Prints one row a stack.
pub(crate) fn print(out: &mut impl Write, scenario: &Scenario, runs: &[Run]) -> Result<()> {
    writeln!(out, "\n{}: {}", scenario.name, scenario.title)?;
    writeln!(
        out,
        "{:<42} {:>10} {:>10} {:>10} {:>9} {:>11} {:>9} {:>12}",
        "", "worst load", "backlog", "well after", "answered", "in trouble", "in vain", "wasted work"
    )?;
    for run in runs {
        writeln!(out, "{}", row(scenario, run))?;
    }
    Ok(())
}

fn row(scenario: &Scenario, Run { stack, report }: &Run) -> String {
    let after = match scenario.recovered_after(report) {
        Some(after) => format!("{} s", after.as_secs()),
        None if scenario.ends_well() => "never".to_owned(),
        None => "-".to_owned(),
    };
    let answering = scenario.answering_after(report);
    let backlog = match scenario.well_from + answering < Duration::from_secs(scenario.seconds()) {
        _ if !scenario.ends_well() => "-".to_owned(),
        true => format!("{} s", answering.as_secs()),
        // Only the end of the load ended it.
        false => "never".to_owned(),
    };
    let in_trouble = match scenario.goodput_in_trouble(report) {
        // No call began then.
        share if share.is_nan() => "-".to_owned(),
        share => format!("{:.1}%", 100.0 * share),
    };
    format!(
        "{:<42} {:>9.2}x {backlog:>10} {after:>10} {:>8.1}% {in_trouble:>11} {:>9} {:>11.1}%",
        stack.title,
        report.worst_load(),
        100.0 * scenario.goodput(report),
        report.rejected_in_vain,
        100.0 * report.wasted_work / report.work.max(f64::MIN_POSITIVE),
    )
}

/// Prints what must be known of some rows.
pub(crate) fn print_notes(out: &mut impl Write, stacks: &[Stack]) -> Result<()> {
    writeln!(
        out,
        "\nload: requests in the worst second per usual call; in trouble: answered of the calls that began then"
    )?;
    writeln!(
        out,
        "backlog: how long after the trouble a request first took less than a second again; well: 99% answered again"
    )?;
    writeln!(
        out,
        "in vain: rejected while the upstream would have answered; every attempt ends after 1 s, every call after 4"
    )?;
    for stack in stacks {
        if let Some(note) = stack.note {
            writeln!(out, "{}: {note}", stack.title)?;
        }
    }
    if cfg!(not(feature = "peers")) {
        writeln!(out, "other crates in the same storms: cargo run --release -p rampart-sim --features peers")?;
    }
    Ok(())
}

/// Prints one report a line.
pub(crate) fn print_json(out: &mut impl Write, scenario: &Scenario, runs: &[Run]) -> Result<()> {
    for Run { stack, report } in runs {
        let line = serde_json::json!({
            "scenario": scenario.name, "stack": stack.name, "goodput": scenario.goodput(report),
            "amplification": report.amplification(), "opened_at": report.opened_at().map(|at| at.as_secs()),
            "recovered_at": report.recovered_at(0.99).map(|at| at.as_secs()), "report": report,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Prints one row a value and scenario.
pub(crate) fn print_sweep(out: &mut impl Write, setting: &Setting, curves: &[Curve<'_>], is_json: bool) -> Result<()> {
    if !is_json {
        writeln!(out, "\n{}: {}", setting.name, setting.title)?;
        writeln!(
            out,
            "{:<18} {:>10} {:>10} {:>10} {:>9} {:>11}",
            "", "value", "worst load", "well after", "answered", "in trouble"
        )?;
    }
    for (scenario, Point { value, worst_load, well_after, goodput, goodput_in_trouble }) in
        curves.iter().flat_map(|(scenario, points)| points.iter().map(move |point| (scenario, point)))
    {
        if is_json {
            let line = serde_json::json!({
                "setting": setting.name, "scenario": scenario.name, "value": value, "worst_load": worst_load,
                "well_after_seconds": well_after.map(|after| after.as_secs_f64()), "goodput": goodput,
                "goodput_in_trouble": goodput_in_trouble,
            });
            writeln!(out, "{line}")?;
        } else {
            let after = well_after.map_or("never".to_owned(), |after| format!("{} s", after.as_secs()));
            let value = format!("{value}{}", setting.unit);
            let [all, in_trouble] = [goodput, goodput_in_trouble].map(|share| 100.0 * share);
            let name = &scenario.name;
            writeln!(out, "{name:<18} {value:>10} {worst_load:>9.2}x {after:>10} {all:>8.1}% {in_trouble:>10.1}%")?;
        }
    }
    Ok(())
}
