//! The directory a training run leaves behind: model, learning curve, settings and split.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::run::{EpochRecord, Trained};
use super::split::{Split, SplitCounts};
use crate::atomic::{Pending, prepare};
use crate::config::{CONFIG_FILE, HISTORY_FILE, MODEL_FILE, SPLIT_FILE, TrainConfig, Validation};
use crate::error::{Error, Result};
use crate::matrix::{Axis, Major};
use crate::model::{Features, ModelFile, Provenance};
use crate::store::Fingerprint;

/// What the results are written from.
#[derive(Debug)]
pub struct Results<'a> {
    /// The input.
    pub input: &'a Path,
    /// Its cells.
    pub cells: &'a Axis,
    /// Its genes.
    pub genes: &'a Axis,
    /// What tells the matrix from others.
    pub fingerprint: &'a Fingerprint,
    /// The settings.
    pub config: &'a TrainConfig,
    /// The split.
    pub split: &'a Split,
    /// Entries on either side of it.
    pub counts: SplitCounts,
    /// The model that training started from, if any.
    pub reference: Option<Provenance>,
}

/// A training run whose results are on disk.
#[derive(Debug)]
pub struct Finished {
    /// The model.
    pub model: ModelFile,
    /// One record for every epoch.
    pub history: Vec<EpochRecord>,
    /// Whether patience ran out before the last epoch.
    pub stopped_early: bool,
    /// What ended training after the best epoch, if something went wrong.
    pub failure: Option<Error>,
}

/// The settings, and what training started from.
#[derive(Serialize)]
struct ConfigRecord<'a> {
    #[serde(flatten)]
    config: &'a TrainConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: &'a Option<Provenance>,
}

/// With the input and this, the split can be made again.
#[derive(Serialize)]
struct SplitRecord<'a> {
    rule: Validation,
    seed: u64,
    counts: SplitCounts,
    /// Names of the samples of each part; all samples train when entries are held out.
    train: Vec<&'a str>,
    validation: Vec<&'a str>,
    test: Vec<&'a str>,
}

impl Results<'_> {
    /// Writes everything under temporary names into the directory and only then renames, the model last. A
    /// failure to write leaves earlier results as they were; only a crash between two of the renames could leave
    /// new records beside an old model (which carries settings of its own).
    ///
    /// # Errors
    /// When the directory cannot be written, or holds a model and `force` is off.
    pub fn write(&self, dir: &Path, trained: Trained, force: bool) -> Result<Finished> {
        let Trained { network, history, best_epoch, best_validation_loss, stopped_early, failure, .. } =
            trained;
        let validation_loss_at_start = trained.loss_at_start;
        let reference = self.reference.clone();
        let reference = reference.map(|reference| Provenance { validation_loss_at_start, ..reference });
        let features = match self.config.samples {
            Major::Cells => Features::of_axis(self.genes, &self.split.features),
            Major::Genes => Features::of_axis(self.cells, &self.split.features),
        };
        let mut model = ModelFile::new(
            network,
            features,
            self.config.clone(),
            (
                self.input.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                self.fingerprint.clone(),
            ),
            best_epoch,
            best_validation_loss,
        );
        model.info.reference = reference;
        // Without a model beside them, other files are of a run that did not finish: those are replaced.
        let text = |name: &str, text: String| -> Result<Pending> {
            let write = |path: &Path| std::fs::write(path, text).map_err(|e| Error::io(path, "write", e));
            prepare(&dir.join(name), true, write).map(|(pending, ())| pending)
        };
        let pending = [
            text(
                CONFIG_FILE,
                json(&ConfigRecord { config: self.config, reference: &model.info.reference })?,
            )?,
            text(SPLIT_FILE, json(&self.split_record())?)?,
            text(HISTORY_FILE, history_csv(&history))?,
            prepare(&dir.join(MODEL_FILE), force, |path| model.write(path))?.0,
        ];
        pending.into_iter().try_for_each(Pending::publish)?;
        Ok(Finished { model, history, stopped_early, failure })
    }

    fn split_record(&self) -> SplitRecord<'_> {
        let axis = match self.config.samples {
            Major::Cells => self.cells,
            Major::Genes => self.genes,
        };
        let by_samples = self.split.holdout.is_none();
        let names = |samples: &[u32]| -> Vec<&str> {
            let listed = if by_samples { samples } else { &[] };
            listed.iter().map(|&sample| axis.names[sample as usize].as_str()).collect()
        };
        SplitRecord {
            rule: self.config.validation,
            seed: self.config.seed,
            counts: self.counts,
            train: names(&self.split.train),
            validation: names(&self.split.validation),
            test: names(&self.split.test),
        }
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|e| Error::Training {
        problem: format!("cannot write the settings as JSON: {e}"),
        remedy: "report this as a bug".into(),
    })
}

/// The learning curve.
fn history_csv(records: &[EpochRecord]) -> String {
    let mut text = String::from("epoch,train_loss,validation_loss,best,seconds,samples_per_second\n");
    for r in records {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{},{:.9},{:.9},{},{:.4},{:.1}",
            r.epoch,
            r.train_loss,
            r.validation_loss,
            u8::from(r.best),
            r.seconds,
            r.samples_per_second
        );
    }
    text
}
