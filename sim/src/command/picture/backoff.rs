use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;
use tower_rampart::retry::{Backoff, Jitter};

use super::{Area, BLUE, GREY, INK, ORANGE, RED, Result, SMALL, Style, plain};

const FIRST: Duration = Duration::from_millis(100);
const STEP: Duration = Duration::from_millis(100);
/// The longest wait of the formulas, and of the jitters.
const MAX: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(1)];

/// The retries whose waits are drawn below: one that grows still, and one at the cap.
const RETRIES: [(usize, Style); 2] = [(2, BLUE), (9, ORANGE)];
const CALLS: u32 = 50_000;
/// Milliseconds that one bar is wide, and at which the axis ends.
const BAR: usize = 20;
const LAST: usize = 1_100;

/// Draws how the waits of each formula grow, and how each jitter spreads them.
pub(crate) fn draw(path: &Path) -> Result {
    let formulas = [
        (RED, "exponential: 100 ms doubling", Backoff::exponential(FIRST, MAX[0])),
        (ORANGE, "fibonacci: 100 ms times 1, 1, 2, 3, 5, 8 …", Backoff::fibonacci(FIRST, MAX[0])),
        (BLUE, "linear: 100 ms more each time", Backoff::linear(FIRST, STEP, MAX[0])),
        (GREY, "fixed: 300 ms", Backoff::fixed(3 * FIRST)),
    ];
    let jitters = [
        ("Full (the default)", Jitter::Full),
        ("Equal", Jitter::Equal),
        ("Decorrelated", Jitter::Decorrelated),
        ("Proportional(0.2)", Jitter::Proportional(0.2)),
        ("OnTop(0.5)", Jitter::OnTop(0.5)),
        ("None", Jitter::None),
    ];
    let text = ["How waits grow, and where they are drawn from", "Above: the wait before each retry, without jitter."];
    let legend = formulas.iter().map(|(style, name, _)| (*style, (*name).to_owned())).collect::<Vec<_>>();
    super::write(path, 980, text, &legend, |area| {
        let (above, below) = area.split_vertically(270);
        grown(&above, &formulas)?;
        let (head, panels) = below.split_vertically(52);
        let text = ("sans-serif", SMALL, &INK).into_text_style(&head);
        for (line, y) in [
            (
                "Below: the share of calls that wait so long, in bars of 20 ms, of 100 ms doubling up to 1 s with each jitter.",
                8,
            ),
            ("Blue: before the third retry, 400 ms without jitter. Orange: before the tenth, at the cap.", 30),
        ] {
            head.draw(&Text::new(line, (16, y), text.clone()))?;
        }
        for (part, (name, jitter)) in panels.split_evenly((2, 3)).iter().zip(jitters) {
            spread(part, name, &Backoff::exponential(FIRST, MAX[1]).jitter(jitter))?;
        }
        Ok(())
    })
}

fn grown(area: &Area<'_>, formulas: &[(Style, &str, Backoff)]) -> Result {
    let font = ("sans-serif", SMALL, &INK);
    let mut chart = ChartBuilder::on(area)
        .margin_right(24)
        .margin_top(12)
        .x_label_area_size(44)
        .y_label_area_size(62)
        .build_cartesian_2d(1.0..10.0, 0.0..2.1)?;
    plain(&mut chart.configure_mesh())
        .x_desc("retry")
        .x_labels(10)
        .y_labels(5)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.1} s"))
        .label_style(font)
        .axis_desc_style(font)
        .draw()?;
    for (style, _, backoff) in formulas {
        let waits = backoff.clone().jitter(Jitter::None).waits().take(10);
        let points = waits.enumerate().map(|(retry, wait)| (retry as f64 + 1.0, wait.as_secs_f64()));
        chart.draw_series(LineSeries::new(points.clone(), style.color.stroke_width(style.width)))?;
        chart.draw_series(points.map(|at| Circle::new(at, 4, style.color.filled())))?;
    }
    Ok(())
}

fn spread(area: &Area<'_>, name: &str, backoff: &Backoff) -> Result {
    let shares = RETRIES.map(|(retry, style)| (style, shares(backoff, retry)));
    let highest = shares.iter().flat_map(|(_, shares)| shares).copied().fold(0.0, f64::max);
    let font = ("sans-serif", SMALL - 2, &INK);
    let title = ("sans-serif", SMALL + 2, FontStyle::Bold, &INK).into_text_style(area);
    area.draw(&Text::new(name.to_owned(), (60, 4), title))?;
    let mut chart = ChartBuilder::on(area)
        .margin_right(16)
        .margin_top(28)
        .x_label_area_size(34)
        .y_label_area_size(54)
        .build_cartesian_2d(0.0..LAST as f64, 0.0..highest * 1.08)?;
    plain(&mut chart.configure_mesh())
        .x_labels(6)
        .y_labels(4)
        .x_label_formatter(&|x| format!("{:.1} s", x / 1_000.0))
        .y_label_formatter(&|y| format!("{y:.0} %"))
        .label_style(font)
        .draw()?;
    for (style, shares) in shares {
        let edge = |bar: usize| (bar * BAR) as f64;
        let tops = shares.iter().enumerate().flat_map(|(bar, share)| [(edge(bar), *share), (edge(bar + 1), *share)]);
        let outline = tops.chain([(LAST as f64, 0.0), (0.0, 0.0)]).collect::<Vec<_>>();
        chart.draw_series([Polygon::new(outline, style.color.mix(0.6).filled())])?;
    }
    Ok(())
}

/// The share of calls in each bar, in percent.
fn shares(backoff: &Backoff, retry: usize) -> Vec<f64> {
    let mut bars = vec![0.0; LAST / BAR];
    for seed in 0..CALLS {
        let wait = backoff.waits_with_seed(seed.into()).nth(retry).map_or(0, |wait| wait.as_millis() as usize);
        bars[(wait / BAR).min(LAST / BAR - 1)] += 100.0 / f64::from(CALLS);
    }
    bars
}
