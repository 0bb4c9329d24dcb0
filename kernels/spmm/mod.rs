//! `out = x · w`, the encoder's forward pass.

use crate::table::{select, size};
use crate::{CsrView, Isa};

pub(crate) mod generic;
mod reference;
#[cfg(test)]
mod tests;

kernels_by_storage! {
    [spmm_f32__reference spmm_f32__portable spmm_f32__avx2 spmm_f32__avx512]
    [spmm_bf16__reference spmm_bf16__portable spmm_bf16__avx2 spmm_bf16__avx512] =
    spmm(out: &mut [f32], x: CsrView<'_>, w: &[<S as crate::Storage>::Word], k: usize, add: bool)
}

/// `out = x · w`, or `out += x · w` to `add` (else `out` is not read). `out: x.n_rows × k`; `w: x.n_cols` rows of `k`
/// values, stored as `S`.
///
/// One load per multiply-add: the rows of `w` that a row of `x` names should stay in L2, so call it per block of
/// about 128 features (measured at k = 800: 12.7 ms in blocks, 41.6 in one go).
///
/// Entries of value 0, which input dropout leaves, cost next to nothing: all kernels but the reference skip them,
/// so the result has the bits of a matrix without them, and a NaN in their row of `w` goes unseen.
///
/// # Panics
/// If a length is not the one stated, `k` is 0, or this CPU lacks `isa`.
pub fn spmm<S: Kernels>(isa: Isa, out: &mut [f32], x: CsrView<'_>, w: &[S::Word], k: usize, add: bool) {
    assert!(k > 0, "k is 0");
    assert_eq!(out.len(), size(x.n_rows(), k), "out is not n_rows × k");
    assert_eq!(w.len(), size(x.n_cols(), S::row_words(k)), "w is not n_cols × k");
    let kernel = select(S::kernels(), isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths, the view its indices.
    unsafe { kernel(out, x, w, k, add) }
}
