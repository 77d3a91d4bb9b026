use rampart_sim::scenario::Scenario;

use crate::stacks::{Run, Stack};
use crate::sweep::{Point, Setting};

/// Prints one row a stack.
pub(crate) fn print(scenario: &Scenario, runs: &[Run]) {
    println!("\n{}: {}", scenario.name, scenario.title);
    println!(
        "{:<42} {:>10} {:>10} {:>9} {:>11} {:>9} {:>12}",
        "", "worst load", "well after", "answered", "in trouble", "in vain", "wasted work"
    );
    for run in runs {
        println!("{}", row(scenario, run));
    }
}

fn row(scenario: &Scenario, Run { stack, report, .. }: &Run) -> String {
    let after = match scenario.recovered_after(report) {
        Some(after) => format!("{} s", after.as_secs()),
        None if scenario.ends_well() => "never".to_owned(),
        None => "-".to_owned(),
    };
    format!(
        "{:<42} {:>9.2}x {after:>10} {:>8.1}% {:>10.1}% {:>9} {:>11.1}%",
        stack.title,
        report.worst_load(),
        100.0 * scenario.goodput(report),
        100.0 * scenario.goodput_in_trouble(report),
        report.rejected_in_vain,
        100.0 * report.wasted_work / report.work.max(f64::MIN_POSITIVE),
    )
}

/// Prints what must be known of some rows.
pub(crate) fn print_notes(stacks: &[Stack]) {
    println!("\nload: requests in the worst second per usual call; in trouble: answered of the calls that began then");
    println!(
        "in vain: rejected while the upstream would have answered; every attempt ends after 1 s, every call after 4"
    );
    for stack in stacks {
        if let Some(note) = stack.note {
            println!("{}: {note}", stack.title);
        }
    }
    if cfg!(not(feature = "peers")) {
        println!("other crates in the same storms: cargo run --release -p rampart-sim --features peers");
    }
}

/// Prints one report a line.
pub(crate) fn print_json(scenario: &Scenario, runs: &[Run]) {
    for Run { stack, report, openings } in runs {
        let line = serde_json::json!({
            "scenario": scenario.name, "stack": stack.name, "openings": openings, "report": report,
        });
        println!("{line}");
    }
}

/// Prints one row a value and scenario.
pub(crate) fn print_sweep(setting: &Setting, curves: &[(String, Vec<Point>)], is_json: bool) {
    if !is_json {
        println!("\n{}: {}", setting.name, setting.title);
        println!("{:<18} {:>10} {:>10} {:>10} {:>9}", "", "value", "worst load", "well after", "answered");
    }
    for (scenario, Point { value, worst_load, well_after, goodput }) in
        curves.iter().flat_map(|(scenario, points)| points.iter().map(move |point| (scenario, point)))
    {
        if is_json {
            let line = serde_json::json!({
                "setting": setting.name, "scenario": scenario, "value": value, "worst_load": worst_load,
                "well_after_seconds": well_after.map(|after| after.as_secs_f64()), "goodput": goodput,
            });
            println!("{line}");
        } else {
            let after = well_after.map_or("never".to_owned(), |after| format!("{} s", after.as_secs()));
            let value = format!("{value}{}", setting.unit);
            println!("{scenario:<18} {value:>10} {worst_load:>9.2}x {after:>10} {:>8.1}%", 100.0 * goodput);
        }
    }
}
