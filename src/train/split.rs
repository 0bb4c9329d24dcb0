//! Which features the network learns and which samples and entries it is validated on.

use std::path::Path;

use serde::Serialize;

use crate::config::{TrainConfig, Validation};
use crate::error::{Error, Result};
use crate::matrix::Major;
use crate::minibatch::{Builder, Holdout, scored_samples, split_samples};
use crate::parallel::{self, tiles};
use crate::store::{RowEntries, Store, Summary};

/// Held-out entries that are scored after every epoch, about: their mean is known to a thousandth then. Scoring all
/// of an atlas would take a third of the time.
pub(super) const ENOUGH_SCORED: f64 = 4e6;
/// Rows that one task counts.
const ROWS_TASK: usize = 1 << 12;

/// The samples and features of a run.
#[derive(Clone, Debug)]
pub struct Split {
    /// Columns of the store that have an observed entry, in order: the network's features.
    pub features: Vec<u32>,
    /// For every column its feature, or [`Builder::NO_FEATURE`].
    pub feature_of_column: Vec<u32>,
    /// Rows that are trained on.
    pub train: Vec<u32>,
    /// Rows that validation visits: when entries are held out, all of them, or enough for about 4 million entries.
    pub validation: Vec<u32>,
    /// Rows kept for a later test.
    pub test: Vec<u32>,
    /// The held-out entries.
    pub holdout: Option<Holdout>,
}

/// Numbers of a [`Split`], for the plan and the run's record.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SplitCounts {
    /// Observed entries that are trained on.
    pub train_entries: u64,
    /// Observed entries that are scored.
    pub validation_entries: u64,
}

impl Split {
    /// Splits the matrix that `summary` describes, a row a sample. Rows and columns without any entry are
    /// left out: there is nothing to learn from them.
    ///
    /// # Errors
    /// When the matrix has more rows or columns than fit 32 bits.
    pub fn new(summary: &Summary, config: &TrainConfig) -> Result<Self> {
        let features = observed(&summary.col_nnz)?;
        let mut feature_of_column = vec![Builder::NO_FEATURE; summary.col_nnz.len()];
        for (feature, &column) in (0_u32..).zip(&features) {
            feature_of_column[column as usize] = feature;
        }
        let samples = observed(&summary.row_nnz)?;
        let (holdout, [train, validation, test]) = match config.validation {
            Validation::Entries { holdout } => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a number of entries"
                )]
                let enough = (ENOUGH_SCORED / holdout).ceil() as u64;
                let scored = scored_samples(&samples, &summary.row_nnz, enough, config.seed);
                (Some(Holdout { share: holdout, seed: config.seed }), [samples, scored, Vec::new()])
            }
            Validation::Samples { split } => (None, split_samples(&samples, split, config.seed)),
        };
        Ok(Self { features, feature_of_column, train, validation, test, holdout })
    }

    /// Counts the entries of `store`, made from `input`, on either side, so that an impossible split is refused before training.
    ///
    /// # Errors
    /// When nothing is left to train on or to score.
    pub fn count(&self, store: &Store, input: &Path, config: &TrainConfig) -> Result<SplitCounts> {
        let nnz = |rows: &[u32]| rows.iter().map(|&row| store.summary().row_nnz[row as usize]).sum::<u64>();
        let counts = match self.holdout {
            None => {
                SplitCounts { train_entries: nnz(&self.train), validation_entries: nnz(&self.validation) }
            }
            Some(holdout) => {
                let (hidden, scored) = self.count_hidden(store, holdout)?;
                SplitCounts { train_entries: store.summary().tally.nnz - hidden, validation_entries: scored }
            }
        };
        if counts.train_entries > 0 && counts.validation_entries > 0 {
            return Ok(counts);
        }
        let (noun, nouns) = match config.samples {
            Major::Cells => ("cell", "cells"),
            Major::Genes => ("gene", "genes"),
        };
        let remedy = match config.validation {
            Validation::Entries { holdout } => format!(
                "hide another share of the observed entries (--holdout, now {holdout}) or use another --seed"
            ),
            Validation::Samples { .. } => {
                format!("use --validation entries, which needs no {nouns} of its own, or another --split")
            }
        };
        let samples = self.train.len().max(self.validation.len());
        Err(Error::input(
            input,
            "matrix",
            "observed entries to train on and others to validate on",
            format!(
                "{} to train on and {} to validate on, of {} in {samples} {}",
                counts.train_entries,
                counts.validation_entries,
                store.summary().tally.nnz,
                if samples == 1 { noun } else { nouns },
            ),
            remedy,
        ))
    }

    /// The held-out entries, and those of them that validation visits.
    fn count_hidden(&self, store: &Store, holdout: Holdout) -> Result<(u64, u64)> {
        let parts = parallel::map(tiles(store.n_rows(), ROWS_TASK), |rows| {
            let mut row = RowEntries::default();
            let (mut hidden, mut scored) = (0, 0);
            for position in rows.clone() {
                row.clear();
                store.read_row(position, &mut row)?;
                let position = u32::try_from(position).unwrap_or(u32::MAX);
                let n = holdout.count(store.major(), position, &row.indices);
                hidden += n;
                if self.validation.binary_search(&position).is_ok() {
                    scored += n;
                }
            }
            store.release(rows);
            Ok((hidden, scored))
        });
        parts.into_iter().try_fold((0, 0), |(hidden, scored), part: Result<_>| {
            part.map(|(more, more_scored): (u64, u64)| (hidden + more, scored + more_scored))
        })
    }
}

/// Positions with at least one entry.
fn observed(nnz: &[u64]) -> Result<Vec<u32>> {
    if u32::try_from(nnz.len()).is_err() {
        return Err(Error::Resources {
            problem: format!("{} cells or genes: more than 4,294,967,295 cannot be counted", nnz.len()),
            remedy: "split the matrix".into(),
        });
    }
    Ok((0_u32..).zip(nnz).filter(|&(_, &n)| n > 0).map(|(position, _)| position).collect())
}
