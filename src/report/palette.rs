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
/// (their yellow cannot be seen on white: it became brown, and violet on dark).
const SERIES: [(&str, &str); N_SERIES] = [
    ("#0a6db3", "#4e8bec"),
    ("#da610a", "#e3631d"),
    ("#009b6b", "#16c080"),
    ("#bc82b8", "#d39ad3"),
    ("#dca000", "#eec33c"),
    ("#48a8f0", "#a9dafb"),
    ("#7a5608", "#875cb0"),
    ("#20242e", "#f8f1d5"),
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

    type Matrix = [[f64; 3]; 3];

    /// How colours look with each of the three dichromacies (Machado, Oliveira and Fernandes 2009), and without.
    const SIGHTS: [Matrix; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ];

    fn times(matrix: &Matrix, vector: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum())
    }

    /// Red, green and blue, in proportion to light.
    fn linear(colour: &str) -> [f64; 3] {
        [1, 3, 5].map(|at| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// In Oklab, where distances are as large as they look.
    fn perceived(sight: &Matrix, colour: &str) -> [f64; 3] {
        const CONES: Matrix = [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ];
        const LAB: Matrix = [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ];
        let seen = times(sight, linear(colour)).map(|value| value.clamp(0.0, 1.0));
        times(&LAB, times(&CONES, seen).map(f64::cbrt))
    }

    /// How near the two most alike colours are.
    fn nearest(colours: &[&str], sight: &Matrix) -> f64 {
        let seen: Vec<_> = colours.iter().map(|colour| perceived(sight, colour)).collect();
        let distance =
            |a: &[f64; 3], b: &[f64; 3]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let pairs = seen.iter().enumerate().flat_map(|(i, a)| seen[..i].iter().map(move |b| distance(a, b)));
        pairs.fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn categories_differ_with_any_sight_as_much_as_those_of_okabe_and_ito() {
        let theirs = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000"];
        let least = SIGHTS.iter().map(|sight| nearest(&theirs, sight)).fold(f64::INFINITY, f64::min);
        for colours in [SERIES.map(|(light, _)| light), SERIES.map(|(_, dark)| dark)] {
            for sight in &SIGHTS {
                assert!(nearest(&colours, sight) > least, "{colours:?}");
            }
        }
    }

    fn luminance(colour: &str) -> f64 {
        linear(colour).iter().zip([0.2126, 0.7152, 0.0722]).map(|(value, share)| value * share).sum()
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
            assert!(contrast(dark, paper.3) > 3.3, "{dark}");
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
