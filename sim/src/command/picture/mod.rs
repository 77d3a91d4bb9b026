//! Pictures as SVG: what every one of them has, and one file a kind.

mod backoff;
mod storm;
mod sweep;

use std::error::Error;
use std::fs;
use std::path::Path;

use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;

pub(crate) use self::backoff::draw as draw_backoff;
pub(crate) use self::storm::draw as draw_storm;
pub(crate) use self::sweep::draw as draw_sweep;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// How one curve is drawn. The colours differ in brightness, and the dashes tell them apart in grey too.
#[derive(Clone, Copy, Debug)]
struct Style {
    color: RGBColor,
    width: u32,
    /// As in `stroke-dasharray`; empty for a solid line.
    dashes: &'static str,
}

const RED: Style = Style { color: RGBColor(0xC8, 0x1E, 0x1E), width: 2, dashes: "" };
const ORANGE: Style = Style { color: RGBColor(0xE0, 0x9A, 0x1C), width: 3, dashes: "8,4" };
const BLUE: Style = Style { color: RGBColor(0x0B, 0x3C, 0x8C), width: 4, dashes: "" };
const GREY: Style = Style { color: RGBColor(0x70, 0x7C, 0x86), width: 2, dashes: "2,4" };
const STYLES: [Style; 4] = [RED, ORANGE, BLUE, GREY];

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const PALE_INK: RGBColor = RGBColor(0x60, 0x60, 0x60);
const SHADE: RGBColor = RGBColor(0xE9, 0xE4, 0xD8);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);

const WIDTH: u32 = 960;
const LEFT: i32 = 16;
const SMALL: u32 = 15;

/// Draws a title, a line below it and a legend, and then what `draw` adds below them.
fn write(
    path: &Path,
    height: u32,
    [title, subtitle]: [&str; 2],
    legend: &[(Style, String)],
    draw: impl FnOnce(&Area<'_>) -> Result,
) -> Result {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        root.draw(&Text::new(
            title.to_owned(),
            (LEFT, 14),
            ("sans-serif", 24, FontStyle::Bold, &INK).into_text_style(&root),
        ))?;
        root.draw(&Text::new(
            subtitle.to_owned(),
            (LEFT, 46),
            ("sans-serif", SMALL, &PALE_INK).into_text_style(&root),
        ))?;
        for (number, (style, label)) in legend.iter().enumerate() {
            let y = 82 + 22 * number as i32;
            root.draw(&PathElement::new([(LEFT, y), (LEFT + 40, y)], style.color.stroke_width(style.width)))?;
            let text = ("sans-serif", SMALL + 1, &INK).into_text_style(&root);
            root.draw(&Text::new(label.clone(), (LEFT + 50, y - 9), text))?;
        }
        let header = 82 + 22 * legend.len() as i32;
        draw(&root.split_vertically(header).1)?;
        root.present()?;
    }
    fs::write(path, dashed(&svg))?;
    Ok(())
}

/// Lines across at the ticks, and no others.
fn plain<'m, 'a, 'b, X, Y, D>(mesh: &'m mut MeshStyle<'a, 'b, X, Y, D>) -> &'m mut MeshStyle<'a, 'b, X, Y, D>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    D: DrawingBackend,
{
    mesh.disable_x_mesh().light_line_style(TRANSPARENT).bold_line_style(GRID).axis_style(INK.mix(0.6))
}

/// Gives each line its dashes, which plotters can only draw one by one.
fn dashed(svg: &str) -> String {
    let line = |line: &str| {
        let of = |style: &&Style| {
            let RGBColor(r, g, b) = style.color;
            !style.dashes.is_empty()
                && line.contains("<polyline")
                && line.contains(&format!("stroke=\"#{r:02X}{g:02X}{b:02X}\""))
        };
        match STYLES.iter().find(of) {
            Some(style) => line.replacen("<polyline", &format!("<polyline stroke-dasharray=\"{}\"", style.dashes), 1),
            None => line.to_owned(),
        }
    };
    svg.lines().map(|text| line(text) + "\n").collect()
}
