//! Backward pass of the encoder's wide layer, with Adam while the gradient is in registers.

use crate::table::{select, size};
use crate::{Adam, CsrView, Isa, Storage, WideWeightsMut};

mod generic;
mod reference;
#[cfg(test)]
mod tests;

kernels_by_storage! {
    [encoder_step_f32__reference encoder_step_f32__portable encoder_step_f32__avx2 encoder_step_f32__avx512]
    [encoder_step_bf16__reference encoder_step_bf16__portable encoder_step_bf16__avx2
        encoder_step_bf16__avx512] =
    encoder_step(
        layer: WideWeightsMut<'_, S>,
        xt: CsrView<'_>,
        dh: &[<S as Storage>::Word],
        k: usize,
        adam: &Adam,
    )
}

/// `dw_j = Σ_i x_ij dh_i`, then Adam on `w_j`; features without entries are updated too.
///
/// `layer: n_features` rows of `k`; `xt: n_features × n_samples`, where entries of value 0 (dropped inputs) cost
/// nothing; `dh: n_samples` rows of `k` values, stored as `S`.
///
/// # Panics
/// If a length is not the one stated, `k` is 0, or this CPU lacks `isa`.
pub fn encoder_step<S: Kernels>(
    isa: Isa,
    layer: WideWeightsMut<'_, S>,
    xt: CsrView<'_>,
    dh: &[S::Word],
    k: usize,
    adam: &Adam,
) {
    assert!(k > 0, "k is 0");
    let weights = size(xt.n_rows(), S::row_words(k));
    assert_eq!(layer.w.len(), weights, "w is not n_features × k");
    assert_eq!(layer.m.len(), weights, "m is not n_features × k");
    assert_eq!(layer.v.len(), weights, "v is not n_features × k");
    assert_eq!(dh.len(), size(xt.n_cols(), S::row_words(k)), "dh is not n_samples × k");
    let kernel = select(S::kernels(), isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths, the view its indices.
    unsafe { kernel(layer, xt, dh, k, adam) }
}
