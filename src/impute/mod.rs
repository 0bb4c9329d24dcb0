//! Imputation: every cell and gene through the network, streamed into an `.h5ad`.

mod forward;
mod output;
mod value;

pub use output::{ImputeReport, impute};
pub use value::{OutputScale, Policy};

use late_fast_kernels::{F32, Isa};

use crate::config::ParamDtype;
use crate::error::{Error, Result};
use crate::minibatch::Minibatch;
use crate::model::{Architecture, OutputLayer, Products, Workspace};

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
/// `batch_nnz` entries, and the values that are being written.
pub fn memory_bytes(
    isa: Isa,
    architecture: &Architecture,
    products: Products,
    batch_size: usize,
    batch_nnz: u64,
) -> u64 {
    let n_features = architecture.n_features;
    let n_tasks = Minibatch::max_tasks(n_features);
    architecture.value_bytes::<F32>()
        + OutputLayer::bytes(architecture, products)
        + Workspace::<F32>::bytes(isa, architecture, batch_size, n_tasks)
        + Minibatch::bytes(n_features, batch_size, batch_nnz)
        + forward::PANEL_BYTES
}

/// Element type of the imputed values in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
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
