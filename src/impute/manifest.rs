//! What a shard says of itself, so that merging can tell whether shards belong together and are whole.
//!
//! JSON in `uns/late_fast/shard`, its BLAKE3 hash in `uns/late_fast/shard_hash`. Version 1; files of a higher version
//! are refused.

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::record::Record;
use super::shard::Shard;
use super::{ImputeOptions, OutputDtype};
use crate::error::{Error, Result};
use crate::h5ad;
use crate::hdf::{HdfFile, Kind};
use crate::io::Source;
use crate::matrix::Major;
use crate::model::ModelFile;
use crate::store::{Fingerprint, Summary};

const VERSION: u32 = 1;
/// Wider codes and larger matrices are not written by late-fast.
const MOST_LATENT: usize = 1 << 20;
const MOST_VALUES: u128 = 1 << 56;
const GROUP: &str = "uns/late_fast";
const NAME: &str = "shard";
const HASH_NAME: &str = "shard_hash";

/// What a shard is, of what, and the hashes of what was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this description.
    pub format_version: u32,
    /// Which shard of how many.
    pub shard: Shard,
    /// The cells it holds, as positions among all that are written.
    pub cells: Range<usize>,
    /// The genes it holds, as positions among all that are written.
    pub genes: Range<usize>,
    /// What all shards of one matrix share.
    pub whole: Whole,
    /// BLAKE3 hashes of what was written, by object.
    pub contents: Vec<(String, String)>,
}

/// What all shards of one matrix share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Whole {
    /// Cells of the whole output.
    pub n_cells: usize,
    /// Genes of the whole output.
    pub n_genes: usize,
    /// The axis that is cut: that of the model's samples.
    pub samples: Major,
    /// Width of the latent code.
    pub n_latent: usize,
    /// Hash of the model's weights, features and settings.
    pub model: String,
    /// Hash of the input's names and of its counts by cell and by gene.
    pub input: String,
    /// Hash of the positions of the genes that are written.
    pub genes: String,
    /// Element type of the imputed values; none where the latent code alone is written.
    pub dtype: Option<OutputDtype>,
    /// Samples that went through the network at a time.
    pub batch_size: usize,
    /// The imputed values are written, and hashed, in rectangles of this many cells and genes: with cells as samples
    /// row by row of rectangles, else column by column.
    pub tile: [usize; 2],
    /// What stands in `uns/late_fast`: scale, policy, kernels and more.
    pub record: Record,
}

/// Whether a shard has to be made.
#[derive(Debug, PartialEq)]
pub enum State {
    /// Its file is not there.
    Absent,
    /// It is there, made of the same model, input and options.
    Done,
}

impl Manifest {
    /// The manifest of a shard before anything is written.
    pub fn plan(
        source: &dyn Source,
        summary: &Summary,
        model: &ModelFile,
        options: &ImputeOptions,
        shard: Shard,
    ) -> Result<Self> {
        let samples = model.info.config.samples;
        let genes = options.written_genes(source.genes().len());
        let (n_cells, n_genes) = (source.cells().len(), genes.len());
        let len = if samples == Major::Cells { n_cells } else { n_genes };
        let range = shard.range(len, options.batch_size);
        let (cells, shard_genes) = match samples {
            Major::Cells => (range, 0..n_genes),
            Major::Genes => (0..n_cells, range),
        };
        let matrix = Fingerprint::of(source, summary);
        let whole = Whole {
            n_cells,
            n_genes,
            samples,
            n_latent: model.network.architecture.n_latent(),
            model: hash_model(model)?,
            input: hash_bytes(
                format!("{} {} {:?}", matrix.names, matrix.counts, summary.real_dtype).as_bytes(),
            ),
            genes: hash_bytes(bytemuck::cast_slice(&genes)),
            dtype: (!options.latent_only).then_some(options.dtype),
            batch_size: options.batch_size,
            tile: super::forward::tile(samples, options.batch_size),
            record: Record::new(model, options)?,
        };
        let contents = Vec::new();
        Ok(Self { format_version: VERSION, shard, cells, genes: shard_genes, whole, contents })
    }

    /// Whether the shard that this manifest plans stands at `path` already.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn state(&self, path: &Path) -> Result<State> {
        if path.symlink_metadata().is_err() {
            return Ok(State::Absent);
        }
        let Ok(found) = Self::read(path) else { return Err(Error::Exists { path: path.to_owned() }) };
        let planned = Self { contents: found.contents.clone(), ..self.clone() };
        let Some(difference) = planned.difference(&found) else { return Ok(State::Done) };
        Err(Error::input(
            path,
            format!("{GROUP}/{NAME}"),
            "the shard that is to be written",
            format!("another {difference}"),
            "choose another name, or replace it with --force",
        ))
    }

    /// The first thing that differs, for people.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let shares = [
            (self.format_version == other.format_version, "version"),
            (self.shard == other.shard, "shard"),
            ((&self.cells, &self.genes) == (&other.cells, &other.genes), "range"),
        ];
        let own = shares.into_iter().find(|(same, _)| !same).map(|(_, name)| name.to_owned());
        own.or_else(|| self.whole.difference(&other.whole))
    }

    /// Writes the manifest into the file's `uns/late_fast`.
    pub(super) fn write(&self, file: &hdf5::File, path: &Path) -> Result<()> {
        let text = to_json(path, self)?;
        let group = file.group(GROUP).map_err(|e| Error::hdf5(path, GROUP, "open the group", e))?;
        h5ad::write_string_scalar(&group, NAME, &text)?;
        h5ad::write_string_scalar(&group, HASH_NAME, &hash_bytes(text.as_bytes()))
    }

    /// Reads the manifest of the shard at `path`.
    ///
    /// # Errors
    /// When there is none, or it is damaged or of a newer version.
    pub fn read(path: &Path) -> Result<Self> {
        let file = HdfFile::open(path)?;
        let object = format!("{GROUP}/{NAME}");
        let invalid = |expected: &str, found: String, remedy: &str| {
            Err(Error::input(path, &object, expected, found, remedy))
        };
        if file.kind(&object)?.is_none() {
            let remedy = "give files written by late-fast impute --shard";
            return invalid("the manifest of a shard", "nothing".into(), remedy);
        }
        let damaged = "the shard is damaged: remove it and run it again";
        let read = |name: &str| -> Result<Option<String>> {
            let name = format!("{GROUP}/{name}");
            if file.kind(&name)? != Some(Kind::Dataset) {
                return Ok(None);
            }
            Ok(file.strings(&name, &mut Vec::new())?.into_iter().next())
        };
        let text = read(NAME)?.unwrap_or_default();
        let version = serde_json::from_str::<serde_json::Value>(&text).ok();
        let version = version.and_then(|value| value.get("format_version")?.as_u64());
        if let Some(version) = version.filter(|&version| version > u64::from(VERSION)) {
            let expected = format!("format version {VERSION} or lower");
            return invalid(&expected, format!("version {version}"), "use a newer late-fast");
        }
        if read(HASH_NAME)? != Some(hash_bytes(text.as_bytes())) {
            return invalid("a manifest with its own hash", "another hash".into(), damaged);
        }
        match serde_json::from_str(&text) {
            Ok(manifest) => Ok(manifest),
            Err(e) => invalid("the manifest of a shard", e.to_string(), damaged),
        }
    }

    /// The hash of what was written to `object`.
    pub(super) fn content(&self, object: &str) -> Option<&str> {
        self.contents.iter().find(|(name, _)| name == object).map(|(_, hash)| hash.as_str())
    }

    /// The cells and genes it holds, as lengths.
    pub(super) fn shape(&self) -> [usize; 2] {
        [self.cells.len(), self.genes.len()]
    }

    /// Whether the sizes can be those of a matrix: nothing that is computed of them overflows.
    pub(super) fn has_sizes(&self) -> bool {
        let Whole { n_cells, n_genes, n_latent, batch_size, .. } = self.whole;
        let few = |n: usize| u32::try_from(n).is_ok();
        let (cut, shared, n_shared) = match self.whole.samples {
            Major::Cells => (&self.cells, &self.genes, n_genes),
            Major::Genes => (&self.genes, &self.cells, n_cells),
        };
        let values = n_cells as u128 * n_genes.max(n_latent) as u128;
        few(n_cells)
            && few(n_genes)
            && few(batch_size)
            && batch_size > 0
            && n_latent <= MOST_LATENT
            && values <= MOST_VALUES
            && *shared == (0..n_shared)
            && few(cut.end)
            && cut.start <= cut.end
    }

    /// The samples it holds.
    pub(super) fn samples(&self) -> Range<usize> {
        match self.whole.samples {
            Major::Cells => self.cells.clone(),
            Major::Genes => self.genes.clone(),
        }
    }
}

impl Whole {
    /// The first thing that differs, for people.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let shares = [
            (self.model == other.model, "model"),
            (self.input == other.input, "input"),
            (self.genes == other.genes, "list of genes (--genes)"),
            (self.dtype.is_none() == other.dtype.is_none(), "kind of output (--latent-only)"),
            (self.dtype == other.dtype, "element type (--dtype)"),
        ];
        let own = shares.into_iter().find(|(same, _)| !same).map(|(_, name)| name.to_owned());
        let own = own.or_else(|| self.record.difference(&other.record));
        own.or_else(|| (self != other).then(|| "shape".to_owned()))
    }
}

/// `value` as JSON, to be written to `path`.
pub(super) fn to_json(path: &Path, value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::io(path, "write the settings", std::io::Error::other(e.to_string())))
}

pub(super) fn hash_bytes(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

fn hash_model(model: &ModelFile) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let info = to_json(Path::new("model"), &model.info)?;
    hasher.update(info.as_bytes());
    for tensor in model.network.tensors() {
        hasher.update(&(tensor.value.len() as u64).to_le_bytes());
        hasher.update(bytemuck::cast_slice(&tensor.value));
    }
    Ok(hasher.finalize().to_hex().to_string())
}
