use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use rampart_sim::scenario::Scenario;

use crate::stacks::Run;

const SIZE: (u32, u32) = (960, 300);
const SENT: RGBColor = RGBColor(0xC4, 0x4E, 0x52);
const ANSWERED: RGBColor = RGBColor(0x4C, 0x9F, 0x70);

/// Draws one row a stack: what was sent and what was answered well, both in shares of the calls.
pub(crate) fn draw(path: &Path, scenario: &Scenario, runs: &[Run]) -> Result<(), Box<dyn Error>> {
    let rows = runs.len();
    let root = SVGBackend::new(path, (SIZE.0, 50 + SIZE.1 * rows as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(&format!("{}: {}", scenario.name, scenario.title), ("sans-serif", 24))?;
    for (area, run) in root.split_evenly((rows, 1)).iter().zip(runs) {
        draw_run(area, scenario, run)?;
    }
    root.present()?;
    Ok(())
}

fn draw_run(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    scenario: &Scenario,
    Run { stack, report, .. }: &Run,
) -> Result<(), Box<dyn Error>> {
    let end = report.seconds.iter().rposition(|second| second.calls > 0).map_or(0, |last| last + 1);
    let seconds = &report.seconds[..end];
    let calls = seconds.iter().map(|second| f64::from(second.calls)).sum::<f64>() / end.max(1) as f64;
    let highest = report.worst_load().max(1.5);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{}: {:.2} times the load at worst", stack.title, report.worst_load()), ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end as f64, 0.0..highest * 1.05)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc("seconds")
        .y_desc("per usual call")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.1}x"))
        .label_style(("sans-serif", 13))
        .draw()?;
    let well_from = scenario.well_from.as_secs_f64();
    chart
        .draw_series([PathElement::new([(well_from, 0.0), (well_from, highest * 1.05)], BLACK.mix(0.4))])?
        .label("the upstream is well again")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], BLACK.mix(0.4)));
    let line = |of: fn(&rampart_sim::Second) -> u32| {
        seconds.iter().enumerate().map(move |(at, second)| (at as f64 + 0.5, f64::from(of(second)) / calls))
    };
    for (label, color, of) in [
        ("requests at the upstream", SENT, (|second| second.attempts) as fn(&rampart_sim::Second) -> u32),
        ("calls answered well", ANSWERED, |second| second.good),
    ] {
        chart
            .draw_series(LineSeries::new(line(of), color.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .label_font(("sans-serif", 13))
        .draw()?;
    Ok(())
}
