//! How many values fall into the cells of a grid.

use std::fmt::Write as _;

use super::super::axis::{Range, Scale, is_drawable};
use super::super::canvas::{Anchor, Canvas, Style, WIDTH, coordinate, text_width};
use super::super::frame::{Arrangement, Axis, Frame, Labels};
use super::super::legend::{Legend, Sign};
use super::super::palette::{N_LEVELS, Paint};
use super::super::text::{number, rounded};
use super::histogram::is_increasing;
use super::{Marks, draw_diagonal, draw_nothing, pixel};

/// The bar that explains the shades: how wide, how far from the chart.
const BAR: f64 = 14.0;
const APART: f64 = 16.0;
const BAR_TITLE: &str = "count";

/// Shaded cells, empty ones left blank, and a bar with the shades' meaning.
pub(super) fn draw(
    canvas: &mut Canvas,
    (x, y): (&str, &str),
    (x_edges, y_edges): (&[f64], &[f64]),
    counts: &[f64],
    diagonal: bool,
) -> (Frame, Marks, u64) {
    let (n_columns, n_rows) = (x_edges.len().saturating_sub(1), y_edges.len().saturating_sub(1));
    let is_grid = is_increasing(x_edges) && is_increasing(y_edges) && counts.len() == n_columns * n_rows;
    let counts = if is_grid { counts } else { &[] };
    let is_count = |count: f64| is_drawable(count, false) && count >= 0.0;
    let n_left_out = counts.iter().filter(|&&count| !is_count(count)).count() as u64;
    let filled = || counts.iter().copied().filter(|&count| is_drawable(count, true));
    let shades = Range {
        low: filled().fold(f64::INFINITY, f64::min).log10(),
        high: filled().fold(0.0, f64::max).log10(),
        log: true,
    };
    let bar_labels = if filled().next().is_none() { Vec::new() } else { bar_labels(shades) };
    let least = text_width(BAR_TITLE) - BAR - 8.0;
    let bar_width = bar_labels.iter().map(|(_, label)| text_width(label)).fold(least, f64::max);
    let axis = |title, edges: &[f64]| {
        let edges = if is_grid { edges } else { &[] };
        Axis { title, range: Range::around(edges.iter().copied(), false), labels: Labels::Numbers }
    };
    let frame = Arrangement {
        x: axis(x, x_edges),
        y: axis(y, y_edges),
        legend: Legend::new(std::iter::empty(), Sign::Area, WIDTH),
        height: None,
        above: 0.0,
        beside: APART + BAR + 8.0 + bar_width,
        upright_grid: true,
    }
    .draw(canvas);
    for (level, path) in levels(counts, n_columns, shades, &frame, (x_edges, y_edges)).iter().enumerate() {
        canvas.path(path, &Style { crisp: true, ..Style::fill(Paint::Level(level)) });
    }
    if bar_labels.is_empty() {
        draw_nothing(canvas, &frame);
    } else {
        draw_bar(canvas, &frame, shades, &bar_labels);
    }
    let ends = |edges: &[f64]| (edges[0], edges[edges.len() - 1]);
    if !bar_labels.is_empty() && diagonal {
        draw_diagonal(canvas, &frame, ends(x_edges), ends(y_edges));
    }
    let edges = |edges: &[f64], scale: Scale| -> Vec<(f64, f64)> {
        if is_grid {
            edges.iter().map(|&edge| (pixel(scale.at(edge)), rounded(edge))).collect()
        } else {
            vec![]
        }
    };
    let marks = Marks::Grid {
        x: x.into(),
        y: y.into(),
        columns: edges(x_edges, frame.x),
        rows: edges(y_edges, frame.y),
        counts: counts
            .iter()
            .map(|&count| if is_count(count) { rounded_count(count) } else { 0.0 })
            .collect(),
    };
    (frame, marks, n_left_out)
}

fn rounded_count(count: f64) -> f64 {
    if count.fract() == 0.0 { count } else { rounded(count) }
}

/// The shade of a count; the fewest and the most are at the ends, all are in the middle when they are equal.
fn level(count: f64, shades: Range) -> usize {
    let length = shades.high - shades.low;
    let share = if length > 0.0 { (count.log10() - shades.low) / length } else { 0.5 };
    (1..N_LEVELS).take_while(|&level| share * N_LEVELS as f64 >= level as f64).count()
}

/// For each shade the path of the cells that have it; neighbours in a row are one rectangle.
fn levels(
    counts: &[f64],
    n_columns: usize,
    shades: Range,
    frame: &Frame,
    (x_edges, y_edges): (&[f64], &[f64]),
) -> Vec<String> {
    let mut paths = vec![String::new(); N_LEVELS];
    for (row, counts) in counts.chunks(n_columns.max(1)).enumerate() {
        let shade = |&count: &f64| is_drawable(count, true).then(|| level(count, shades));
        let shades: Vec<Option<usize>> = counts.iter().map(shade).collect();
        let (top, bottom) = (frame.y.at(y_edges[row + 1]), frame.y.at(y_edges[row]));
        let mut column = 0;
        for run in shades.chunk_by(|a, b| a == b) {
            let end = column + run.len();
            if let Some(level) = run[0] {
                let (left, right) = (frame.x.at(x_edges[column]), frame.x.at(x_edges[end]));
                let [left, right, top, bottom] = [left, right, top, bottom].map(coordinate);
                let _ = write!(paths[level], "M{left} {top}H{right}V{bottom}H{left}z");
            }
            column = end;
        }
    }
    paths
}

/// Values along the bar, from the fewest to the most: powers of ten between the two ends.
fn bar_labels(shades: Range) -> Vec<(f64, String)> {
    let ends = Range { low: shades.low, high: shades.high + 1e-9, log: true };
    let ticks = if shades.high > shades.low { ends.ticks(6) } else { Vec::new() };
    if ticks.len() > 1 {
        return ticks;
    }
    let most = 10f64.powf(shades.high);
    vec![(rounded(most), number(most))]
}

fn draw_bar(canvas: &mut Canvas, frame: &Frame, shades: Range, labels: &[(f64, String)]) {
    let (left, right) = (frame.right + APART, frame.right + APART + BAR);
    let (top, bottom) = (frame.top, frame.top + (frame.bottom - frame.top) * 0.6);
    let step = (bottom - top) / N_LEVELS as f64;
    let is_single = shades.low >= shades.high;
    for level in 0..N_LEVELS {
        let shown = if is_single { self::level(10f64.powf(shades.low), shades) } else { level };
        let low = bottom - level as f64 * step;
        let style = Style { crisp: true, ..Style::fill(Paint::Level(shown)) };
        canvas.rectangle((left, low - step), (right, low), &style);
    }
    let scale = Scale::new(shades, bottom, top);
    for (value, label) in labels {
        let y = if is_single { f64::midpoint(top, bottom) } else { scale.at(*value).clamp(top, bottom) };
        canvas.line(&[(right, y), (right + 4.0, y)], &Style::stroke(Paint::Muted, 1.0));
        canvas.text((right + 8.0, y), Anchor::Start, Paint::Muted, label);
    }
    canvas.text((left, bottom + 20.0), Anchor::Start, Paint::Muted, BAR_TITLE);
}
