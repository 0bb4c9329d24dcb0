//! Writes SVG: shapes, text, nothing that a name in it could break.

use std::fmt::Write as _;

use super::palette::Paint;
use super::text;

/// Text of a figure, in its own units; a figure [`WIDTH`] wide is legible when it is shown at three quarters of it
/// or printed as wide as one column.
pub(super) const FONT: f64 = 14.0;
/// From one line of text to the next.
pub(super) const LINE: f64 = 18.0;
/// How wide figures are.
pub(super) const WIDTH: f64 = 480.0;

/// Where a text's place is in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a shape is painted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    /// The inside, and how opaque it is.
    pub(super) fill: Option<(Paint, f64)>,
    /// The outline, and how wide it is.
    pub(super) stroke: Option<(Paint, f64)>,
    /// Lengths of dashes and gaps; empty for a solid line.
    pub(super) dash: &'static str,
    /// Whether lines end and turn round.
    pub(super) round: bool,
    /// Whether edges lie between pixels, so that neighbours touch.
    pub(super) crisp: bool,
}

impl Style {
    /// The inside only.
    pub(super) fn fill(paint: Paint) -> Self {
        Self { fill: Some((paint, 1.0)), ..Self::default() }
    }

    /// The outline only.
    pub(super) fn stroke(paint: Paint, width: f64) -> Self {
        Self { stroke: Some((paint, width)), ..Self::default() }
    }

    fn attributes(&self) -> String {
        let mut text = match self.fill {
            Some((paint, 1.0)) => format!(r#"fill="{}""#, paint.on_paper()),
            Some((paint, opacity)) => format!(r#"fill="{}" fill-opacity="{opacity}""#, paint.on_paper()),
            None => r#"fill="none""#.to_owned(),
        };
        if let Some((paint, width)) = self.stroke {
            let _ = write!(text, r#" stroke="{}" stroke-width="{width}""#, paint.on_paper());
        }
        if !self.dash.is_empty() {
            let _ = write!(text, r#" stroke-dasharray="{}""#, self.dash);
        }
        if self.round {
            text.push_str(r#" stroke-linecap="round" stroke-linejoin="round""#);
        }
        if self.crisp {
            text.push_str(r#" shape-rendering="crispEdges""#);
        }
        text
    }
}

/// The inside of an SVG element, growing.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    body: String,
}

impl Canvas {
    /// A path in SVG's own notation.
    pub(super) fn path(&mut self, d: &str, style: &Style) {
        if !d.is_empty() {
            let _ = writeln!(self.body, r#"<path d="{d}" {}/>"#, style.attributes());
        }
    }

    /// A line through these places.
    pub(super) fn line(&mut self, places: &[(f64, f64)], style: &Style) {
        self.path(&polyline(places), style);
    }

    /// A rectangle between opposite corners.
    pub(super) fn rectangle(&mut self, (x0, y0): (f64, f64), (x1, y1): (f64, f64), style: &Style) {
        let [left, right, top, bottom] = [x0.min(x1), x0.max(x1), y0.min(y1), y0.max(y1)].map(coordinate);
        self.path(&format!("M{left} {top}H{right}V{bottom}H{left}z"), style);
    }

    /// A circle.
    pub(super) fn circle(&mut self, (x, y): (f64, f64), radius: f64, style: &Style) {
        let (x, y, r) = (coordinate(x), coordinate(y), coordinate(radius));
        let _ = writeln!(self.body, r#"<circle cx="{x}" cy="{y}" r="{r}" {}/>"#, style.attributes());
    }

    /// A line of text whose middle is at `y`.
    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, paint: Paint, content: &str) {
        self.place_text(x, y, anchor, paint, "", content);
    }

    /// A line of text from the bottom to the top, centred at `(x, y)`.
    pub(super) fn vertical_text(&mut self, (x, y): (f64, f64), paint: Paint, content: &str) {
        let transform = format!(r#" transform="rotate(-90 {} {})""#, coordinate(x), coordinate(y));
        self.place_text(x, y, Anchor::Middle, paint, &transform, content);
    }

    fn place_text(&mut self, x: f64, y: f64, anchor: Anchor, paint: Paint, transform: &str, content: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        // Digits and small letters look centred around 0.35 of the size above the baseline; the attribute for
        // that is not understood by every program.
        let (x, y) = (coordinate(x), coordinate(y + 0.35 * FONT));
        let _ = writeln!(
            self.body,
            r#"<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{}"{transform}>{}</text>"#,
            paint.on_paper(),
            escape(content)
        );
    }

    /// What follows up to [`Canvas::end_group`] belongs to a category.
    pub(super) fn begin_group(&mut self, class: &str, category: usize) {
        let _ = writeln!(self.body, r#"<g class="{class}" data-group="{category}">"#);
    }

    /// See [`Canvas::begin_group`].
    pub(super) fn end_group(&mut self) {
        self.body.push_str("</g>\n");
    }

    /// What was drawn.
    pub(super) fn into_body(self) -> String {
        self.body
    }
}

/// The path of a line.
pub(super) fn polyline(places: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (i, &(x, y)) in places.iter().enumerate() {
        let _ = write!(path, "{}{} {}", if i == 0 { 'M' } else { 'L' }, coordinate(x), coordinate(y));
    }
    path
}

/// A tenth of a unit is a quarter of a pixel on the finest screens.
pub(super) fn coordinate(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".into() } else { text.into() }
}

/// How wide a text is, at most.
pub(super) fn text_width(content: &str) -> f64 {
    text::width(content) * FONT
}

/// Lines of text no wider than `width`.
pub(super) fn wrap(content: &str, width: f64, max_lines: usize) -> Vec<String> {
    text::wrap(content, width / FONT, max_lines)
}

/// Text as it stands in XML; characters that XML does not allow become signs for that.
pub(super) fn escape(content: &str) -> String {
    let mut text = String::with_capacity(content.len());
    for c in content.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            '\t' | '\n' | '\r' => text.push(' '),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => text.push(char::REPLACEMENT_CHARACTER),
            c => text.push(c),
        }
    }
    text
}
