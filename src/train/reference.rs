//! TRANSLATE: the model a run starts from, and how its features meet the run's.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::split::Split;
use crate::config::{MODEL_FILE, TrainConfig};
use crate::error::{Error, Result};
use crate::matrix::{Axis, Major};
use crate::model::{By, LEAST_OVERLAP, Overlap, Provenance, Start, StoredModel, is_enough};
use crate::store::Fingerprint;

/// Adam's learning rate for a network that has learned already, a tenth of that from a random start, as in the
/// original.
const LEARNING_RATE: f32 = 3e-5;

/// A trained model that a run starts from.
#[derive(Debug)]
pub struct Reference {
    model: StoredModel,
    hash: String,
}

/// A reference, and which of its features are those of a run.
#[derive(Debug)]
pub struct Aligned<'a> {
    reference: &'a Reference,
    /// For every feature of the run the reference's, if there is one.
    features: Vec<Option<u32>>,
    overlap: Overlap,
    /// The run's first feature.
    first: String,
}

/// What the plan says of the reference.
#[derive(Clone, Debug, Serialize)]
pub struct ReferencePlan {
    /// The model's file.
    pub path: PathBuf,
    /// The input it was trained on.
    pub trained_on: String,
    /// Its features.
    pub n_features: usize,
    /// How many features are the same.
    #[serde(flatten)]
    pub overlap: Overlap,
    /// Whether everything up to the latent layer stays as it is.
    pub freeze_encoder: bool,
    /// Adam's learning rate, lower by default than from a random start.
    pub learning_rate: f32,
}

/// The model file meant by a run's directory or a file.
pub fn model_path(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(MODEL_FILE) } else { path.to_owned() }
}

impl Reference {
    /// Opens the model at `path`, a run's directory or a model file, and checks all of it.
    ///
    /// # Errors
    /// When it is no model or is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let model = StoredModel::open(&model_path(path))?;
        let hash = model.hash();
        Ok(Self { model, hash })
    }

    /// The model's file.
    pub fn path(&self) -> &Path {
        self.model.path()
    }

    /// A hash of the file, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The number of its features.
    pub fn n_features(&self) -> usize {
        self.model.features.len()
    }

    /// The defaults of a run that starts from it: its widths and scale, and a lower learning rate.
    pub fn defaults(&self) -> TrainConfig {
        let own = &self.model.info.config;
        TrainConfig {
            hidden: own.hidden.clone(),
            transform: own.transform,
            learning_rate: LEARNING_RATE,
            ..TrainConfig::default()
        }
    }

    /// Refuses settings of a run that cannot start from it.
    ///
    /// # Errors
    /// When features, widths or scale are others.
    pub fn check(&self, config: &TrainConfig) -> Result<()> {
        let own = &self.model.info.config;
        let refused = |found: String, remedy: String| {
            Err(Error::Usage { problem: format!("--init {}: {found}", self.path().display()), remedy })
        };
        if own.samples != config.samples {
            return refused(
                format!(
                    "the model has {} as features, this run has {}",
                    own.features_name(),
                    config.features_name()
                ),
                format!("give --features {}, or a model trained the other way", own.features_name()),
            );
        }
        if own.hidden != config.hidden {
            let widths = |hidden: &[usize]| hidden.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
            return refused(
                format!(
                    "the model has hidden layers of {}, --hidden says {}",
                    widths(&own.hidden),
                    widths(&config.hidden)
                ),
                "leave --hidden out: the model's widths are taken".into(),
            );
        }
        if own.transform != config.transform {
            let [of_model, of_run] = [own, config].map(|config| config.transform.formula());
            return refused(
                format!("the model learned {of_model}, --transform says {of_run}"),
                "leave --transform out: the model's scale is taken; or train a reference on that scale"
                    .into(),
            );
        }
        Ok(())
    }

    /// Whether it was trained on the matrix `input` and has seen what a run with `config` holds out there.
    pub fn has_seen(&self, input: &Fingerprint, config: &TrainConfig) -> bool {
        let own = &self.model.info;
        own.input.as_ref() == Some(input)
            && (own.config.validation, own.config.seed) != (config.validation, config.seed)
    }

    /// Finds the features of a run, which are those of `split` along `axis`.
    pub fn align(&self, axis: &Axis, split: &Split) -> Aligned<'_> {
        // The whole axis is looked at: an id counts even where the gene was never observed.
        let found = self.model.features.align(axis);
        let mut overlap = Overlap::default();
        let features = split.features.iter().map(|&position| {
            let found = found[position as usize];
            match found.map(|found| found.by) {
                Some(By::Id) => overlap.by_id += 1,
                Some(By::Name) => overlap.by_name += 1,
                None => overlap.initialised += 1,
            }
            found.map(|found| found.feature)
        });
        let features = features.collect();
        overlap.unused = self.n_features() as u64 - overlap.found();
        let first = split.features.first().map(|&position| axis.names[position as usize].clone());
        Aligned { reference: self, features, overlap, first: first.unwrap_or_default() }
    }
}

impl Aligned<'_> {
    /// Refuses a run on `input` that has hardly a feature in common with the reference, or with `force` one that has
    /// none.
    ///
    /// # Errors
    /// Names both sides' first features.
    pub fn check(&self, input: &Path, force: bool) -> Result<()> {
        let (found, n_features) = (self.overlap.found(), self.features.len());
        if is_enough(found, n_features as u64, force) {
            return Ok(());
        }
        let Reference { model, .. } = self.reference;
        let use_another = match model.info.config.samples {
            Major::Cells => "use a reference of the same species and kind of gene names",
            Major::Genes => {
                "with cells as features a reference serves for the same cells only: use one, or --features genes"
            }
        };
        let otherwise = if found > 0 { "--force" } else { "leave --init out" };
        Err(Error::input(
            input,
            format!("{} (--init)", model.info.config.features_name()),
            format!(
                "at least {:.0}% among those of {}, such as {}",
                100.0 * LEAST_OVERLAP,
                model.path().display(),
                model.features.names.texts.first().map_or("", String::as_str)
            ),
            format!("{found} of {n_features} (the first one here is {})", self.first),
            format!("{use_another}, or {otherwise}"),
        ))
    }

    /// What the network starts from.
    pub fn start(&self, config: &TrainConfig) -> Start<'_> {
        let freeze_encoder = config.freeze_encoder;
        Start { model: &self.reference.model, features: &self.features, freeze_encoder }
    }

    /// For the plan.
    pub fn plan(&self, config: &TrainConfig) -> ReferencePlan {
        let Reference { model, .. } = self.reference;
        ReferencePlan {
            path: model.path().to_owned(),
            trained_on: model.info.trained_on.clone(),
            n_features: model.features.len(),
            overlap: self.overlap,
            freeze_encoder: config.freeze_encoder,
            learning_rate: config.learning_rate,
        }
    }

    /// For the run's records.
    pub fn provenance(&self) -> Provenance {
        let Reference { model, hash } = self.reference;
        Provenance {
            path: model.path().to_string_lossy().into_owned(),
            hash: hash.clone(),
            trained_on: model.info.trained_on.clone(),
            features_hash: model.info.features_hash.clone(),
            overlap: self.overlap,
            validation_loss_at_start: None,
        }
    }
}

impl ReferencePlan {
    /// A line of the plan, for people. `nouns` are what the features are called.
    pub fn describe(&self, nouns: &str) -> String {
        let Overlap { by_id, by_name, initialised, unused } = self.overlap;
        let others = if self.freeze_encoder {
            "not known to the encoder, which stays as it is: nothing is read from them"
        } else {
            "initialised anew"
        };
        format!(
            "starts from {} (trained on {}): {} of {} {nouns} found there, {by_id} by id and {by_name} by name; \
             {initialised} {others}; {unused} of its {} unused; learning rate {}",
            self.path.display(),
            self.trained_on,
            by_id + by_name,
            by_id + by_name + initialised,
            self.n_features,
            self.learning_rate,
        )
    }
}
