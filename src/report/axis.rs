//! From values to places: ranges, scales and the places that get a label.

use super::text;

/// Values beyond cannot be drawn: the difference of two would be infinite.
const LARGEST: f64 = 1e300;
/// Ranges narrower than this share of their values are drawn like a single value: labels would not tell them apart.
const NARROWEST: f64 = 1e-9;

/// Whether a value has a place on an axis.
pub(super) fn is_drawable(value: f64, log: bool) -> bool {
    value.abs() <= LARGEST && (!log || value > 1.0 / LARGEST)
}

/// The power of ten at or below a number's size; 0 for 0.
pub(super) fn exponent(value: f64) -> i32 {
    if value == 0.0 || !value.is_finite() {
        return 0;
    }
    // A formatted number tells it without the logarithm's error at powers of ten.
    let text = format!("{value:e}");
    text.rsplit_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0)
}

/// What an axis reaches over; on a logarithmic one, both ends are logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    /// The lower end.
    pub(super) low: f64,
    /// The upper end, above the lower.
    pub(super) high: f64,
    /// Whether the ends are logarithms to base 10.
    pub(super) log: bool,
}

impl Range {
    /// Around the values that can be drawn; never empty.
    pub(super) fn around(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let drawable = values.filter(|&value| is_drawable(value, log));
        let (low, high) = drawable
            .map(|value| if log { value.log10() } else { value })
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return Self { low: 0.0, high: 1.0, log };
        }
        let size = if log { low.abs().max(high.abs()).max(1.0) } else { low.abs().max(high.abs()) };
        if high - low > size * NARROWEST && high - low > 1.0 / LARGEST {
            return Self { low, high, log };
        }
        let around = if log { 0.5 } else { (size * 0.1).max(if size > 1e-100 { 0.0 } else { 0.5 }) };
        Self { low: low - around, high: high + around, log }
    }

    /// Wider by this share of its length at either end.
    pub(super) fn padded(self, share: f64) -> Self {
        let by = (self.high - self.low) * share;
        Self { low: self.low - by, high: self.high + by, log: self.log }
    }

    /// Up to about `count` round values inside, with their labels.
    pub(super) fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        if self.log {
            let powers: Vec<i32> = (-310..310).filter(|&power| self.contains(f64::from(power))).collect();
            if powers.len() > 2 {
                let every = powers.len().div_ceil(count.max(1));
                let kept =
                    powers.into_iter().filter(|power| (power.unsigned_abs() as usize).is_multiple_of(every));
                return kept.map(|power| (10f64.powi(power), text::power_of_ten(power))).collect();
            }
            // Less than two orders of magnitude: some digits between the powers, if that gives enough labels.
            let (first, last) =
                (powers.first().map_or(0, |power| power - 1), powers.last().map_or(-1, |&power| power));
            for digits in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]] {
                let values = (first..=last)
                    .flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)));
                let inside: Vec<f64> = values.filter(|value| self.contains(value.log10())).collect();
                if (2..=count + 1).contains(&inside.len()) {
                    return inside.into_iter().map(|value| (value, text::number(value))).collect();
                }
            }
        }
        let (low, high) =
            if self.log { (10f64.powf(self.low), 10f64.powf(self.high)) } else { (self.low, self.high) };
        let step = round_step((high - low) / count.max(1) as f64);
        let first = (low / step).ceil();
        // Rounded once more: 3 x 0.1 is not 0.3.
        let ticks: Vec<f64> = (0..=count + 1)
            .map(|i| (first + i as f64) * step)
            .filter(|&tick| tick <= high + step * 1e-9)
            .map(|tick| format!("{tick:.12e}").parse().unwrap_or(tick))
            .collect();
        let labels = text::tick_labels(&ticks, step);
        ticks.into_iter().zip(labels).collect()
    }

    /// Whether a value, or on a logarithmic axis its logarithm, lies inside.
    fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The next larger of 1, 2, 5 times a power of ten.
fn round_step(at_least: f64) -> f64 {
    let power = 10f64.powi(exponent(at_least));
    [1.0, 2.0, 5.0]
        .map(|digit| digit * power)
        .into_iter()
        .find(|&step| step >= at_least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// Puts values of a range between two places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    range: Range,
    from: f64,
    to: f64,
}

impl Scale {
    /// The lower end comes to `from`, the upper to `to`.
    pub(super) fn new(range: Range, from: f64, to: f64) -> Self {
        Self { range, from, to }
    }

    /// Where a value lies.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if self.range.log { value.log10() } else { value };
        let share = (value - self.range.low) / (self.range.high - self.range.low);
        self.from + share * (self.to - self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(range: Range, count: usize) -> Vec<String> {
        range.ticks(count).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn any_values_have_a_range_with_labels_inside() {
        let sets: &[&[f64]] = &[
            &[],
            &[0.0],
            &[f64::NAN, f64::INFINITY],
            &[3.0, 3.0],
            &[1.0, 1.0 + f64::EPSILON],
            &[1e17, 1e17 + 16.0],
            &[-1e300, 1e300],
            &[1e-320, 2e-320],
            &[-1e-200, 1e-200],
            &[0.1, 0.2, 0.3],
            &[-5.0, 12.0],
            &[1e-9, 1e12],
        ];
        for values in sets {
            for log in [false, true] {
                let range = Range::around(values.iter().copied(), log);
                assert!(range.low < range.high, "{values:?}");
                for count in [1, 2, 5, 8] {
                    let ticks = range.ticks(count);
                    assert!(ticks.len() <= count + 2, "{values:?} {ticks:?}");
                    let scale = Scale::new(range, 0.0, 100.0);
                    assert!(
                        ticks.iter().all(|(tick, _)| (-1e-3..=100.001).contains(&scale.at(*tick))),
                        "{values:?} {range:?} {ticks:?}"
                    );
                    let mut distinct: Vec<_> = ticks.iter().map(|(_, label)| label).collect();
                    distinct.dedup();
                    assert_eq!(distinct.len(), ticks.len(), "{values:?}: {ticks:?}");
                }
            }
        }
    }

    #[test]
    fn labels_are_round() {
        let range = |low, high, log| Range { low, high, log };
        assert_eq!(labels(range(0.0, 1.0, false), 5), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(range(-0.31, 0.3, false), 4), ["−0.2", "0.0", "0.2"]);
        assert_eq!(labels(range(-2.0, 3.5, true), 6), ["0.01", "0.1", "1", "10", "100", "1,000"]);
        assert_eq!(labels(range(-1.7, -0.5, true), 5), ["0.02", "0.05", "0.1", "0.2"]);
        assert_eq!(labels(range(-1.6, -1.2, true), 5), ["0.03", "0.04", "0.05", "0.06"]);
        assert_eq!([0.0, 999.999, 1000.0, 0.001, -25.0].map(exponent), [0, 2, 3, -3, 1]);
    }
}
