//! Summing up blocks of rows: in parallel where the order does not matter or is that of the rows.

use std::ops::Range;

use super::halves::HalfFit;
use super::write::{StoreDtype, Summary, TWO_23, TWO_52, Value};
use crate::matrix::RowBlock;

/// Independent sums and maxima, so that one does not wait for the other.
const LANES: usize = 8;

/// What some consecutive rows hold.
#[derive(Debug)]
pub(super) struct Facts {
    /// Whether every value is a whole number.
    pub(super) whole: bool,
    /// The largest value.
    pub(super) max: f64,
    /// Values that f32 does not hold exactly.
    pub(super) rounded: u64,
    /// What storing them as halves would do; only looked at when it is asked for.
    pub(super) half_fit: HalfFit,
    /// The sum of every row.
    pub(super) sums: Vec<f64>,
}

/// Sums up values.
pub(super) trait Summable: Value {
    /// Whether all are whole numbers, and the largest.
    fn range(values: &[Self]) -> (bool, f64);
    /// How many f32 does not hold exactly.
    fn rounded(values: &[Self]) -> u64;
    /// Their sum as if added one after the other. `exact`: they are whole and not too large to be added in any order.
    fn sum(values: &[Self], exact: bool) -> f64;
}

/// Whether f32 does not hold the value exactly.
#[expect(clippy::cast_possible_truncation, reason = "whether something is lost is the question")]
fn is_rounded(value: f64) -> bool {
    f64::from(value as f32) != value
}

impl Summable for u32 {
    fn rounded(values: &[Self]) -> u64 {
        values.iter().map(|&value| u64::from(is_rounded(value.into()))).sum()
    }

    fn range(values: &[Self]) -> (bool, f64) {
        (true, values.iter().copied().max().unwrap_or(0).into())
    }

    #[expect(clippy::cast_precision_loss, reason = "the sum of f64 is as inexact")]
    fn sum(values: &[Self], _: bool) -> f64 {
        values.iter().map(|&value| u64::from(value)).sum::<u64>() as f64
    }
}

macro_rules! summable_reals {
    ($type:ty, $no_fractions:expr, $is_rounded:expr) => {
        impl Summable for $type {
            fn rounded(values: &[Self]) -> u64 {
                values.iter().map(|&value| u64::from($is_rounded(value))).sum()
            }

            fn range(values: &[Self]) -> (bool, f64) {
                let mut max: [Self; LANES] = [0.0; LANES];
                let mut whole = true;
                let mut look_at = |max: &mut Self, value: Self| {
                    *max = if value > *max { value } else { *max };
                    // The sum is rounded to a whole number; from there on all are.
                    whole &= ((value + $no_fractions) - $no_fractions == value) | (value >= $no_fractions);
                };
                let (groups, rest) = values.as_chunks::<LANES>();
                for group in groups {
                    for (max, &value) in max.iter_mut().zip(group) {
                        look_at(max, value);
                    }
                }
                for (max, &value) in max.iter_mut().zip(rest) {
                    look_at(max, value);
                }
                (whole, max.into_iter().fold(0.0, Self::max).into())
            }

            fn sum(values: &[Self], exact: bool) -> f64 {
                if !exact {
                    return values.iter().copied().map(f64::from).sum();
                }
                let mut sums = [0.0; LANES];
                let (groups, rest) = values.as_chunks::<LANES>();
                for group in groups {
                    for (sum, &value) in sums.iter_mut().zip(group) {
                        *sum += f64::from(value);
                    }
                }
                sums.into_iter().chain(rest.iter().copied().map(f64::from)).sum()
            }
        }
    };
}
summable_reals!(f32, TWO_23, |_| false);
summable_reals!(f64, TWO_52, is_rounded);

impl Facts {
    /// Looks at `rows` of a block whose first row is row `first_row` of the matrix.
    pub(super) fn of<V: Summable>(
        block: &RowBlock<V>,
        rows: Range<usize>,
        first_row: usize,
        dtype: StoreDtype,
    ) -> Self {
        let (_, values) = block.rows(rows.clone());
        let (whole, max) = V::range(values);
        let rounded = V::rounded(values);
        let mut half_fit = HalfFit::default();
        if dtype == StoreDtype::F16 {
            for row in rows.clone() {
                let (indices, values) = block.row(row);
                for (&index, &value) in indices.iter().zip(values) {
                    half_fit.look_at(first_row + row, index as usize, value.to_f64());
                }
            }
        }
        let exact = whole && max * (values.len() as f64) < TWO_52;
        let sums = rows.map(|row| V::sum(block.row(row).1, exact)).collect();
        Self { whole, max, rounded, half_fit, sums }
    }

    /// Adds the facts of the rows that follow those summed up so far.
    pub(super) fn add_to(&self, summary: &mut Summary, half_fit: &mut HalfFit, rows_are_cells: bool) {
        summary.integer &= self.whole;
        summary.max = summary.max.max(self.max);
        summary.rounded += self.rounded;
        half_fit.add(&self.half_fit);
        if rows_are_cells {
            summary.cell_sums.extend(&self.sums);
        }
    }
}

/// Counts the entries of every column and, if columns are cells, adds up their values: in the order of the rows.
pub(super) fn add_columns<V: Value>(block: &RowBlock<V>, counts: &mut [u64], sums: Option<&mut [f64]>) {
    for &index in &block.indices {
        counts[index as usize] += 1;
    }
    if let Some(sums) = sums {
        for (&index, &value) in block.indices.iter().zip(&block.values) {
            sums[index as usize] += value.to_f64();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_sums_are_those_of_plain_loops() {
        for n in [0, 1, 7, 8, 9, 100] {
            let counts: Vec<u32> = (1..=n).map(|k| k * 7919 % 1000 + 1).collect();
            let reals: Vec<f64> = counts.iter().map(|&count| count.into()).collect();
            let expected = (true, reals.iter().fold(0.0, |max: f64, &value| max.max(value)));
            assert_eq!(Summable::range(&counts), expected);
            assert_eq!(Summable::range(&reals), expected);
            #[expect(clippy::cast_possible_truncation, reason = "they are small and whole")]
            let singles: Vec<f32> = reals.iter().map(|&value| value as f32).collect();
            assert_eq!(Summable::range(&singles), expected);
            let sum: f64 = reals.iter().sum();
            assert_eq!(Summable::sum(&counts, true), sum);
            assert_eq!((Summable::sum(&reals, true), Summable::sum(&reals, false)), (sum, sum));
            assert_eq!((Summable::sum(&singles, true), Summable::sum(&singles, false)), (sum, sum));
        }
    }

    #[test]
    fn fractions_are_noticed_and_large_numbers_have_none() {
        for value in [0.5, 1e-30, 1_000_000.25, TWO_52 / 2.0 - 0.5] {
            assert!(!f64::range(&[1.0, value]).0, "{value}");
        }
        for value in [0.5, 1e-30, 1_000_000.25, TWO_23 / 2.0 - 0.25] {
            assert!(!f32::range(&[1.0, value]).0, "{value}");
        }
        for value in [1.0, 8_388_607.0, TWO_23 + 1.0, 1e30] {
            assert_eq!(f32::range(&[1.0, value]), (true, value.into()));
        }
        for value in [1.0, 4e9, TWO_52 - 1.0, TWO_52 + 1.0, 2.0 * TWO_52 - 1.0, 1e300] {
            assert_eq!(f64::range(&[1.0, value]), (true, value));
        }
    }
}
