//! Colours. A figure is drawn with those for white paper; the page replaces them by variables, which are others where
//! it is dark.

use std::fmt::Write as _;
use std::sync::LazyLock;

use colorous::VIRIDIS;

/// Categories that differ by colour alone.
pub(super) const N_SERIES: usize = 8;
/// Shades of a density.
pub(super) const N_LEVELS: usize = 24;

/// What something is painted with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Paint {
    /// Text and axes.
    Ink,
    /// Numbers on axes.
    Muted,
    /// Lines that help the eye.
    Grid,
    /// The background.
    Paper,
    /// A category; they repeat after [`N_SERIES`].
    Series(usize),
    /// A shade, from the fewest to the most.
    Level(usize),
}

const PLAIN: [(Paint, &str, &str, &str); 4] = [
    (Paint::Ink, "ink", "#1b1f27", "#e7e9ed"),
    (Paint::Muted, "muted", "#59616d", "#a2a9b5"),
    (Paint::Grid, "grid", "#e2e5ea", "#2d323b"),
    (Paint::Paper, "paper", "#ffffff", "#14171c"),
];

/// Those of Okabe and Ito, moved until any two differ as much as theirs do for people who see two colours only
/// (their yellow and black became brown and ink: yellow cannot be seen on white).
const SERIES: [(&str, &str); N_SERIES] = [
    ("#0a6db3", "#4c8ad6"),
    ("#da610a", "#f5701f"),
    ("#009b6b", "#10b47c"),
    ("#bc82b8", "#d093c8"),
    ("#dca000", "#eeb927"),
    ("#48a8f0", "#8cd8ff"),
    ("#7a5608", "#fff045"),
    ("#20242e", "#edf3f2"),
];

/// Every paint with its variable's name, its colour on white and its colour on dark.
static ALL: LazyLock<Vec<(Paint, String, String, String)>> = LazyLock::new(|| {
    let plain =
        PLAIN.iter().map(|&(paint, name, light, dark)| (paint, name.into(), light.into(), dark.into()));
    let series = SERIES.iter().enumerate().map(|(i, &(light, dark))| {
        (Paint::Series(i), format!("series-{i}"), light.to_owned(), dark.to_owned())
    });
    // The fewest are close to the background on either.
    let levels = (0..N_LEVELS).map(|i| {
        let share = i as f64 / (N_LEVELS - 1) as f64;
        let colour = |at: f64| format!("#{:x}", VIRIDIS.eval_continuous(at));
        (Paint::Level(i), format!("level-{i}"), colour(0.95 * (1.0 - share)), colour(0.2 + 0.8 * share))
    });
    plain.chain(series).chain(levels).collect()
});

impl Paint {
    /// Its colour on white paper.
    pub(super) fn on_paper(self) -> &'static str {
        let wanted = match self {
            Self::Series(i) => Self::Series(i % N_SERIES),
            Self::Level(i) => Self::Level(i.min(N_LEVELS - 1)),
            plain => plain,
        };
        ALL.iter().find(|(paint, ..)| *paint == wanted).map_or("none", |(_, _, light, _)| light)
    }
}

/// The variables' definitions for the page's style sheet.
pub(super) fn variables(dark: bool) -> String {
    ALL.iter().fold(String::new(), |mut text, (_, name, on_light, on_dark)| {
        let _ = write!(text, "--{name}:{};", if dark { on_dark } else { on_light });
        text
    })
}

/// The same drawing with variables in the place of colours. Quotation marks stand only around attributes in it.
pub(super) fn with_variables(svg: &str) -> String {
    let variable = |part: &str| {
        let found = ALL.iter().find(|(_, _, light, _)| part == light);
        found.map_or_else(|| part.to_owned(), |(_, name, ..)| format!("var(--{name})"))
    };
    let parts: Vec<String> = svg
        .split('"')
        .map(|part| if part.starts_with('#') && part.len() == 7 { variable(part) } else { part.to_owned() })
        .collect();
    parts.join("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        a.max(b) / a.min(b)
    }

    #[test]
    fn every_paint_has_a_colour_of_its_own() {
        let mut colours: Vec<_> = ALL.iter().map(|(_, _, light, _)| light).collect();
        colours.sort();
        colours.dedup();
        assert_eq!(colours.len(), PLAIN.len() + N_SERIES + N_LEVELS);
    }

    #[test]
    fn text_and_categories_stand_out_from_both_backgrounds() {
        let [ink, muted, _, paper] = PLAIN;
        for (text, least) in [(ink, 12.0), (muted, 5.5)] {
            assert!(contrast(text.2, paper.2) > least && contrast(text.3, paper.3) > least, "{text:?}");
        }
        for (light, dark) in SERIES {
            assert!(contrast(light, paper.2) > 2.25, "{light}");
            assert!(contrast(dark, paper.3) > 4.5, "{dark}");
        }
    }

    #[test]
    fn only_colours_in_attributes_are_replaced() {
        let svg = r##"<a fill="#1b1f27" stroke="#0a6db3"/><text fill="#123456">#1b1f27</text>"##;
        let expected =
            r##"<a fill="var(--ink)" stroke="var(--series-0)"/><text fill="#123456">#1b1f27</text>"##;
        assert_eq!(with_variables(svg), expected);
    }
}
