use std::ops::Range;
use std::path::Path;

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::{Area, BLUE, GREY, INK, ORANGE, PALE_INK, RED, Result, SMALL, Style, plain};
use crate::sweep::{Curve, Point, Setting};

/// One panel: what is measured.
struct Measure {
    title: &'static str,
    unit: &'static str,
    of: fn(&Point) -> Option<f64>,
    /// The axis ends here at least.
    least: f64,
}

const MEASURES: [Measure; 4] = [
    Measure { title: "Load at worst, per usual call", unit: "x", of: |point| Some(point.worst_load), least: 2.0 },
    Measure {
        title: "Seconds after the trouble until all is well (no point: never)",
        unit: " s",
        of: |point| point.well_after.map(|after| after.as_secs_f64()),
        least: 10.0,
    },
    Measure {
        title: "Calls that are answered in the whole run",
        unit: "%",
        of: |point| Some(100.0 * point.goodput),
        least: 100.0,
    },
    Measure {
        title: "Calls that are answered of those that begin in the trouble",
        unit: "%",
        of: |point| Some(100.0 * point.goodput_in_trouble),
        least: 100.0,
    },
];

/// Draws what other values of one setting would do: a panel a measure, a curve a scenario.
pub(crate) fn draw(path: &Path, setting: &Setting, curves: &[Curve<'_>]) -> Result {
    let subtitle = match setting.default {
        Some(default) => {
            format!("Everything else as by default. Upright line: the default, {default}{}.", setting.unit)
        }
        None => "Everything else as by default. By default it is not set.".to_owned(),
    };
    let styles = [RED, ORANGE, BLUE, GREY].into_iter().cycle();
    let curves: Vec<(Style, &Curve<'_>)> = styles.zip(curves).collect();
    let legend: Vec<(Style, String)> = curves
        .iter()
        .map(|(style, (scenario, _))| (*style, format!("{}: {}", scenario.name, scenario.title)))
        .collect();
    super::write(path, 960, [setting.title, &subtitle], &legend, |area| {
        let (first, last) = (setting.values[0], setting.values[setting.values.len() - 1]);
        for (part, measure) in area.split_evenly((4, 1)).iter().zip(&MEASURES) {
            let ticks = setting.values.to_vec();
            if setting.is_log {
                panel(part, setting, measure, &curves, (first..last).log_scale().with_key_points(ticks))?;
            } else {
                panel(part, setting, measure, &curves, first..last)?;
            }
        }
        Ok(())
    })
}

fn panel<X>(area: &Area<'_>, setting: &Setting, measure: &Measure, curves: &[(Style, &Curve<'_>)], x: X) -> Result
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let font = ("sans-serif", SMALL, &INK);
    let value = |point: &Point| Some((point.value, (measure.of)(point)?));
    let values = || curves.iter().flat_map(|(_, (_, points))| points).filter_map(measure.of);
    let highest = values().fold(measure.least, f64::max);
    // Shares begin at the tens below the lowest one, so that small differences show.
    let lowest = if measure.unit == "%" { (values().fold(90.0, f64::min) / 10.0).floor() * 10.0 } else { 0.0 };
    let y: Range<f64> = lowest..highest + 0.05 * (highest - lowest);
    let mut chart = ChartBuilder::on(area)
        .margin_right(24)
        .margin_top(34)
        .x_label_area_size(44)
        .y_label_area_size(62)
        .build_cartesian_2d(x, y.clone())?;
    let title = ("sans-serif", SMALL + 2, FontStyle::Bold, &INK).into_text_style(area);
    area.draw(&Text::new(measure.title, (16, 10), title))?;
    plain(&mut chart.configure_mesh())
        .x_desc(if measure.title == MEASURES[3].title { x_title(setting) } else { String::new() })
        .x_labels(setting.values.len())
        .y_labels(5)
        .x_label_formatter(&|x| format!("{x}"))
        .y_label_formatter(&|tick| format!("{tick:.*}{}", usize::from(y.end - y.start < 4.0), measure.unit))
        .label_style(font)
        .axis_desc_style(font)
        .draw()?;
    if let Some(default) = setting.default {
        chart.draw_series([PathElement::new([(default, y.start), (default, y.end)], PALE_INK.stroke_width(1))])?;
    }
    for (style, (_, points)) in curves {
        for piece in points.split(|point| value(point).is_none()) {
            let line = piece.iter().filter_map(value);
            chart.draw_series(LineSeries::new(line.clone(), style.color.stroke_width(style.width)))?;
            chart.draw_series(line.map(|at| Circle::new(at, 4, style.color.filled())))?;
        }
    }
    Ok(())
}

fn x_title(setting: &Setting) -> String {
    match setting.unit.trim() {
        "" => setting.title.to_owned(),
        unit => format!("{} ({unit})", setting.title),
    }
}
