//! Imputation: every cell and gene through the network, or through the better one of two, streamed into an `.h5ad`, whole
//! or in shards that are merged.

mod axes;
mod choice;
mod combine;
mod file;
mod forward;
mod manifest;
mod merge;
mod output;
mod publish;
mod record;
mod shard;
mod value;

pub use choice::{Chosen, check_pair};
pub use combine::{CombineReport, Models, combine, combining_bytes};
pub use manifest::{Manifest, State, Whole};
pub use merge::{MERGE_BYTES, MergeReport, Shards};
pub use output::{ImputeReport, gathered_features, impute};
pub use record::Record;
pub use shard::Shard;
pub use value::{OutputScale, Policy};

use std::borrow::Cow;

use late_fast_kernels::{F32, Isa};
use serde::{Deserialize, Serialize};

use crate::config::ParamDtype;
use crate::error::{Error, Result};
use crate::io::Source;
use crate::matrix::Major;
use crate::minibatch::{Minibatch, Transform};
use crate::model::{Architecture, ModelFile, OutputLayer, Products, Workspace};
use crate::output::Format;
use file::Layout;
use value::Finish;

/// How to impute.
#[derive(Clone, Debug)]
pub struct ImputeOptions {
    /// Which kernels to use.
    pub isa: Isa,
    /// What becomes of observed entries.
    pub policy: Policy,
    /// Scale of the imputed values.
    pub scale: OutputScale,
    /// Element type of the imputed values.
    pub dtype: OutputDtype,
    /// Genes to write (positions in the input, increasing); all when `None`.
    pub genes: Option<Vec<u32>>,
    /// Precision of the factors of the output's product.
    pub products: OutputProducts,
    /// Samples that go through the network at a time.
    pub batch_size: usize,
    /// Whether the latent code is all that is written.
    pub latent_only: bool,
    /// The shard to write; everything when `None`.
    pub shard: Option<Box<Manifest>>,
    /// The format to write. Only h5ad files have a place for counts and latent codes, and are written in shards.
    pub format: Format,
    /// Whether an existing output may be replaced.
    pub force: bool,
}

/// Precision of the factors of the output's product; sums are 32-bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputProducts {
    /// bf16 if the model was trained with --param-dtype bf16 and the CPU has AMX, else f32
    #[default]
    Auto,
    /// 32-bit
    F32,
    /// 16-bit factors, eight times as fast on AMX; each is rounded by at most 0.2%, sums of them are off by far less
    Bf16,
}

impl ImputeOptions {
    /// The genes to write of `n_genes`.
    fn written_genes(&self, n_genes: usize) -> Cow<'_, [u32]> {
        match &self.genes {
            Some(genes) => genes.into(),
            None => (0..u32::try_from(n_genes).unwrap_or(u32::MAX)).collect(),
        }
    }

    /// Values that will be written: imputed ones, or the latent code where that is all.
    pub fn n_values(&self, source: &dyn Source, model: &ModelFile) -> u64 {
        self.layout(source, model).n_values()
    }

    /// The layout of the shard, or of the whole.
    fn layout(&self, source: &dyn Source, model: &ModelFile) -> Layout {
        let n_genes = self.genes.as_ref().map_or(source.genes().len(), Vec::len);
        Layout {
            shape: self.shard.as_ref().map_or([source.cells().len(), n_genes], |shard| shard.shape()),
            samples: model.info.config.samples,
            n_latent: model.network.architecture.n_latent(),
            n_other_latent: None,
            dtype: (!self.latent_only).then_some(self.dtype),
            batch_size: self.batch_size,
        }
    }

    fn finish(&self, transform: Transform) -> Finish {
        Finish { transform, scale: self.scale, policy: self.policy }
    }

    /// The products that these options mean for a model trained with `param_dtype`.
    ///
    /// # Errors
    /// When 16-bit factors are asked for and the CPU has no AMX.
    pub fn products_for(&self, param_dtype: ParamDtype) -> Result<Products> {
        let trained_so = param_dtype == ParamDtype::Bf16;
        match self.products {
            OutputProducts::Bf16 if self.isa != Isa::Amx => Err(Error::Usage {
                problem: format!("--products bf16 needs AMX, and {} kernels are used", self.isa),
                remedy: "leave --products out: 32-bit products are the fastest here".into(),
            }),
            OutputProducts::Bf16 => Ok(Products::Bf16),
            OutputProducts::Auto if trained_so && self.isa == Isa::Amx => Ok(Products::Bf16),
            OutputProducts::Auto | OutputProducts::F32 => Ok(Products::F32),
        }
    }
}

/// Bytes that imputing takes beside names and the program: weights, batches of `batch_size` samples with up to
/// `batch_nnz` entries, and the values that are being written. `gathered`: rows of the output's weights that are put
/// together (see [`gathered_features`]).
pub fn memory_bytes(
    isa: Isa,
    architecture: &Architecture,
    products: Products,
    batch_size: usize,
    batch_nnz: u64,
    gathered: usize,
) -> u64 {
    let n_features = architecture.n_features;
    let n_tasks = Minibatch::max_tasks(n_features);
    let is_in_place = gathered == 0;
    let n_outputs = if is_in_place { n_features } else { gathered };
    architecture.value_bytes::<F32>()
        + OutputLayer::bytes(architecture.wide(), n_outputs, is_in_place, products)
        + Workspace::<F32>::bytes(isa, architecture, batch_size, n_tasks)
        + Minibatch::bytes(n_features, batch_size, batch_nnz)
        + forward::PANEL_BYTES
}

/// Bytes that the imputed values and latent codes of `shape` (cells, genes) of these networks, each with the axis of its
/// samples, take on disk with `options`.
pub fn output_bytes(shape: [usize; 2], networks: &[(Major, &Architecture)], options: &ImputeOptions) -> u64 {
    let [(samples, first), others @ ..] = networks else { return 0 };
    let layout = Layout {
        shape,
        samples: *samples,
        n_latent: first.n_latent(),
        n_other_latent: others.first().map(|(_, architecture)| architecture.n_latent()),
        dtype: Some(options.dtype),
        batch_size: 1,
    };
    output::disk_bytes(&layout, options.format)
}

/// Element type of the imputed values in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputDtype {
    /// 32-bit, what scanpy and Seurat expect
    #[default]
    F32,
    /// 16-bit: half the file; three decimal digits
    F16,
}

impl OutputDtype {
    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}
