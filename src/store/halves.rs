//! Real values as IEEE halves: which fit, and how they are rounded.

use half::f16;

use crate::error::{Error, Result};
use crate::io::Source;

/// What storing the values of a matrix as halves would do to them.
#[derive(Debug, Default)]
pub(super) struct HalfFit {
    /// The first value above the largest half, as (row, column, value).
    too_large: Option<(usize, usize, f64)>,
    /// Values below the smallest half.
    too_small: u64,
}

impl HalfFit {
    pub(super) fn look_at(&mut self, row: usize, column: usize, value: f64) {
        if value > f16::MAX.to_f64() {
            self.too_large.get_or_insert((row, column, value));
        }
        self.too_small += u64::from(value < smallest());
    }

    /// Adds what was seen later.
    pub(super) fn add(&mut self, later: &Self) {
        self.too_large = self.too_large.or(later.too_large);
        self.too_small += later.too_small;
    }

    /// The values that [`round`] will raise.
    ///
    /// # Errors
    /// When a value is too large: it would become infinite.
    pub(super) fn check(&self, source: &dyn Source) -> Result<u64> {
        let Some((row, column, value)) = self.too_large else { return Ok(self.too_small) };
        let major = source.major();
        let place = [(major, row), (major.other(), column)]
            .map(|(major, position)| major.describe_row(&source.axis(major).names, position));
        Err(Error::input(
            source.path(),
            format!("{}, {}", source.head().layout, place.join(", ")),
            format!("at most {}, the largest 16-bit real number", f16::MAX),
            value.to_string(),
            "keep the values in 32 bits with --store-dtype f32",
        ))
    }
}

/// The smallest positive half, 2^-24.
pub(super) fn smallest() -> f64 {
    f16::MIN_POSITIVE_SUBNORMAL.to_f64()
}

/// The half nearest to the f32 that would be stored otherwise. A value below the smallest half becomes that: as 0
/// the entry would no longer count as observed, and 6e-8 is no more than rounding does to values from 1.2e-4 on.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
pub(super) fn round(value: f64) -> f16 {
    // Not `from_f64`, whose result depends on the CPU.
    f16::from_f32(value as f32).max(f16::MIN_POSITIVE_SUBNORMAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_to_the_nearest_half_and_never_to_zero() {
        let half_step = 2.0_f64.powi(-11);
        for (value, rounded) in [
            (1.0, 1.0),
            (1.0 + half_step, 1.0),
            (1.0 + 1.001 * half_step, 1.0 + 2.0 * half_step),
            (65_504.0, 65_504.0),
            (2.0_f64.powi(-24), 2.0_f64.powi(-24)),
            (2.0_f64.powi(-25), 2.0_f64.powi(-24)),
            (1.2e-38, 2.0_f64.powi(-24)),
        ] {
            assert_eq!(round(value).to_f64(), rounded, "{value}");
        }
    }

    #[test]
    fn what_does_not_fit_is_noticed() {
        let mut fit = HalfFit::default();
        for (column, value) in [1e-9, smallest(), 1.0, 65_504.0, 65_504.1, 1e9].into_iter().enumerate() {
            fit.look_at(3, column, value);
        }
        assert_eq!((fit.too_small, fit.too_large), (1, Some((3, 4, 65_504.1))));
    }
}
