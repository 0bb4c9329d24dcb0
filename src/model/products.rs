//! The dense products of the hidden layers.

use late_fast_kernels::gemm::gemm;
use late_fast_kernels::gemm_bf16::{gemm_bf16, scratch_words};
use late_fast_kernels::{DenseView, DenseViewMut, Isa};

/// In which precision factors are multiplied; sums are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// OpenBLAS.
    F32,
    /// Factors rounded to bf16, on AMX.
    Bf16,
}

impl Products {
    /// For records.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Words of scratch memory that [`Products::multiply`] needs.
    pub(super) fn scratch_words(self, m: usize, n: usize, k: usize) -> usize {
        match self {
            Self::F32 => 0,
            Self::Bf16 => scratch_words(m, n, k),
        }
    }

    /// `c = a b`.
    pub(super) fn multiply(
        self,
        isa: Isa,
        c: DenseViewMut<'_>,
        a: DenseView<'_>,
        b: DenseView<'_>,
        scratch: &mut [u32],
    ) {
        match self {
            Self::F32 => gemm(isa, c, a, b, 0.0),
            Self::Bf16 => gemm_bf16(isa, c, a, b, 0.0, scratch),
        }
    }
}
