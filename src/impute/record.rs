//! `uns/late_fast`: what the values of a file are and where they come from.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::manifest::to_json;
use super::{ImputeOptions, Models};
use crate::error::Result;
use crate::h5ad;
use crate::io::Source;
use crate::model::ModelFile;
use crate::output;

/// The entries of `uns/late_fast`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Names and texts.
    pub texts: Vec<(String, String)>,
    /// The seed of training.
    pub seed: u64,
    /// The epoch whose weights were kept.
    pub best_epoch: u64,
    /// Its validation error.
    pub best_validation_loss: f64,
}

impl Record {
    /// Describes what `model` writes with `options`.
    pub(super) fn new(model: &ModelFile, options: &ImputeOptions) -> Result<Self> {
        let info = &model.info;
        let config = to_json(Path::new("model"), &info.config)?;
        let policy = clap::ValueEnum::to_possible_value(&options.policy);
        let products = options.products_for(info.config.param_dtype)?;
        let values = [
            ("scale", options.finish(info.config.transform).scale_name()),
            ("policy", policy.as_ref().map_or("", |p| p.get_name())),
            ("products", products.name()),
        ];
        let texts = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("transform", info.config.transform.formula()),
            ("features", info.config.features_name()),
            ("kernels", options.isa.name()),
            ("model_features_hash", &info.features_hash),
            ("trained_on", &info.trained_on),
            ("config", &config),
            ("caution", crate::CAUTION),
        ];
        let values = values.into_iter().filter(|_| !options.latent_only);
        Ok(Self {
            texts: texts.into_iter().chain(values).map(|(name, text)| (name.into(), text.into())).collect(),
            seed: info.config.seed,
            best_epoch: info.best_epoch,
            best_validation_loss: info.best_validation_loss,
        })
    }

    /// Describes what two models write with `options`: the record of the one with genes as features, and what is another
    /// for the one with cells as features.
    pub(super) fn of_both(models: Models<'_>, options: &ImputeOptions) -> Result<Self> {
        let mut record = Self::new(models.genes, options)?;
        let other = Self::new(models.cells, options)?;
        for (name, text) in &mut record.texts {
            if name == "features" {
                "both".clone_into(text);
            }
        }
        for (name, text) in other.texts {
            if name != "features" && !record.texts.contains(&(name.clone(), text.clone())) {
                record.texts.push((format!("cells_model_{name}"), text));
            }
        }
        let numbers = [
            ("seed", other.seed.to_string()),
            ("best_epoch", other.best_epoch.to_string()),
            ("best_validation_loss", other.best_validation_loss.to_string()),
        ];
        record.texts.extend(numbers.map(|(name, text)| (format!("cells_model_{name}"), text)));
        Ok(record)
    }

    /// The same in short, as a line for formats that have no place for more.
    pub(super) fn of_output(&self, command: &'static str, source: &dyn Source) -> output::Record {
        let text = |key: &'static str| {
            let found = self.texts.iter().find(|(name, _)| name == key);
            found.map(|(_, text)| (key, text.clone()))
        };
        output::Record {
            command,
            input: source.path().display().to_string(),
            options: ["features", "scale", "policy", "trained_on", "caution"]
                .into_iter()
                .filter_map(text)
                .collect(),
            seed: Some(self.seed),
        }
    }

    pub(super) fn write(&self, file: &hdf5::File) -> Result<()> {
        let record = h5ad::create_dict(&h5ad::create_dict(file, "uns")?, "late_fast")?;
        for (name, text) in &self.texts {
            h5ad::write_string_scalar(&record, name, text)?;
        }
        h5ad::write_number_scalar(&record, "seed", self.seed)?;
        h5ad::write_number_scalar(&record, "best_epoch", self.best_epoch)?;
        h5ad::write_number_scalar(&record, "best_validation_loss", self.best_validation_loss)
    }

    /// The name of the first entry that differs.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let differs = |(name, text): &&(String, String)| {
            other.texts.iter().find(|(key, _)| key == name).is_none_or(|(_, found)| found != text)
        };
        let text = self.texts.iter().find(differs).map(|(name, _)| name.clone());
        text.or_else(|| (self != other).then(|| "record".to_owned()))
    }
}
