//! Lines over a common axis.

use super::super::axis::{Range, is_drawable};
use super::super::canvas::{Anchor, Canvas, LINE, Style, WIDTH, polyline, text_width, wrap};
use super::super::figure::{Series, Tick};
use super::super::frame::{Arrangement, Axis, Frame, Labels};
use super::super::legend::{Legend, Sign, line_style, marker, marker_style};
use super::super::palette::Paint;
use super::super::text::rounded;
use super::{Marks, draw_nothing, pixel};

/// Lines; a value that cannot be drawn leaves a gap.
pub(super) fn draw(
    canvas: &mut Canvas,
    (x, y): (&str, &str),
    series: &[Series],
    mark: Option<&Tick>,
    log_y: bool,
) -> (Frame, Marks, u64) {
    let has_place = |point: &(f64, f64)| is_drawable(point.0, false) && is_drawable(point.1, log_y);
    let points = || series.iter().flat_map(|series| &series.points).copied().filter(|point| has_place(point));
    let mark = mark.filter(|mark| is_drawable(mark.at, false));
    let axis = |title, range: Range| Axis { title, range, labels: Labels::Numbers };
    let across = points().map(|point| point.0).chain(mark.map(|mark| mark.at));
    let arrangement = Arrangement {
        x: axis(x, Range::around(across, false).padded(0.02)),
        y: axis(y, Range::around(points().map(|point| point.1), log_y).padded(0.04)),
        legend: Legend::new(series.iter().map(|series| series.name.as_str()), Sign::Line, WIDTH - 8.0),
        height: Some(270.0),
        above: if mark.is_some() { LINE } else { 0.0 },
        beside: 10.0,
        upright_grid: false,
    };
    let frame = arrangement.draw(canvas);
    if let Some(mark) = mark {
        draw_mark(canvas, &frame, mark);
    }
    let mut marks = Vec::new();
    for (category, series) in series.iter().enumerate() {
        let place = |point: &(f64, f64)| (frame.x.at(point.0), frame.y.at(point.1));
        let (mut path, mut dots) = (String::new(), String::new());
        for run in series.points.split(|point| !has_place(point)) {
            let places: Vec<_> = run.iter().map(place).collect();
            match places[..] {
                [only] => dots += &marker(category, only, 3.5),
                _ => path += &polyline(&places),
            }
            marks.extend(run.iter().zip(places).map(|(point, at)| {
                (pixel(at.0), pixel(at.1), category, rounded(point.0), rounded(point.1), String::new())
            }));
        }
        canvas.begin_group("series", category);
        canvas.path(&path, &line_style(category));
        canvas.path(&dots, &marker_style(category, 3.5, 1.0));
        canvas.end_group();
    }
    if marks.is_empty() {
        draw_nothing(canvas, &frame);
    }
    let n_points: usize = series.iter().map(|series| series.points.len()).sum();
    let n_left_out = (n_points - marks.len()) as u64;
    let groups = series.iter().map(|series| series.name.clone()).collect();
    (frame, Marks::Points { x: x.into(), y: y.into(), groups, points: marks, reach: 40.0 }, n_left_out)
}

/// A vertical line with its name above.
fn draw_mark(canvas: &mut Canvas, frame: &Frame, mark: &Tick) {
    let x = frame.x.at(mark.at);
    canvas.line(
        &[(x, frame.top), (x, frame.bottom)],
        &Style { dash: "4 3", ..Style::stroke(Paint::Muted, 1.3) },
    );
    for line in wrap(&mark.label, WIDTH - 8.0, 1) {
        let half = text_width(&line) / 2.0;
        let middle = x.clamp(half + 2.0, WIDTH - half - 2.0);
        canvas.text((middle, frame.top - LINE / 2.0 - 1.0), Anchor::Middle, Paint::Muted, &line);
    }
}
