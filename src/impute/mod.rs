//! Imputation: every cell and gene through the network, streamed into an `.h5ad`.

mod forward;
mod output;
mod value;

pub use forward::PANEL_BYTES;
pub use output::{ImputeReport, impute};
pub use value::{OutputScale, Policy};

use late_fast_kernels::Isa;

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
    /// Samples that go through the network at a time.
    pub batch_size: usize,
    /// Whether an existing output may be replaced.
    pub force: bool,
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
