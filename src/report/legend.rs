//! The names of categories beside what stands for them.

use std::f64::consts::{FRAC_PI_2, TAU};
use std::fmt::Write as _;

use super::canvas::{Anchor, Canvas, LINE, Style, coordinate, polyline, text_width, wrap};
use super::palette::{N_SERIES, Paint};

/// Between a sign and its name, and between entries.
const GAP: f64 = 7.0;
const APART: f64 = 18.0;
/// A name that is longer than a row is broken into so many lines.
const MOST_LINES: usize = 2;

/// Lines that differ by more than their colour.
const DASHES: [&str; 5] = ["", "7 4", "2 3", "10 3 2 3", "4 2"];

/// What stands for a category.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sign {
    /// A line.
    Line,
    /// An area.
    Area,
    /// A point.
    Point,
}

/// The names of the categories, in rows.
#[derive(Debug)]
pub(super) struct Legend {
    sign: Sign,
    /// For every row the entries: where, which category, its name's lines.
    rows: Vec<Vec<(f64, usize, Vec<String>)>>,
}

impl Legend {
    /// Lays the names out in rows of this width. Nothing is said of a single category.
    pub(super) fn new<'a>(names: impl ExactSizeIterator<Item = &'a str>, sign: Sign, width: f64) -> Self {
        let start = sign.width() + GAP;
        let entries: Vec<_> = names.map(|name| wrap(name, width - start, MOST_LINES)).collect();
        let wide =
            |lines: &Vec<String>| lines.iter().map(|line| text_width(line)).fold(0.0, f64::max) + start;
        let widest = entries.iter().map(wide).fold(0.0, f64::max);
        // In columns where there is room for two or more, else one after the other.
        let fits_twice = widest * 2.0 + APART <= width;
        let is_one_row = entries.iter().map(|lines| wide(lines) + APART).sum::<f64>() - APART <= width;
        let mut rows: Vec<Vec<_>> = Vec::new();
        let mut end = f64::INFINITY;
        for (category, lines) in entries.into_iter().enumerate() {
            let taken = if fits_twice && !is_one_row { widest } else { wide(&lines) };
            let mut start = end + APART;
            if start + taken > width {
                rows.push(Vec::new());
                start = 0.0;
            }
            end = start + taken;
            if let Some(row) = rows.last_mut() {
                row.push((start, category, lines));
            }
        }
        if rows.len() == 1 && rows[0].len() == 1 {
            rows.clear();
        }
        Self { sign, rows }
    }

    /// How many rows there are.
    pub(super) fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// How high they are together.
    pub(super) fn height(&self) -> f64 {
        self.rows.iter().map(|row| row_lines(row) as f64 * LINE + 4.0).sum()
    }

    /// Draws them below and to the right of a place.
    pub(super) fn draw(&self, canvas: &mut Canvas, left: f64, top: f64) {
        let mut y = top;
        for row in &self.rows {
            for (start, category, lines) in row {
                canvas.begin_group("key", *category);
                self.sign.draw(canvas, left + start, y + LINE / 2.0, *category);
                for (i, line) in lines.iter().enumerate() {
                    let x = left + start + self.sign.width() + GAP;
                    canvas.text((x, y + (i as f64 + 0.5) * LINE), Anchor::Start, Paint::Ink, line);
                }
                canvas.end_group();
            }
            y += row_lines(row) as f64 * LINE + 4.0;
        }
    }
}

fn row_lines(row: &[(f64, usize, Vec<String>)]) -> usize {
    row.iter().map(|(_, _, lines)| lines.len()).max().unwrap_or(0).max(1)
}

impl Sign {
    fn width(self) -> f64 {
        match self {
            Self::Line => 24.0,
            Self::Area => 14.0,
            Self::Point => 10.0,
        }
    }

    fn draw(self, canvas: &mut Canvas, x: f64, y: f64, category: usize) {
        match self {
            Self::Line => canvas.line(&[(x, y), (x + self.width(), y)], &line_style(category)),
            Self::Area => {
                let corners = ((x, y - 6.0), (x + self.width(), y + 6.0));
                canvas.rectangle(corners.0, corners.1, &area_style(category));
            }
            Self::Point => {
                let path = marker(category, (x + 5.0, y), 4.5);
                canvas.path(&path, &marker_style(category, 4.5, 1.0));
            }
        }
    }
}

/// The line of a category: colours first, then dashes.
pub(super) fn line_style(category: usize) -> Style {
    let dash = DASHES[category / N_SERIES % DASHES.len()];
    Style { dash, round: dash.is_empty(), ..Style::stroke(Paint::Series(category), 2.2) }
}

/// The area of a category.
pub(super) fn area_style(category: usize) -> Style {
    Style { fill: Some((Paint::Series(category), 0.16)), ..line_style(category) }
}

/// How the markers of a category are painted; circles are dots of a round pen, which are the shortest to write.
pub(super) fn marker_style(category: usize, radius: f64, opacity: f64) -> Style {
    let paint = Paint::Series(category);
    if is_dot(category) {
        Style { round: true, ..Style::stroke(paint, radius * 2.0) }
    } else {
        Style { fill: Some((paint, opacity)), ..Style::default() }
    }
}

fn is_dot(category: usize) -> bool {
    (category / N_SERIES).is_multiple_of(5)
}

/// The outline of one marker of a category: colours first, then shapes.
pub(super) fn marker(category: usize, (x, y): (f64, f64), radius: f64) -> String {
    let corners = |n: usize, radius: f64, turn: f64| {
        let corner = |i: usize| {
            let angle = turn + TAU * i as f64 / n as f64;
            (x + radius * angle.cos(), y + radius * angle.sin())
        };
        polyline(&(0..n).map(corner).collect::<Vec<_>>()) + "z"
    };
    match category / N_SERIES % 5 {
        0 => {
            let mut path = String::new();
            let _ = write!(path, "M{} {}h.01", coordinate(x), coordinate(y));
            path
        }
        1 => corners(3, radius * 1.35, -FRAC_PI_2),
        2 => corners(4, radius * 1.3, FRAC_PI_2 / 2.0),
        3 => corners(3, radius * 1.35, FRAC_PI_2),
        _ => corners(4, radius * 1.4, 0.0),
    }
}
