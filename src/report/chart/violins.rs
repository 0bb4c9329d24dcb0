//! Distributions side by side: upright where the names fit below, else lying, one below the other.

use super::super::axis::{Range, is_drawable};
use super::super::canvas::{Anchor, Canvas, LINE, Style, WIDTH, polyline, text_width, wrap};
use super::super::figure::Violin;
use super::super::frame::{Arrangement, Axis, Frame, Labels};
use super::super::legend::{Legend, Sign};
use super::super::palette::Paint;
use super::super::text::{count, number};
use super::{Marks, draw_nothing, pixel};

/// What the frame leaves for upright violins, about.
const ROOM: f64 = 400.0;
const MOST_UPRIGHT: usize = 8;
const MOST_LINES_UPRIGHT: usize = 3;
const MOST_LINES_LYING: usize = 2;
/// The widest names of lying ones.
const WIDEST_NAME: f64 = 190.0;

/// A violin's place: its names, broken; whether it lies; and where it is across.
struct Places {
    upright: bool,
    names: Vec<Vec<String>>,
    /// Room for each, across the axis of the values.
    slot: f64,
}

/// Mirrored densities, each as wide as the others, with a bar for the quartiles and a dot for the mean.
pub(super) fn draw(canvas: &mut Canvas, y: &str, groups: &[Violin], kinds: &[String]) -> (Frame, Marks, u64) {
    let has_place =
        |point: &(f64, f64)| is_drawable(point.0, false) && is_drawable(point.1, false) && point.1 >= 0.0;
    let values = groups.iter().flat_map(|group| {
        let density = group.density.iter().filter(|point| has_place(point)).map(|point| point.0);
        density.chain(group.quartiles).chain([group.mean])
    });
    let range = Range::around(values, false).padded(0.03);
    let places = arrange(groups);
    let lines = places.names.iter().map(Vec::len).max().unwrap_or(0) as f64 + 1.0;
    let names_width = places
        .names
        .iter()
        .flatten()
        .map(|line| text_width(line))
        .chain(groups.iter().map(|group| text_width(&n(group))))
        .fold(0.0, f64::max);
    let nothing = Range { low: 0.0, high: 1.0, log: false };
    let values = Axis { title: y, range, labels: Labels::Numbers };
    let across = |room| Axis { title: "", range: nothing, labels: Labels::Own(room) };
    let (x, y, height) = if places.upright {
        (across(lines * LINE + 6.0), values, 290.0)
    } else {
        (values, across(names_width + 10.0), places.slot * groups.len() as f64)
    };
    let frame = Arrangement {
        x,
        y,
        legend: Legend::new(kinds.iter().map(String::as_str), Sign::Area, WIDTH - 8.0),
        height: Some(height),
        above: LINE + 4.0,
        beside: 12.0,
        upright_grid: !places.upright,
    }
    .draw(canvas);
    draw_key(canvas, &frame);
    let mut marks = Vec::new();
    for (i, group) in groups.iter().enumerate() {
        let brush = Brush::new(&places, &frame, i, groups.len());
        let density: Vec<_> = group.density.iter().copied().filter(has_place).collect();
        brush.draw(canvas, group, &density);
        let n = if places.upright { short_n(group) } else { n(group) };
        brush.draw_name(canvas, &frame, &places.names[i], &n);
        marks.push(brush.mark(&frame, group, kinds));
    }
    if range.low < 0.0 && range.high > 0.0 {
        let style = Style { dash: "4 3", ..Style::stroke(Paint::Muted, 1.0) };
        let (x, y) = (frame.x.at(0.0), frame.y.at(0.0));
        let line = if places.upright {
            [(frame.left, y), (frame.right, y)]
        } else {
            [(x, frame.top), (x, frame.bottom)]
        };
        canvas.line(&line, &style);
    }
    if groups.is_empty() {
        draw_nothing(canvas, &frame);
    }
    let n_left_out = groups.iter().flat_map(|group| &group.density).filter(|point| !has_place(point)).count();
    (frame, Marks::Boxes(marks), n_left_out as u64)
}

fn n(group: &Violin) -> String {
    format!("n = {}", count(group.n))
}

/// The same, no wider than eight digits: a pointer tells the number.
fn short_n(group: &Violin) -> String {
    match group.n {
        n @ ..1_000_000 => format!("n = {}", count(n)),
        n @ ..1_000_000_000 => format!("n = {:.2} M", n as f64 / 1e6),
        n => format!("n = {} M", count(n / 1_000_000)),
    }
}

fn arrange(groups: &[Violin]) -> Places {
    let slot = ROOM / groups.len().max(1) as f64;
    let fits = |group: &Violin| {
        let longest =
            group.name.split_whitespace().map(text_width).fold(text_width(&short_n(group)), f64::max);
        longest <= slot - 6.0 && wrap(&group.name, slot - 6.0, usize::MAX).len() <= MOST_LINES_UPRIGHT
    };
    let upright = groups.len() <= MOST_UPRIGHT && groups.iter().all(fits);
    let (width, lines) =
        if upright { (slot - 6.0, MOST_LINES_UPRIGHT) } else { (WIDEST_NAME, MOST_LINES_LYING) };
    let names: Vec<_> = groups.iter().map(|group| wrap(&group.name, width, lines)).collect();
    let longest = names.iter().map(Vec::len).max().unwrap_or(0);
    Places { upright, slot: if upright { slot } else { (longest + 1) as f64 * LINE + 10.0 }, names }
}

/// Draws one violin, whichever way it lies.
struct Brush<'a> {
    frame: &'a Frame,
    upright: bool,
    middle: f64,
    half: f64,
}

impl<'a> Brush<'a> {
    fn new(places: &Places, frame: &'a Frame, i: usize, n: usize) -> Self {
        let share = (i as f64 + 0.5) / n as f64;
        let (from, to) = if places.upright { (frame.left, frame.right) } else { (frame.top, frame.bottom) };
        let half = (to - from) / n as f64 / 2.0;
        Self { frame, upright: places.upright, middle: from + share * (to - from), half: half.min(60.0) }
    }

    /// A place from a value and the distance from the violin's middle.
    fn at(&self, value: f64, aside: f64) -> (f64, f64) {
        if self.upright {
            (self.middle + aside, self.frame.y.at(value))
        } else {
            (self.frame.x.at(value), self.middle + aside)
        }
    }

    fn draw(&self, canvas: &mut Canvas, group: &Violin, density: &[(f64, f64)]) {
        let highest = density.iter().map(|point| point.1).fold(0.0, f64::max);
        let half = self.half * 0.84;
        let paint = Paint::Series(group.kind);
        canvas.begin_group("series", group.kind);
        if density.len() > 1 && highest > 0.0 {
            let side = |sign: f64| {
                density.iter().map(move |&(value, density)| self.at(value, sign * half * density / highest))
            };
            let outline: Vec<_> = side(1.0).chain(side(-1.0).rev()).collect();
            let style = Style { fill: Some((paint, 0.35)), round: true, ..Style::stroke(paint, 1.4) };
            canvas.path(&(polyline(&outline) + "z"), &style);
        } else {
            let thick = Style { round: true, ..Style::stroke(paint, 2.5) };
            for &(value, _) in density {
                canvas.line(&[self.at(value, -half * 0.5), self.at(value, half * 0.5)], &thick);
            }
        }
        canvas.end_group();
        if group.n == 0 {
            return;
        }
        let [low, median, high] = group.quartiles;
        if is_drawable(low, false) && is_drawable(high, false) {
            canvas.rectangle(self.at(low, -3.0), self.at(high, 3.0), &Style::fill(Paint::Ink));
        }
        if is_drawable(median, false) {
            canvas.line(&[self.at(median, -10.0), self.at(median, 10.0)], &Style::stroke(Paint::Ink, 2.4));
        }
        if is_drawable(group.mean, false) {
            canvas.circle(self.at(group.mean, 0.0), 4.2, &dot());
        }
    }

    fn draw_name(&self, canvas: &mut Canvas, frame: &Frame, name: &[String], n: &str) {
        let lines = name.iter().map(|line| (line.as_str(), Paint::Ink)).chain([(n, Paint::Muted)]);
        for (i, (line, paint)) in lines.enumerate() {
            if self.upright {
                let y = frame.bottom + 6.0 + (i as f64 + 0.5) * LINE;
                canvas.text((self.middle, y), Anchor::Middle, paint, line);
            } else {
                let y = self.middle + (i as f64 - name.len() as f64 / 2.0) * LINE;
                canvas.text((frame.left - 8.0, y), Anchor::End, paint, line);
            }
        }
    }

    fn mark(&self, frame: &Frame, group: &Violin, kinds: &[String]) -> (f64, f64, f64, f64, Vec<String>) {
        let [low, median, high] = group.quartiles.map(number);
        let mut lines = vec![group.name.clone(), n(group)];
        lines.extend(kinds.get(group.kind).filter(|kind| **kind != group.name).cloned());
        lines.push(format!("mean {}", number(group.mean)));
        lines.push(format!("quartiles {low}, {median}, {high}"));
        let (from, to) = (pixel(self.middle - self.half), pixel(self.middle + self.half));
        if self.upright {
            (from, pixel(frame.top), to, pixel(frame.bottom), lines)
        } else {
            (pixel(frame.left), from, pixel(frame.right), to, lines)
        }
    }
}

fn dot() -> Style {
    Style { fill: Some((Paint::Paper, 1.0)), ..Style::stroke(Paint::Ink, 1.8) }
}

/// Says what bar, line and dot are.
fn draw_key(canvas: &mut Canvas, frame: &Frame) {
    let (quartiles, mean) = ("quartiles and median", "mean");
    let y = frame.top - LINE / 2.0 - 4.0;
    let mean_at = frame.right - text_width(mean);
    canvas.text((mean_at, y), Anchor::Start, Paint::Muted, mean);
    canvas.circle((mean_at - 11.0, y), 4.2, &dot());
    let quartiles_at = mean_at - 32.0 - text_width(quartiles);
    canvas.text((quartiles_at, y), Anchor::Start, Paint::Muted, quartiles);
    canvas.rectangle((quartiles_at - 32.0, y - 3.0), (quartiles_at - 8.0, y + 3.0), &Style::fill(Paint::Ink));
    let middle = quartiles_at - 20.0;
    canvas.line(&[(middle, y - 8.0), (middle, y + 8.0)], &Style::stroke(Paint::Ink, 2.4));
}
