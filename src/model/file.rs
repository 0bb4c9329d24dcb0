//! Model files: safetensors with weights, feature names and the run's settings.
//!
//! Tensors `layers.<k>.weight` and `layers.<k>.bias` (F32; shapes as [`Architecture::value_shapes`]) and `features`
//! (U8, JSON of [`Features`]); metadata `late_fast` (JSON of [`ModelInfo`]). Version 1; files of a
//! higher version are refused.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::architecture::Architecture;
use super::features::Features;
use super::network::Network;
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::store::{Fingerprint, Map};
use crate::tensors;

const VERSION: u32 = 1;
const METADATA_KEY: &str = "late_fast";
const FEATURES_TENSOR: &str = "features";
/// A model that stays in its file is looked at in pieces of this many bytes or values.
const PIECE: usize = 1 << 24;
const REMEDY: &str = "give a model.safetensors written by late-fast train, or train again";

/// What a model file says about its network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Version of the file format.
    pub format_version: u32,
    /// Version of late-fast that wrote it.
    pub late_fast_version: String,
    /// The settings it was trained with.
    pub config: TrainConfig,
    /// The shape of the network.
    pub architecture: Architecture,
    /// The input it was trained on.
    pub trained_on: String,
    /// What tells that matrix from others; older models do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Fingerprint>,
    /// The epoch whose weights were kept, counted from 1.
    pub best_epoch: u64,
    /// Its validation error.
    pub best_validation_loss: f64,
    /// Fingerprint of the features' names and ids.
    pub features_hash: String,
    /// The model it started from, if any; models of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Provenance>,
}

/// Which model a network started from, and how much of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The model's file, as it was given.
    pub path: String,
    /// A hash of the file, in hexadecimal.
    pub hash: String,
    /// The input it was trained on.
    pub trained_on: String,
    /// Fingerprint of its features' names and ids.
    pub features_hash: String,
    /// How many features the two have in common.
    pub overlap: Overlap,
    /// The validation error before the first step.
    pub validation_loss_at_start: Option<f64>,
}

/// How many features a network and the one it starts from have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// Features that were found by id.
    pub by_id: u64,
    /// Features that were found by name.
    pub by_name: u64,
    /// Features that the reference lacks.
    pub initialised: u64,
    /// Features of the reference that were not found.
    pub unused: u64,
}

impl Overlap {
    /// Features that were found.
    pub fn found(self) -> u64 {
        self.by_id + self.by_name
    }
}

/// A network with what it was trained on.
#[derive(Debug)]
pub struct ModelFile {
    /// Its description.
    pub info: ModelInfo,
    /// Its features.
    pub features: Features,
    /// Its parameters.
    pub network: Network,
}

impl ModelFile {
    /// Describes a freshly trained network.
    pub fn new(
        network: Network,
        features: Features,
        config: TrainConfig,
        (trained_on, input): (String, Fingerprint),
        best_epoch: u64,
        best_validation_loss: f64,
    ) -> Self {
        let info = ModelInfo {
            format_version: VERSION,
            late_fast_version: env!("CARGO_PKG_VERSION").into(),
            config,
            architecture: network.architecture.clone(),
            trained_on,
            input: Some(input),
            best_epoch,
            best_validation_loss,
            features_hash: features.hash(),
            reference: None,
        };
        Self { info, features, network }
    }

    /// Writes the file at `path` (a temporary name: the caller renames).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let broken = |e: &dyn std::fmt::Display| {
            Error::io(path, "write the model", std::io::Error::other(e.to_string()))
        };
        let features = serde_json::to_vec(&self.features).map_err(|e| broken(&e))?;
        let info = serde_json::to_string(&self.info).map_err(|e| broken(&e))?;
        let mut tensors = vec![(
            FEATURES_TENSOR.to_owned(),
            TensorView::new(Dtype::U8, vec![features.len()], &features).map_err(|e| broken(&e))?,
        )];
        let architecture = &self.network.architecture;
        let described = architecture.value_names().zip(architecture.value_shapes());
        for ((name, shape), tensor) in described.zip(self.network.tensors()) {
            let view = TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(&tensor.value));
            tensors.push((name, view.map_err(|e| broken(&e))?));
        }
        tensors::write(path, "write the model", tensors, (METADATA_KEY, info))
    }

    /// Reads and checks a model file; the network's moments are 0.
    ///
    /// # Errors
    /// When it is not a model file of this version or is damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let stored = StoredModel::map(path)?;
        let mut network = Network::zeros(stored.info.architecture.clone())?;
        for (tensor, raw) in network.tensors_mut().zip(stored.values()?) {
            for (value, raw) in tensor.value.iter_mut().zip(raw.values) {
                *value = f32::from_le_bytes(*raw);
            }
            raw.check_finite(path)?;
        }
        Ok(Self { info: stored.info, features: stored.features, network })
    }
}

/// A model file whose parameters are left in the file, mapped: what they take of memory the system can have back.
#[derive(Debug)]
pub struct StoredModel {
    path: PathBuf,
    map: Map,
    /// Its description.
    pub info: ModelInfo,
    /// Its features.
    pub features: Features,
}

/// One array of a stored network.
#[derive(Debug)]
pub(super) struct StoredValues<'a> {
    name: String,
    /// Its values, little-endian and not aligned.
    pub(super) values: &'a [[u8; size_of::<f32>()]],
}

impl StoredValues<'_> {
    fn check_finite(&self, path: &Path) -> Result<()> {
        let finite = |raw: &[u8; 4]| f32::from_le_bytes(*raw).is_finite();
        match self.values.iter().find(|raw| !finite(raw)) {
            None => Ok(()),
            Some(bad) => {
                let found = f32::from_le_bytes(*bad).to_string();
                Err(Error::input(path, &self.name, "finite numbers", found, REMEDY))
            }
        }
    }
}

impl StoredModel {
    /// Opens a model file and checks all of it.
    ///
    /// # Errors
    /// As [`ModelFile::read`].
    pub fn open(path: &Path) -> Result<Self> {
        let stored = Self::map(path)?;
        for StoredValues { name, values } in stored.values()? {
            for values in values.chunks(PIECE) {
                StoredValues { name: name.clone(), values }.check_finite(path)?;
                stored.release();
            }
        }
        Ok(stored)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A hash of the file, in hexadecimal.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for piece in self.map.bytes().chunks(PIECE) {
            hasher.update(piece);
            self.release();
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Gives back the memory that the file took since it was looked at.
    pub(super) fn release(&self) {
        self.map.release(0..self.map.bytes().len());
    }

    /// Opens a model file and checks all but the values of its parameters.
    fn map(path: &Path) -> Result<Self> {
        let map = Map::open(path)?;
        let bytes = map.bytes();
        let invalid =
            |object: &str, expected: &str, found: String| Error::input(path, object, expected, found, REMEDY);
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|e| invalid("file", "a safetensors model", e.to_string()))?;
        let (_, metadata) = SafeTensors::read_metadata(bytes)
            .map_err(|e| invalid("header", "safetensors metadata", e.to_string()))?;
        let info = metadata
            .metadata()
            .as_ref()
            .and_then(|m| m.get(METADATA_KEY))
            .ok_or_else(|| invalid("metadata", "an entry late_fast", "none".into()))?;
        let info: ModelInfo = serde_json::from_str(info)
            .map_err(|e| invalid("metadata late_fast", "a model's description", e.to_string()))?;
        if info.format_version > VERSION {
            let found = format!("version {} (late-fast {})", info.format_version, info.late_fast_version);
            return Err(Error::input(
                path,
                "metadata late_fast",
                format!("format version {VERSION} or lower"),
                found,
                "use a newer late-fast",
            ));
        }
        info.config.validate().map_err(|e| invalid("metadata late_fast", "valid settings", e.to_string()))?;
        let features = tensors
            .tensor(FEATURES_TENSOR)
            .map_err(|e| invalid(FEATURES_TENSOR, "the features' names", e.to_string()))?;
        let features: Features = serde_json::from_slice(features.data())
            .map_err(|e| invalid(FEATURES_TENSOR, "the features' names", e.to_string()))?;
        let whole = features.len() == info.architecture.n_features
            && features.is_consistent()
            && info.architecture.hidden == info.config.hidden
            && features.hash() == info.features_hash;
        if !whole {
            let expected =
                format!("the {} features the model was trained with", info.architecture.n_features);
            return Err(invalid(FEATURES_TENSOR, &expected, format!("{} others", features.len())));
        }
        let stored = Self { path: path.to_owned(), map, info, features };
        // Every shape is compared with the file before memory is taken for it.
        stored.values()?;
        Ok(stored)
    }

    /// Weights and biases, layer by layer as [`Architecture::value_names`].
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub(super) fn values(&self) -> Result<Vec<StoredValues<'_>>> {
        let path = &self.path;
        let invalid = |object: &str, expected: String, found: String| {
            Error::input(path, object, expected, found, REMEDY)
        };
        let tensors = SafeTensors::deserialize(self.map.bytes())
            .map_err(|e| invalid("file", "a safetensors model".into(), e.to_string()))?;
        let architecture = &self.info.architecture;
        let described = architecture.value_names().zip(architecture.value_shapes());
        let array = |(name, shape): (String, Vec<usize>)| {
            let tensor =
                tensors.tensor(&name).map_err(|e| invalid(&name, "a tensor".into(), e.to_string()))?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
                let found = format!("{:?} {:?}", tensor.dtype(), tensor.shape());
                return Err(invalid(&name, format!("F32 {shape:?}"), found));
            }
            Ok(StoredValues { name, values: tensor.data().as_chunks().0 })
        };
        described.map(array).collect()
    }
}
