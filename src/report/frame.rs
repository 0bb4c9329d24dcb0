//! What all charts have in common: two axes with titles and labels around a rectangle, and a legend.

use super::axis::{Range, Scale};
use super::canvas::{Anchor, Canvas, FONT, LINE, Style, WIDTH, text_width, wrap};
use super::legend::Legend;
use super::palette::Paint;

/// Around everything.
const MARGIN: f64 = 4.0;
const TICK: f64 = 5.0;
/// Legends of more rows stand below: they would push the chart out of sight.
const ROWS_ABOVE: usize = 4;

/// An axis.
#[derive(Debug)]
pub(super) struct Axis<'a> {
    /// Its name.
    pub(super) title: &'a str,
    /// What it reaches over.
    pub(super) range: Range,
    /// What stands along it.
    pub(super) labels: Labels,
}

/// What stands along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Labels {
    /// Numbers.
    Numbers,
    /// Nothing.
    Nothing,
    /// Something of the chart's own, which needs this room.
    Own(f64),
}

/// How a chart is arranged.
#[derive(Debug)]
pub(super) struct Arrangement<'a> {
    /// The horizontal axis.
    pub(super) x: Axis<'a>,
    /// The vertical axis.
    pub(super) y: Axis<'a>,
    /// The names of the categories.
    pub(super) legend: Legend,
    /// The height between the axes; none for as much as the width.
    pub(super) height: Option<f64>,
    /// Room above.
    pub(super) above: f64,
    /// Room on the right.
    pub(super) beside: f64,
    /// Whether lines lead from the numbers of the horizontal axis up.
    pub(super) upright_grid: bool,
}

/// The rectangle to draw in, and how values come into it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    /// Places along the horizontal axis.
    pub(super) x: Scale,
    /// Places along the vertical axis.
    pub(super) y: Scale,
    /// Where the figure ends below.
    pub(super) end: f64,
}

impl Arrangement<'_> {
    /// Draws axes and legend.
    pub(super) fn draw(&self, canvas: &mut Canvas) -> Frame {
        let mut top = MARGIN + FONT / 2.0;
        let legend_above = self.legend.n_rows() <= ROWS_ABOVE;
        if legend_above && self.legend.n_rows() > 0 {
            self.legend.draw(canvas, MARGIN, MARGIN);
            top = MARGIN + self.legend.height() + 10.0;
        }
        top += self.above;
        let guess = self.height.unwrap_or(WIDTH * 0.75);
        let count = (2..8).rev().find(|&count| guess / count as f64 >= 48.0).unwrap_or(2);
        let y_ticks = self.y.ticks(count);
        let numbers = y_ticks.iter().map(|(_, label)| text_width(label)).fold(0.0, f64::max);
        let y_title = wrap(self.y.title, guess, 2);
        let label_width = match self.y.labels {
            Labels::Numbers => numbers + TICK + 4.0,
            Labels::Nothing => 4.0,
            Labels::Own(width) => width,
        };
        let left = MARGIN + y_title.len() as f64 * LINE + label_width;
        let right = WIDTH - MARGIN - self.beside.max(8.0);
        let bottom = top + self.height.unwrap_or(right - left);
        let mut frame = Frame {
            left,
            right,
            top,
            bottom,
            x: Scale::new(self.x.range, left, right),
            y: Scale::new(self.y.range, bottom, top),
            end: bottom,
        };
        for (i, line) in y_title.iter().enumerate() {
            let x = MARGIN + (i as f64 + 0.5) * LINE - 2.0;
            canvas.vertical_text((x, f64::midpoint(top, bottom)), Paint::Ink, line);
        }
        self.draw_y(canvas, &frame, &y_ticks);
        frame.end = self.draw_x(canvas, &frame);
        if !legend_above {
            self.legend.draw(canvas, MARGIN, frame.end + 12.0);
            frame.end += 12.0 + self.legend.height();
        }
        frame.end += MARGIN;
        frame
    }

    fn draw_y(&self, canvas: &mut Canvas, frame: &Frame, ticks: &[(f64, String)]) {
        let is_box = self.x.labels == Labels::Nothing && self.y.labels == Labels::Nothing;
        if is_box {
            let style = Style { crisp: true, ..Style::stroke(Paint::Muted, 1.0) };
            canvas.rectangle((frame.left, frame.top), (frame.right, frame.bottom), &style);
            return;
        }
        for (value, label) in ticks {
            let y = frame.y.at(*value);
            canvas.line(&[(frame.left, y), (frame.right, y)], &Style::stroke(Paint::Grid, 1.0));
            canvas.line(&[(frame.left - TICK, y), (frame.left, y)], &Style::stroke(Paint::Muted, 1.0));
            canvas.text((frame.left - TICK - 4.0, y), Anchor::End, Paint::Muted, label);
        }
        canvas
            .line(&[(frame.left, frame.top), (frame.left, frame.bottom)], &Style::stroke(Paint::Muted, 1.0));
        canvas.line(
            &[(frame.left, frame.bottom), (frame.right, frame.bottom)],
            &Style::stroke(Paint::Muted, 1.0),
        );
    }

    /// Returns where the axis ends below.
    fn draw_x(&self, canvas: &mut Canvas, frame: &Frame) -> f64 {
        let mut y = frame.bottom;
        match self.x.labels {
            Labels::Numbers => {
                for (value, middle, label) in self.x.ticks_apart(frame) {
                    let x = frame.x.at(value);
                    if self.upright_grid {
                        canvas.line(&[(x, frame.top), (x, frame.bottom)], &Style::stroke(Paint::Grid, 1.0));
                    }
                    canvas.line(&[(x, y), (x, y + TICK)], &Style::stroke(Paint::Muted, 1.0));
                    canvas.text((middle, y + TICK + 10.0), Anchor::Middle, Paint::Muted, &label);
                }
                y += TICK + 4.0 + LINE;
            }
            Labels::Nothing => y += 4.0,
            Labels::Own(height) => y += height,
        }
        let middle = f64::midpoint(frame.left, frame.right);
        let room = 2.0 * (middle - MARGIN).min(WIDTH - MARGIN - middle);
        for line in wrap(self.x.title, room, 2) {
            canvas.text((middle, y + LINE / 2.0 + 1.0), Anchor::Middle, Paint::Ink, &line);
            y += LINE;
        }
        y + 2.0
    }
}

impl Axis<'_> {
    fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        if self.labels == Labels::Numbers { self.range.ticks(count) } else { Vec::new() }
    }

    /// As many labels as fit beside each other: the value, where the label's middle is, and the label.
    fn ticks_apart(&self, frame: &Frame) -> Vec<(f64, f64, String)> {
        let mut placed = Vec::new();
        for count in (1..=8).rev() {
            placed.clear();
            let mut fits = true;
            let mut end = f64::NEG_INFINITY;
            for (value, label) in self.range.ticks(count) {
                let half = text_width(&label) / 2.0;
                let middle = frame.x.at(value).min(WIDTH - half);
                fits &= middle - half >= end + 8.0;
                end = middle + half;
                placed.push((value, middle, label));
            }
            if fits {
                break;
            }
        }
        placed
    }
}
