//! Histograms over common bins, one in front of the other.

use super::super::axis::{Range, is_drawable};
use super::super::canvas::{Canvas, WIDTH, polyline};
use super::super::frame::{Arrangement, Axis, Frame, Labels};
use super::super::legend::{Legend, Sign, area_style, line_style};
use super::super::palette::N_SERIES;
use super::super::text::number;
use super::{Marks, draw_nothing, pixel};

/// Steps with a lightly filled area below. A count that is none is drawn like an empty bin.
pub(super) fn draw(
    canvas: &mut Canvas,
    (x, y): (&str, &str),
    edges: &[f64],
    series: &[(String, Vec<f64>)],
) -> (Frame, Marks, u64) {
    let bins: Vec<(f64, f64)> = if is_increasing(edges) {
        edges.windows(2).map(|pair| (pair[0], pair[1])).collect()
    } else {
        Vec::new()
    };
    let is_count = |count: f64| is_drawable(count, false) && count >= 0.0;
    let heights = |counts: &[f64]| -> Vec<f64> {
        let height = |i: usize| counts.get(i).copied().filter(|&count| is_count(count)).unwrap_or(0.0);
        (0..bins.len()).map(height).collect()
    };
    let n_left_out = series.iter().flat_map(|(_, counts)| counts).filter(|&&count| !is_count(count)).count();
    let series: Vec<(&str, Vec<f64>)> =
        series.iter().map(|(name, counts)| (name.as_str(), heights(counts))).collect();
    let highest = series.iter().flat_map(|(_, heights)| heights).copied().fold(0.0, f64::max);
    let across = bins.iter().flat_map(|&(from, to)| [from, to]);
    let up = Range { low: 0.0, high: if highest > 0.0 { highest * 1.05 } else { 1.0 }, log: false };
    let frame = Arrangement {
        x: Axis { title: x, range: Range::around(across, false), labels: Labels::Numbers },
        y: Axis { title: y, range: up, labels: Labels::Numbers },
        legend: Legend::new(series.iter().map(|(name, _)| *name), Sign::Area, WIDTH - 8.0),
        height: Some(270.0),
        above: 0.0,
        beside: 14.0,
        upright_grid: false,
    }
    .draw(canvas);
    for (category, (_, heights)) in series.iter().enumerate() {
        let bars: Vec<_> = bins.iter().zip(heights).collect();
        let mut outline = String::new();
        // Where there is nothing, no line hides the axis.
        for run in bars.split(|(_, height)| **height == 0.0).filter(|run| !run.is_empty()) {
            let corner = |edge: f64, height: f64| (frame.x.at(edge), frame.y.at(height));
            let mut corners = vec![corner(run[0].0.0, 0.0)];
            corners.extend(
                run.iter().flat_map(|((from, to), height)| [*from, *to].map(|edge| corner(edge, **height))),
            );
            corners.push(corner(run[run.len() - 1].0.1, 0.0));
            outline += &polyline(&corners);
        }
        canvas.begin_group("series", category);
        let mut area = area_style(category);
        area.stroke = None;
        canvas.path(&outline, &area);
        let mut line = line_style(category);
        line.stroke = line.stroke.map(|(paint, _)| (paint, 1.8));
        canvas.path(&outline, &line);
        canvas.end_group();
    }
    if bins.is_empty() || series.is_empty() {
        draw_nothing(canvas, &frame);
    }
    let boxes = bins.iter().enumerate().map(|(bin, &(from, to))| {
        let mut lines = vec![format!("{x}: {} to {}", number(from), number(to))];
        let told = series.iter().take(N_SERIES);
        lines.extend(told.map(|(name, heights)| format!("{name}: {}", number(heights[bin]))));
        if series.len() > N_SERIES {
            lines.push("…".into());
        }
        (pixel(frame.x.at(from)), pixel(frame.top), pixel(frame.x.at(to)), pixel(frame.bottom), lines)
    });
    (frame, Marks::Boxes(boxes.collect()), n_left_out as u64)
}

/// Whether these are the edges of bins.
pub(super) fn is_increasing(edges: &[f64]) -> bool {
    edges.len() > 1
        && edges.iter().all(|&edge| is_drawable(edge, false))
        && edges.windows(2).all(|pair| pair[0] < pair[1])
}
