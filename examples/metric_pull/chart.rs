//! The report as a picture: requests per second at the upstream, one panel for each group of tenants.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::plan::Group;
use super::report::{Comparison, Recovery};
use super::table::share;

/// The file of `--svg`.
#[derive(Debug)]
pub(crate) struct Picture {
    path: PathBuf,
    file: File,
}

/// A picture of both runs, in SVG.
#[derive(Debug)]
struct Chart<'a>(&'a Comparison);

/// Where one group is drawn, and to which scale.
#[derive(Clone, Copy, Debug)]
struct Panel {
    left: f64,
    top: f64,
    /// Seconds, at the right end.
    longest: f64,
    /// Requests per second, at the upper end.
    highest: f64,
}

const COLUMNS: usize = 4;
const WIDTH: f64 = 1_240.0;
const PANEL_WIDTH: f64 = 222.0;
const PANEL_HEIGHT: f64 = 150.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 130.0;
const STEP_X: f64 = 295.0;
const STEP_Y: f64 = 250.0;

/// Colours, and how much of what lies below they hide. Ours lie over naive ones.
const OURS: (&str, f64) = ("#1f5fa8", 0.6);
const NAIVELY: (&str, f64) = ("#e8833a", 0.3);

/// What a breaker does, and the colour of its mark.
const EVENTS: [(&str, &str); 3] = [("opened", "#c62828"), ("probed", "#f9c80e"), ("closed", "#2e9e4f")];

impl Picture {
    /// Starts the file before the run, so that a path that cannot be written to costs no time.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| cannot_write(path, &error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub(crate) fn draw(&self, comparison: &Comparison) -> Result<(), Failure> {
        let svg = Chart(comparison).to_string();
        (&self.file).write_all(svg.as_bytes()).map_err(|error| cannot_write(&self.path, &error))
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot write the picture to {}: {error}", path.display()))
}

impl fmt::Display for Chart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<Group> =
            self.0.rampart.groups.iter().filter(|(_, figures)| figures.tenants > 0).map(|(&group, _)| group).collect();
        let height = TOP + groups.len().div_ceil(COLUMNS) as f64 * STEP_Y - 30.0;
        writeln!(
            f,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="#222">
<title>Requests per second at the upstream, by group of tenants</title>
<rect width="100%" height="100%" fill="#fff"/>"##
        )?;
        text(
            f,
            30.0,
            36.0,
            r#"font-size="22" font-weight="bold""#,
            "Requests per second at the upstream, by group of tenants",
        )?;
        text(f, WIDTH - 30.0, 36.0, r##"text-anchor="end" fill="#555""##, "each panel has a scale of its own")?;
        legend(f)?;
        for (place, &group) in groups.iter().enumerate() {
            self.group(f, place, group)?;
        }
        writeln!(f, "</svg>")
    }
}

impl Chart<'_> {
    fn group(&self, f: &mut fmt::Formatter<'_>, place: usize, group: Group) -> fmt::Result {
        let Comparison { rampart, naive, recovering, embedded: _ } = self.0;
        let bins = [naive, rampart].map(|run| run.load.requests.get(&group).map_or(&[][..], Vec::as_slice));
        let second_of_bin = rampart.load.bin_ms as f64 / 1_000.0;
        let rates = bins.map(|bins| bins.iter().map(|&n| f64::from(n) / second_of_bin).collect::<Vec<_>>());
        let bins = [naive, rampart].map(|run| run.load.requests.values().map(Vec::len).max().unwrap_or(0));
        let panel = Panel {
            left: LEFT + (place % COLUMNS) as f64 * STEP_X,
            top: TOP + (place / COLUMNS) as f64 * STEP_Y,
            longest: bins.into_iter().max().unwrap_or(0).max(1) as f64 * second_of_bin,
            highest: rates.iter().flatten().fold(1.0, |highest: f64, &rate| highest.max(rate)) * 1.1,
        };

        let [ours, theirs] = [rampart, naive].map(|run| run.sum(&[group], |figures| figures.upstream_requests));
        let tenants = rampart.sum(&[group], |figures| figures.tenants);
        let name = format!("{} ({tenants} {})", group.name(), if tenants == 1 { "tenant" } else { "tenants" });
        text(f, panel.left, panel.top - 26.0, r#"font-size="15" font-weight="bold""#, &name)?;
        let requests = format!("{ours} requests, {theirs} naively: {}", share(ours, theirs));
        text(f, panel.left, panel.top - 9.0, r##"fill="#555""##, &requests)?;

        let recovery = recovering.as_ref().filter(|_| group == Group::Recovering);
        if let Some(outage) = recovery.and_then(|recovery| recovery.outage) {
            let [from, to] = [outage.from_ms, outage.to_ms].map(|ms| panel.x(ms as f64 / 1_000.0));
            let (top, width) = (panel.top, to - from);
            writeln!(f, r##"<rect x="{from:.1}" y="{top}" width="{width:.1}" height="{PANEL_HEIGHT}" fill="#eee"/>"##)?;
            text(f, (from + to) / 2.0, top + 12.0, r##"text-anchor="middle" fill="#555""##, "down")?;
        }
        panel.axes(f)?;
        for (rates, (colour, opacity)) in rates.iter().zip([NAIVELY, OURS]) {
            panel.steps(f, rates, second_of_bin, colour, opacity)?;
        }
        recovery.map_or(Ok(()), |recovery| panel.changes(f, recovery))
    }
}

impl Panel {
    fn x(&self, seconds: f64) -> f64 {
        self.left + PANEL_WIDTH * (seconds / self.longest).min(1.0)
    }

    fn y(&self, rate: f64) -> f64 {
        self.top + PANEL_HEIGHT * (1.0 - rate / self.highest)
    }

    fn bottom(&self) -> f64 {
        self.top + PANEL_HEIGHT
    }

    fn axes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, right, bottom) = (self.left, self.left + PANEL_WIDTH, self.bottom());
        for rate in ticks(self.highest) {
            let y = self.y(rate);
            writeln!(f, r##"<path d="M{left:.1} {y:.1}H{right:.1}" stroke="#ddd"/>"##)?;
            text(f, left - 6.0, y + 4.0, r#"text-anchor="end""#, &rate.to_string())?;
        }
        for second in ticks(self.longest) {
            let x = self.x(second);
            writeln!(f, r##"<path d="M{x:.1} {bottom:.1}v5" stroke="#555"/>"##)?;
            text(f, x, bottom + 18.0, r#"text-anchor="middle""#, &second.to_string())?;
        }
        writeln!(f, r##"<path d="M{left:.1} {:.1}V{bottom:.1}H{right:.1}" fill="none" stroke="#555"/>"##, self.top)?;
        text(f, (left + right) / 2.0, bottom + 36.0, r#"text-anchor="middle""#, "seconds since the start")?;
        let (x, y) = (left - 42.0, self.top + PANEL_HEIGHT / 2.0);
        let turned = format!(r#"text-anchor="middle" transform="rotate(-90 {x:.1} {y:.1})""#);
        text(f, x, y, &turned, "requests per second")
    }

    fn steps(
        &self,
        f: &mut fmt::Formatter<'_>,
        rates: &[f64],
        second_of_bin: f64,
        colour: &str,
        opacity: f64,
    ) -> fmt::Result {
        let mut line = String::new();
        for (bin, &rate) in rates.iter().enumerate() {
            let (command, end) = (if bin == 0 { 'M' } else { 'L' }, (bin + 1) as f64 * second_of_bin);
            let start = bin as f64 * second_of_bin;
            write!(line, "{command}{:.1} {:.1}H{:.1}", self.x(start), self.y(rate), self.x(end))?;
        }
        if line.is_empty() {
            return Ok(());
        }
        let (bottom, left) = (self.bottom(), self.left);
        writeln!(f, r#"<path d="{line}V{bottom:.1}H{left:.1}Z" fill="{colour}" fill-opacity="{opacity}"/>"#)?;
        writeln!(f, r#"<path d="{line}" fill="none" stroke="{colour}" stroke-width="2"/>"#)
    }

    /// A mark for each change of the breaker, in a row for each kind: a probe and what comes of it are milliseconds
    /// apart.
    fn changes(&self, f: &mut fmt::Formatter<'_>, recovery: &Recovery) -> fmt::Result {
        for change in &recovery.breaker {
            let row = EVENTS.iter().position(|&(event, _)| event == change.event).unwrap_or(0) as f64;
            mark(f, self.x(change.at_ms as f64 / 1_000.0), self.top + 26.0 + 13.0 * row, change.event)?;
        }
        Ok(())
    }
}

fn legend(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut x = 30.0;
    for ((colour, opacity), name) in [(OURS, "through the layers"), (NAIVELY, "naively: every error tried 4 times")] {
        writeln!(
            f,
            r#"<rect x="{x}" y="54" width="22" height="14" fill="{colour}" fill-opacity="{opacity}" stroke="{colour}" stroke-width="2"/>"#
        )?;
        text(f, x + 30.0, 66.0, r#"font-size="14""#, name)?;
        x += 190.0;
    }
    x += 110.0;
    for (event, _) in EVENTS {
        mark(f, x, 61.0, event)?;
        text(f, x + 10.0, 66.0, r#"font-size="14""#, &format!("breaker {event}"))?;
        x += 140.0;
    }
    Ok(())
}

fn mark(f: &mut fmt::Formatter<'_>, x: f64, y: f64, event: &str) -> fmt::Result {
    let colour = EVENTS.iter().find(|&&(name, _)| name == event).map_or("none", |&(_, colour)| colour);
    writeln!(f, r##"<circle cx="{x:.1}" cy="{y:.1}" r="5" fill="{colour}" stroke="#333"/>"##)
}

/// None of the texts holds a character that means something in XML.
fn text(f: &mut fmt::Formatter<'_>, x: f64, y: f64, attributes: &str, text: &str) -> fmt::Result {
    writeln!(f, r#"<text x="{x:.1}" y="{y:.1}" {attributes}>{text}</text>"#)
}

/// From 0 to the end, in steps of 1, 2 or 5 times a power of ten, of which four to nine fit.
fn ticks(end: f64) -> impl Iterator<Item = f64> {
    let power = 10_f64.powf((end / 4.0).log10().floor());
    let step = [5.0, 2.0, 1.0].map(|times| times * power).into_iter().find(|step| end / step >= 4.0).unwrap_or(power);
    (0..).map(move |n| f64::from(n) * step).take_while(move |tick| *tick <= end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_end() {
        for (end, expected) in [
            (6.5, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            (100.0, vec![0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
            (330.0, vec![0.0, 50.0, 100.0, 150.0, 200.0, 250.0, 300.0]),
        ] {
            assert_eq!(ticks(end).collect::<Vec<_>>(), expected);
        }
    }
}
