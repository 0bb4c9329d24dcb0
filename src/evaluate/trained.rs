//! The directory of a training run: learning curve, settings, and which entries it trained on.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Matrix;
use super::groups::{Grouping, Part};
use super::join::Join;
use crate::config::{CONFIG_FILE, HISTORY_FILE, SPLIT_FILE, TrainConfig, Validation, features_name};
use crate::error::{Error, Result};
use crate::matrix::Major;
use crate::minibatch::Holdout;
use crate::parallel::{self, tiles};
use crate::store::{RowEntries, Store};

const REMEDY: &str = "give a directory that `late-fast train` has written";
/// Rows that one task looks at.
const ROWS_TASK: usize = 1 << 12;

/// A training run.
#[derive(Clone, Debug)]
pub struct TrainedRun {
    /// Its directory.
    pub dir: PathBuf,
    /// A record for every epoch.
    pub history: Vec<Epoch>,
    /// Its settings.
    pub config: TrainConfig,
    /// The network with cells as features, where both were trained on the same entries.
    pub other: Option<Box<Self>>,
    split: SplitRecord,
}

/// A line of the learning curve.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u64,
    /// The training loss, with dropout.
    pub train_loss: f64,
    /// The validation error.
    pub validation_loss: f64,
    /// 1 where it was the best so far.
    pub best: u8,
    /// Wall time.
    pub seconds: f64,
    /// Training samples a second.
    pub samples_per_second: f64,
}

#[derive(Clone, Debug, Deserialize)]
struct SplitRecord {
    counts: Counts,
    train: Vec<String>,
    validation: Vec<String>,
    test: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Counts {
    train_entries: u64,
}

impl TrainedRun {
    /// Reads the records in a run's directory.
    ///
    /// # Errors
    /// When one of them is missing or is not what training writes.
    pub fn read(dir: &Path) -> Result<Self> {
        // Those of `train --features both`.
        let [genes, cells] = [Major::Cells, Major::Genes].map(|samples| dir.join(features_name(samples)));
        if genes.join(CONFIG_FILE).exists() && cells.join(CONFIG_FILE).exists() {
            return Ok(Self { other: Some(Box::new(Self::read_one(&cells)?)), ..Self::read_one(&genes)? });
        }
        Self::read_one(dir)
    }

    fn read_one(dir: &Path) -> Result<Self> {
        let history_path = dir.join(HISTORY_FILE);
        let file = File::open(&history_path).map_err(|e| Error::io(&history_path, "open", e))?;
        let history = csv::Reader::from_reader(file).deserialize().collect::<csv::Result<_>>();
        let history = history.map_err(|e| foreign(&history_path, &e))?;
        Ok(Self {
            dir: dir.to_owned(),
            history,
            config: json(&dir.join(CONFIG_FILE))?,
            other: None,
            split: json(&dir.join(SPLIT_FILE))?,
        })
    }

    /// The run, and the other one of two.
    pub fn all(&self) -> impl Iterator<Item = &Self> + Clone {
        std::iter::once(self).chain(self.other.as_deref())
    }

    /// The best epoch.
    pub fn best(&self) -> Option<&Epoch> {
        self.history.iter().rev().find(|epoch| epoch.best == 1)
    }

    /// How the run's split tells entries apart, or why it cannot be told. The input is the second side of the joins.
    ///
    /// # Errors
    /// When the store was changed.
    pub fn grouping(
        &self,
        input: Matrix<'_>,
        cells: &Join,
        genes: &Join,
    ) -> Result<std::result::Result<Grouping, String>> {
        Ok(match (self.config.validation, self.config.samples) {
            (Validation::Entries { holdout }, _) => {
                let holdout = Holdout { share: holdout, seed: self.config.seed };
                let trained = input.store.summary().tally.nnz - count_hidden(input.store, holdout)?;
                if trained == self.split.counts.train_entries {
                    Ok(Grouping::Entries(holdout))
                } else {
                    Err(format!(
                        "{} trained on {} entries, which are not those of the input: held-out entries cannot be told apart",
                        self.dir.display(),
                        self.split.counts.train_entries
                    ))
                }
            }
            (Validation::Samples { .. }, Major::Cells) => {
                self.parts(&input.source.cells().names, &cells.positions[1]).map(Grouping::Cells)
            }
            (Validation::Samples { .. }, Major::Genes) => {
                self.parts(&input.source.genes().names, &genes.positions[1]).map(Grouping::Genes)
            }
        })
    }

    /// The part that the samples at `positions` were in, by their names.
    fn parts(&self, names: &[String], positions: &[u32]) -> std::result::Result<Vec<Part>, String> {
        let SplitRecord { train, validation, test, .. } = &self.split;
        let listed = [(train, Part::Training), (validation, Part::Validation), (test, Part::Test)];
        let part_of: HashMap<&String, Part> =
            listed.iter().flat_map(|(names, part)| names.iter().map(move |name| (name, *part))).collect();
        let part = |&position: &u32| part_of.get(&names[position as usize]).copied().unwrap_or(Part::None);
        let parts: Vec<Part> = positions.iter().map(part).collect();
        if parts.contains(&Part::Validation) {
            return Ok(parts);
        }
        Err(format!("{} was validated on none of these samples", self.dir.display()))
    }
}

fn count_hidden(store: &Store, holdout: Holdout) -> Result<u64> {
    let parts = parallel::map(tiles(store.n_rows(), ROWS_TASK), |rows| {
        let mut entries = RowEntries::default();
        let mut hidden = 0;
        for row in rows.clone() {
            entries.clear();
            store.read_row(row, &mut entries)?;
            hidden += holdout.count(store.major(), super::join::to_u32(row), &entries.indices);
        }
        store.release(rows);
        Ok(hidden)
    });
    parts.into_iter().sum()
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", e))?;
    serde_json::from_str(&text).map_err(|e| foreign(path, &e))
}

fn foreign(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::input(path, "file", "the record of a training run", error.to_string(), REMEDY)
}
