//! Points, coloured by category.

use std::collections::BTreeMap;

use super::super::axis::{Range, is_drawable};
use super::super::canvas::{Canvas, WIDTH};
use super::super::figure::Point;
use super::super::frame::{Arrangement, Axis, Frame, Labels};
use super::super::legend::{Legend, Sign, marker, marker_style};
use super::super::text::rounded;
use super::{Marks, draw_diagonal, draw_nothing, pixel};

/// Points; each category is one path, drawn in turn.
pub(super) fn draw(
    canvas: &mut Canvas,
    (x, y): (&str, &str),
    points: &[Point],
    categories: &[String],
    bare: bool,
    diagonal: bool,
) -> (Frame, Marks, u64) {
    let has_place = |point: &&Point| is_drawable(point.x, false) && is_drawable(point.y, false);
    let shown = || points.iter().filter(has_place);
    let n_shown = shown().count();
    let mut ranges = [
        Range::around(shown().map(|point| point.x), false),
        Range::around(shown().map(|point| point.y), false),
    ];
    if diagonal {
        let [x, y] = ranges;
        ranges = [Range { low: x.low.min(y.low), high: x.high.max(y.high), log: false }; 2];
    } else if bare {
        ranges = equally_long(ranges);
    }
    let [across, up] = ranges.map(|range| range.padded(0.04));
    let labels = if bare { Labels::Nothing } else { Labels::Numbers };
    let frame = Arrangement {
        x: Axis { title: x, range: across, labels },
        y: Axis { title: y, range: up, labels },
        legend: Legend::new(categories.iter().map(String::as_str), Sign::Point, WIDTH - 8.0),
        height: if bare || diagonal { None } else { Some(330.0) },
        above: 0.0,
        beside: 14.0,
        upright_grid: true,
    }
    .draw(canvas);
    if diagonal && n_shown > 0 {
        draw_diagonal(canvas, &frame, (across.low, across.high), (up.low, up.high));
    }
    let radius = match n_shown {
        0..=150 => 3.6,
        151..=600 => 2.8,
        601..=2000 => 2.2,
        _ => 1.7,
    };
    let mut paths: BTreeMap<usize, String> = BTreeMap::new();
    let mut marks = Vec::with_capacity(n_shown);
    for point in shown() {
        let at = (frame.x.at(point.x), frame.y.at(point.y));
        *paths.entry(point.category).or_default() += &marker(point.category, at, radius);
        let (x, y) = (rounded(point.x), rounded(point.y));
        marks.push((pixel(at.0), pixel(at.1), point.category, x, y, point.name.clone()));
    }
    for (category, path) in paths {
        canvas.begin_group("series", category);
        canvas.path(&path, &marker_style(category, radius, 0.85));
        canvas.end_group();
    }
    if n_shown == 0 {
        draw_nothing(canvas, &frame);
    }
    let n_left_out = (points.len() - n_shown) as u64;
    let groups = categories.to_vec();
    (frame, Marks::Points { x: x.into(), y: y.into(), groups, points: marks, reach: 16.0 }, n_left_out)
}

/// Both ranges as long as the longer one, around their middles.
fn equally_long(ranges: [Range; 2]) -> [Range; 2] {
    let length = ranges.iter().map(|range| range.high - range.low).fold(0.0, f64::max);
    ranges.map(|range| {
        let middle = f64::midpoint(range.low, range.high);
        Range { low: middle - length / 2.0, high: middle + length / 2.0, log: false }
    })
}
