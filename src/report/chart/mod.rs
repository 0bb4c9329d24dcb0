//! The charts. Each draws itself and says what a pointer finds where.

mod density;
mod histogram;
mod lines;
mod scatter;
mod violins;

use serde::Serialize;

use super::canvas::{Anchor, Canvas, Style, WIDTH, coordinate, escape};
use super::figure::{Chart, Figure};
use super::frame::Frame;
use super::palette::{Paint, with_variables};

/// A font that every system has or replaces by one alike.
const FONTS: &str = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";

/// A chart as it was drawn.
#[derive(Debug)]
pub(super) struct Drawing {
    body: String,
    height: f64,
    /// What a pointer finds.
    pub(super) marks: Marks,
    /// How many values could not be drawn.
    pub(super) n_left_out: u64,
}

/// What a pointer finds at which places of the drawing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Marks {
    /// The nearest of some places.
    Points {
        /// Names of the axes.
        x: String,
        y: String,
        /// Names of the categories.
        groups: Vec<String>,
        /// Across, down, category, x, y, name.
        points: Vec<(f64, f64, usize, f64, f64, String)>,
        /// How near it has to be.
        reach: f64,
    },
    /// The first of some rectangles: left, top, right, bottom, lines of text.
    Boxes(Vec<(f64, f64, f64, f64, Vec<String>)>),
    /// A cell of a grid.
    Grid {
        /// Names of the axes.
        x: String,
        y: String,
        /// Edges of columns and rows: across or down, value.
        columns: Vec<(f64, f64)>,
        rows: Vec<(f64, f64)>,
        /// One for each cell, row by row.
        counts: Vec<f64>,
    },
}

/// Draws a chart. The same chart always gives the same drawing.
pub(super) fn draw(chart: &Chart) -> Drawing {
    let mut canvas = Canvas::default();
    let (frame, marks, n_left_out) = match chart {
        Chart::Lines { x, y, series, mark, log_y } => {
            lines::draw(&mut canvas, (x, y), series, mark.as_ref(), *log_y)
        }
        Chart::Violins { y, groups, kinds } => violins::draw(&mut canvas, y, groups, kinds),
        Chart::Histogram { x, y, edges, series } => histogram::draw(&mut canvas, (x, y), edges, series),
        Chart::Density { x, y, x_edges, y_edges, counts, diagonal } => {
            density::draw(&mut canvas, (x, y), (x_edges, y_edges), counts, *diagonal)
        }
        Chart::Scatter { x, y, points, categories, bare, diagonal } => {
            scatter::draw(&mut canvas, (x, y), points, categories, *bare, *diagonal)
        }
    };
    Drawing { body: canvas.into_body(), height: frame.end.ceil(), marks, n_left_out }
}

impl Drawing {
    /// A file of its own, on white.
    pub(super) fn file(&self, figure: &Figure) -> String {
        let (height, paper) = (self.height, Paint::Paper.on_paper());
        let (title, caption) = (escape(&figure.title), escape(&figure.caption));
        let body = &self.body;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"{FONTS}\" font-size=\"14\">\n\
             <title>{title}</title>\n<desc>{caption}</desc>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"{paper}\"/>\n{body}</svg>\n"
        )
    }

    /// An element of the page.
    pub(super) fn element(&self, figure: &Figure) -> String {
        let (height, title) = (self.height, escape(&figure.title));
        let body = with_variables(&self.body);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
             aria-label=\"{title}\" font-family=\"{FONTS}\" font-size=\"14\">\n{body}</svg>"
        )
    }
}

/// Where a value lies, for the page's script.
fn pixel(value: f64) -> f64 {
    coordinate(value).parse().unwrap_or(value)
}

/// The line y = x, where it passes through the frame.
fn draw_diagonal(canvas: &mut Canvas, frame: &Frame, x: (f64, f64), y: (f64, f64)) {
    let (low, high) = (x.0.max(y.0), x.1.min(y.1));
    if low < high {
        let ends = [low, high].map(|value| (frame.x.at(value), frame.y.at(value)));
        // Seen on any shade.
        canvas.line(&ends, &Style { round: true, ..Style::stroke(Paint::Paper, 3.5) });
        canvas.line(&ends, &Style { dash: "6 4", ..Style::stroke(Paint::Ink, 1.4) });
    }
}

/// Says that there is nothing to see.
fn draw_nothing(canvas: &mut Canvas, frame: &Frame) {
    let middle = (f64::midpoint(frame.left, frame.right), f64::midpoint(frame.top, frame.bottom));
    canvas.text(middle, Anchor::Middle, Paint::Muted, "no values to show");
}
