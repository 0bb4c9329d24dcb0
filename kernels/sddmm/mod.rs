//! The decoder's outputs at the stored entries, for validation.

use crate::table::{select, size};
use crate::{CsrView, Isa};

mod generic;
mod reference;
#[cfg(test)]
mod tests;

pub(crate) use generic::dots;

kernels_by_storage! {
    [sddmm_f32__reference sddmm_f32__portable sddmm_f32__avx2 sddmm_f32__avx512]
    [sddmm_bf16__reference sddmm_bf16__portable sddmm_bf16__avx2 sddmm_bf16__avx512] =
    sddmm(y: &mut [f32], xt: CsrView<'_>, d: &[f32], w: &[<S as crate::Storage>::Word], bias: &[f32], k: usize)
}

/// `y = relu(bias_j + d_i · w_j)` for each stored entry (j, i) of `xt`, in view order; its values are not read.
///
/// `y: xt.nnz`, overwritten; `xt: n_features × n_samples`; `d: n_samples × k`; `w: n_features` rows of
/// `k` values, stored as `S`; `bias: n_features`.
///
/// # Panics
/// If a length is not the one stated, `k` is 0, or this CPU lacks `isa`.
pub fn sddmm<S: Kernels>(
    isa: Isa,
    y: &mut [f32],
    xt: CsrView<'_>,
    d: &[f32],
    w: &[S::Word],
    bias: &[f32],
    k: usize,
) {
    assert!(k > 0, "k is 0");
    assert_eq!(y.len(), xt.nnz(), "y has not one value per stored entry");
    assert_eq!(d.len(), size(xt.n_cols(), k), "d is not n_samples × k");
    assert_eq!(w.len(), size(xt.n_rows(), S::row_words(k)), "w is not n_features × k");
    assert_eq!(bias.len(), xt.n_rows(), "bias is not n_features");
    let kernel = select(S::kernels(), isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths, the view its indices.
    unsafe { kernel(y, xt, d, w, bias, k) }
}
