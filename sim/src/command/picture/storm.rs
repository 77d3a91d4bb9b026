use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use rampart_sim::Second;
use rampart_sim::scenario::Scenario;

use super::{Area, BLUE, GREY, INK, LEFT, ORANGE, PALE_INK, RED, Result, SHADE, SMALL, Style, plain};
use crate::stacks::Run;

/// Seconds before the trouble that are shown.
const BEFORE: u64 = 30;

/// One curve: a number for each second, none where it has no meaning.
type Curve = Vec<(f64, Option<f64>)>;

/// Draws what some of the stacks sent, and what they answered, second by second.
pub(crate) fn draw(path: &Path, scenario: &Scenario, runs: &[Run]) -> Result {
    let curves: Vec<(Style, &Run)> = [
        (RED, named(runs, "naive")),
        (ORANGE, named(runs, "before")),
        (GREY, best_peer(runs, scenario)),
        (BLUE, named(runs, "defaults")),
    ]
    .into_iter()
    .filter_map(|(style, run)| Some((style, run?)))
    .collect();
    let legend: Vec<(Style, String)> =
        curves.iter().map(|(style, run)| (*style, legend(scenario, run))).rev().collect();
    let subtitle =
        "A fleet calls one upstream; each line is the whole fleet behind one kind of protection. Shaded: the trouble.";
    super::write(path, 640, [&scenario.title, subtitle], &legend, |area| {
        let first = scenario.trouble_from.as_secs().saturating_sub(BEFORE);
        let x = first as f64..scenario.seconds() as f64;
        let (above, below) = area.split_vertically(238);
        let curves = |of: fn(&Second, f64) -> Option<f64>| -> Vec<(Style, Curve)> {
            curves.iter().map(|(style, run)| (*style, curve(run, &x, of))).collect()
        };
        let load = curves(|second, usual| Some(f64::from(second.attempts) / usual));
        let highest = load.iter().flat_map(|(_, curve)| curve).filter_map(|point| point.1).fold(1.5, f64::max);
        panel(&above, scenario, &x, 0.0..highest * 1.04, ["Requests at the upstream, per usual call", "x"], &load)?;
        let answered =
            curves(|second, _| (second.calls > 0).then(|| 100.0 * f64::from(second.good) / f64::from(second.calls)));
        panel(
            &below,
            scenario,
            &x,
            0.0..104.0,
            ["Calls that are answered, by the second in which they begin", "%"],
            &answered,
        )
    })
}

fn named<'a>(runs: &'a [Run], name: &str) -> Option<&'a Run> {
    runs.iter().find(|run| run.stack.name == name)
}

/// The other crate that answers most calls.
fn best_peer<'a>(runs: &'a [Run], scenario: &Scenario) -> Option<&'a Run> {
    let goodput = |run: &&Run| scenario.goodput(&run.report);
    runs.iter().filter(|run| run.stack.is_peer()).max_by(|a, b| goodput(a).total_cmp(&goodput(b)))
}

fn legend(scenario: &Scenario, Run { stack, report, .. }: &Run) -> String {
    let after = match scenario.recovered_after(report) {
        Some(after) => format!("well {} s after the trouble", after.as_secs()),
        None if scenario.ends_well() => "never well again".to_owned(),
        None => format!("{:.1} % answered", 100.0 * scenario.goodput(report)),
    };
    let best = if stack.is_peer() { ", the best of the other crates" } else { "" };
    format!("{}{best}: {:.1}x at worst, {after}", stack.title, report.worst_load())
}

fn curve(run: &Run, x: &Range<f64>, of: fn(&Second, f64) -> Option<f64>) -> Curve {
    let seconds = &run.report.seconds;
    let called = seconds.iter().filter(|second| second.calls > 0).count();
    let usual = run.report.calls as f64 / called as f64;
    let all = seconds.iter().enumerate().map(|(at, second)| (at as f64 + 0.5, of(second, usual)));
    all.filter(|(at, _)| x.contains(at)).collect()
}

fn panel(
    area: &Area<'_>,
    scenario: &Scenario,
    x: &Range<f64>,
    y: Range<f64>,
    [title, unit]: [&str; 2],
    curves: &[(Style, Curve)],
) -> Result {
    let font = ("sans-serif", SMALL, &INK);
    let bold = ("sans-serif", SMALL + 2, FontStyle::Bold, &INK).into_text_style(area);
    area.draw(&Text::new(title, (LEFT, 8), bold))?;
    let mut chart = ChartBuilder::on(area)
        .margin_right(24)
        .margin_top(50)
        .x_label_area_size(40)
        .y_label_area_size(62)
        .build_cartesian_2d(x.clone(), y.clone())?;
    let (from, until) = (scenario.trouble_from.as_secs_f64().max(x.start), scenario.well_from.as_secs_f64().min(x.end));
    chart.draw_series([Rectangle::new([(from, y.start), (until, y.end)], SHADE.filled())])?;
    let centred = ("sans-serif", SMALL, &PALE_INK).into_text_style(area).pos(Pos::new(HPos::Center, VPos::Bottom));
    let label = Text::new(scenario.trouble_label.clone(), ((from + until) / 2.0, y.end), centred);
    chart.draw_series([label])?;
    plain(&mut chart.configure_mesh())
        .x_desc("seconds")
        .x_labels(12)
        .y_labels(6)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|tick| format!("{tick:.*}{unit}", usize::from(y.end < 4.0)))
        .label_style(font)
        .axis_desc_style(font)
        .draw()?;
    for (style, curve) in curves {
        // A second without a value interrupts the line.
        for piece in curve.split(|point| point.1.is_none()) {
            let points = piece.iter().filter_map(|(x, y)| Some((*x, (*y)?)));
            chart.draw_series(LineSeries::new(points, style.color.stroke_width(style.width)))?;
        }
    }
    Ok(())
}
