//! Sparse or dense: which form each operation of the wide layers takes, by what it would cost.
//!
//! Sparse kernels cost by stored entries, dense products by all of them. Both also pass over the layer's parameters
//! once, so the choice is a matter of the minibatch's density alone. It never depends on the threads or on a clock:
//! the same run takes the same forms, and gives the same bits, every time.

use late_fast_kernels::Isa;
use late_fast_kernels::paired::GROUP;

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

    /// What the sparse and the dense form cost.
    fn costs<S: Precision>(self, isa: Isa) -> [Cost; 2] {
        let cost = |feature, sample, entry| Cost { feature, sample, entry };
        let in_half = S::row_words(GROUP) < GROUP;
        let sparse_entry = |full, half| if in_half { half } else { full };
        let sparse = match self {
            Self::DecoderStep => cost(0.0, 2.5, sparse_entry(62.0, 58.0)),
            Self::EncoderForward => cost(0.0, 0.6, sparse_entry(23.0, 14.0)),
            Self::EncoderStep => cost(370.0, 0.0, sparse_entry(22.0, 15.0)),
        };
        let dense = match (S::dense_products(isa), self) {
            (DenseProducts::Blas, Self::DecoderStep) => cost(300.0, 31.0, 0.0),
            (DenseProducts::Blas, Self::EncoderForward) => cost(0.0, 10.5, 3.0),
            (DenseProducts::Blas, Self::EncoderStep) => cost(500.0, 9.5, 1.0),
            (DenseProducts::Tiles, Self::DecoderStep) => cost(210.0, 3.7, 3.7),
            (DenseProducts::Tiles, Self::EncoderForward) => cost(0.0, 1.3, 2.4),
            (DenseProducts::Tiles, Self::EncoderStep) => cost(370.0, 0.6, 3.0),
        };
        [sparse, dense]
    }
}

/// Nanoseconds of a thread for each feature, each sample of a feature, and each stored entry. Fitted to measurements
/// at 256 and 1024 samples and 800 hidden units on a CPU with AVX-512, AMX and 2 MiB of L2 (`kernels/README.md` has
/// those of bf16, `late-fast kernels --density 0.5` shows those of f32); what both forms of an operation share may be left out of
/// both. Other CPUs are slower in both forms alike, so that the choice holds.
#[derive(Clone, Copy, Debug)]
struct Cost {
    feature: f64,
    sample: f64,
    entry: f64,
}

impl Cost {
    fn of_feature(self, n_samples: usize, density: f64) -> f64 {
        self.feature + n_samples as f64 * (self.sample + self.entry * density)
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

/// Whether `operation` takes its dense form for `n_samples` at this density (stored entries over all).
pub fn is_dense<S: Precision>(
    isa: Isa,
    form: KernelForm,
    operation: Operation,
    n_samples: usize,
    density: f64,
) -> bool {
    match form {
        KernelForm::Sparse => false,
        KernelForm::Dense => true,
        KernelForm::Auto => {
            let [sparse, dense] = operation.costs::<S>(isa).map(|cost| cost.of_feature(n_samples, density));
            dense < sparse
        }
    }
}

/// [`is_dense`] for a minibatch.
pub(super) fn is_dense_for<S: Precision>(
    isa: Isa,
    form: KernelForm,
    operation: Operation,
    batch: &Minibatch,
) -> bool {
    let (n_samples, n_features) = (batch.n_samples(), batch.n_features());
    let density = batch.targets.nnz() as f64 / (n_samples as f64 * n_features as f64);
    is_dense::<S>(isa, form, operation, n_samples, density)
}

#[cfg(test)]
mod tests {
    use super::*;
    use late_fast_kernels::{Bf16, F32};

    #[test]
    fn sparse_data_take_sparse_kernels_and_full_matrices_dense_ones() {
        for isa in Isa::ALL {
            for operation in Operation::ALL {
                for n_samples in [64, 256, 1024] {
                    let auto = |density| {
                        let f32 = is_dense::<F32>(isa, KernelForm::Auto, operation, n_samples, density);
                        [f32, is_dense::<Bf16>(isa, KernelForm::Auto, operation, n_samples, density)]
                    };
                    assert_eq!(auto(0.01), [false; 2], "{isa} {operation:?} {n_samples}");
                    assert_eq!(auto(1.0), [true; 2], "{isa} {operation:?} {n_samples}");
                    // What 10x data have: AMX wins above, BLAS far above.
                    assert_eq!(auto(0.12), [false, isa == Isa::Amx], "{isa} {operation:?} {n_samples}");
                }
            }
        }
    }

    #[test]
    fn a_form_can_be_forced() {
        let forced = |form| is_dense::<F32>(Isa::Portable, form, Operation::DecoderStep, 256, 0.3);
        assert!(forced(KernelForm::Dense) && !forced(KernelForm::Sparse));
    }
}
