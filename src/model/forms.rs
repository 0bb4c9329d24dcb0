//! Sparse or dense: which form each operation of the wide layers takes, by what it would cost.
//!
//! Sparse kernels cost by stored entries, dense products by all of them. Both also pass over the layer's parameters
//! once, so the choice is a matter of the minibatch's density alone. It never depends on the threads or on a clock:
//! the same run takes the same forms, and gives the same bits, every time.

use late_fast_kernels::Isa;

use super::precision::Precision;
use crate::config::KernelForm;
use crate::minibatch::Minibatch;

/// An operation of the wide layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The encoder's forward product.
    EncoderForward,
    /// The encoder's weight gradient and Adam.
    EncoderStep,
    /// The decoder's outputs, loss, gradients and Adam.
    DecoderStep,
}

impl Operation {
    /// All of them, in the order of a step.
    pub const ALL: [Self; 3] = [Self::EncoderForward, Self::DecoderStep, Self::EncoderStep];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::EncoderForward => "encoder forward",
            Self::EncoderStep => "encoder backward with Adam",
            Self::DecoderStep => "decoder with Adam",
        }
    }

    /// The density from which the dense form is cheaper, measured on two threads of a 2 MiB-L2 AVX-512 CPU at
    /// 256 x 20,000 x 800 (`cargo bench --bench dense`, `--bench step`). OpenBLAS needs 4 ns for an entry of the
    /// output and the sparse kernels 11 to 38 for a stored one.
    fn break_even(self, products: DenseProducts) -> f64 {
        match (products, self) {
            (DenseProducts::Blas, Self::EncoderForward) => 0.25,
            (DenseProducts::Blas, Self::DecoderStep | Self::EncoderStep) => 0.4,
            (DenseProducts::Tiles, Self::EncoderForward) => 0.03,
            (DenseProducts::Tiles, Self::DecoderStep) => 0.03,
            (DenseProducts::Tiles, Self::EncoderStep) => 0.05,
        }
    }
}

/// What dense products run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenseProducts {
    /// OpenBLAS, in f32.
    Blas,
    /// AMX, with factors in bf16.
    Tiles,
}

/// Whether `operation` takes its dense form at this density (stored entries over all).
pub fn is_dense<S: Precision>(isa: Isa, form: KernelForm, operation: Operation, density: f64) -> bool {
    match form {
        KernelForm::Sparse => false,
        KernelForm::Dense => true,
        KernelForm::Auto => density >= operation.break_even(S::dense_products(isa)),
    }
}

/// Stored entries over all.
pub(super) fn density(batch: &Minibatch) -> f64 {
    batch.targets.nnz() as f64 / (batch.n_samples() as f64 * batch.n_features() as f64)
}
