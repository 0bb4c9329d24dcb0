//! Entries by what the model knew of them: trained on, held out, or missing; and how the errors are distributed.

use late_fast_kernels::dropout::{kept, row_key};

use super::moments::Moments;
use crate::minibatch::Holdout;

/// Errors are counted in bins of this width on the logarithmic scale, ...
const BIN: f64 = 0.01;
/// ... from minus this to plus this; counts end before 10^8.
const REACH: f64 = 8.0;
/// Stream of the generator that chooses the pairs which are ranked: beyond those of training.
const PAIRS_STREAM: u32 = 1 << 17;

/// How entries are told apart.
#[derive(Clone, Debug)]
pub enum Grouping {
    /// Observed and imputed ones.
    Plain,
    /// For every joint cell its part, and in each observed and imputed ones.
    Cells(Vec<Part>),
    /// The same for every joint gene.
    Genes(Vec<Part>),
    /// Observed ones that were trained on, observed ones that were held out, and imputed ones.
    Entries(Holdout),
}

/// The part of a split that a sample is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Trained on.
    Training,
    /// Scored after every epoch.
    Validation,
    /// Kept apart.
    Test,
    /// In none of them: without entries, or not of the run's input.
    None,
}

/// The parts' names, in order.
const PARTS: [&str; 4] = ["training", "validation", "test", "in no part"];

impl Grouping {
    /// For every group its name and whether it is of imputed entries.
    pub fn names(&self) -> Vec<(String, bool)> {
        match self {
            Self::Plain => vec![("observed".into(), false), ("imputed".into(), true)],
            Self::Entries(_) => vec![
                ("observed, trained on".into(), false),
                ("observed, held out".into(), false),
                ("imputed".into(), true),
            ],
            Self::Cells(_) | Self::Genes(_) => PARTS
                .iter()
                .flat_map(|part| [(format!("{part}, observed"), false), (format!("{part}, imputed"), true)])
                .collect(),
        }
    }

    /// The group of an entry of the input at (`row`, `column`) of its file; `key` is that of [`Grouping::cell_key`].
    #[inline]
    pub(super) fn of(&self, cell: usize, gene: usize, key: u64, column: u32, imputed: bool) -> usize {
        match self {
            Self::Plain => usize::from(imputed),
            Self::Cells(parts) => 2 * parts[cell] as usize + usize::from(imputed),
            Self::Genes(parts) => 2 * parts[gene] as usize + usize::from(imputed),
            Self::Entries(_) if imputed => 2,
            Self::Entries(holdout) => usize::from(holdout.hides(key, column)),
        }
    }

    /// What [`Grouping::of`] needs of a row of the input.
    pub(super) fn cell_key(&self, row: u32) -> u64 {
        match self {
            Self::Entries(holdout) => holdout.cell_key(u64::from(row)),
            _ => 0,
        }
    }
}

/// Errors of one group: output minus truth, on the logarithmic scale.
#[derive(Clone, Debug)]
pub struct Errors {
    /// Values and references.
    pub moments: Moments,
    bins: Vec<u64>,
}

impl Errors {
    pub(super) fn new() -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "two constants")]
        let bins = (2.0 * REACH / BIN) as usize;
        Self { moments: Moments::default(), bins: vec![0; bins] }
    }

    #[inline]
    pub(super) fn push(&mut self, value: f64, reference: f64) {
        self.moments.push(value, reference);
        let place = (value - reference + REACH) / BIN;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, as it should"
        )]
        let bin = (place as usize).min(self.bins.len() - 1);
        self.bins[bin] += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.moments.add(&other.moments);
        self.bins.iter_mut().zip(&other.bins).for_each(|(own, more)| *own += more);
    }

    /// The error below which a share of them lies, within a bin.
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = share * self.moments.n() as f64;
        let mut below = 0.0;
        for (bin, &n) in self.bins.iter().enumerate() {
            let n = n as f64;
            if n > 0.0 && below + n >= wanted {
                return BIN * (bin as f64 + ((wanted - below) / n).clamp(0.0, 1.0)) - REACH;
            }
            below += n;
        }
        f64::NAN
    }

    /// (error, density) over the bins that hold all but a thousandth on either side.
    pub fn density(&self) -> Vec<(f64, f64)> {
        /// Bins on either side that a density is smoothed over; triangular weights.
        const SMOOTH: usize = 5;
        let n = self.moments.n() as f64;
        let (low, high) = (self.quantile(0.001), self.quantile(0.999));
        let weight = |offset: usize| (SMOOTH + 1 - offset.min(SMOOTH + 1)) as f64;
        let norm: f64 = (SMOOTH + 1) as f64 * (SMOOTH + 1) as f64 * n * BIN;
        (SMOOTH..self.bins.len() - SMOOTH)
            .map(|bin| (BIN * (bin as f64 + 0.5) - REACH, bin))
            .filter(|&(at, _)| at >= low - BIN && at <= high + BIN)
            .map(|(at, bin)| {
                let around = bin - SMOOTH..=bin + SMOOTH;
                let sum: f64 = around.map(|b| self.bins[b] as f64 * weight(b.abs_diff(bin))).sum();
                (at, sum / norm)
            })
            .collect()
    }
}

/// Chooses pairs by cell and gene.
#[derive(Clone, Copy, Debug)]
pub(super) struct PairSample {
    pub(super) seed: u64,
    /// The share of pairs that is taken.
    pub(super) share: f32,
}

impl PairSample {
    /// All of `n` pairs, or about `most` of them.
    pub(super) fn new(n: u64, most: u64, seed: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "a share")]
        let share = if n <= most { 1.0 } else { (most as f64 / n as f64) as f32 };
        Self { seed, share }
    }

    pub(super) fn cell_key(self, cell: usize) -> u64 {
        row_key(self.seed, PAIRS_STREAM, 0, cell as u64)
    }

    #[inline]
    pub(super) fn takes(self, cell_key: u64, gene: usize) -> bool {
        self.share >= 1.0 || kept(cell_key, super::join::to_u32(gene), self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_distributed_as_they_came() {
        let mut errors = Errors::new();
        for k in 0..1000_u32 {
            errors.push(f64::from(k) / 1000.0, 0.5);
        }
        errors.push(99.0, 0.0);
        errors.push(-99.0, 0.0);
        for share in [0.25, 0.5, 0.75] {
            assert!((errors.quantile(share) - (share - 0.5)).abs() < 0.02, "{share}");
        }
        let area: f64 = errors.density().iter().map(|point| point.1 * BIN).sum();
        assert!((area - 1.0).abs() < 0.05, "{area}");
        assert!(Errors::new().quantile(0.5).is_nan() && Errors::new().density().is_empty());
    }
}
