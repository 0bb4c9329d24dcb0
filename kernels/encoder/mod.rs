//! Backward pass of the encoder's wide layer, with Adam while the gradient is in registers.

use crate::table::{select, size};
use crate::{Adam, CsrView, Isa};

mod generic;
mod reference;
#[cfg(test)]
mod tests;

/// Weights and moments of the encoder's wide layer; all `n_features × k`.
#[derive(Debug)]
pub struct WideWeightsMut<'a> {
    /// Weights.
    pub w: &'a mut [f32],
    /// Adam's first moment.
    pub m: &'a mut [f32],
    /// Adam's second moment.
    pub v: &'a mut [f32],
}

impl WideWeightsMut<'_> {
    /// The same layer, borrowed for a shorter time.
    #[must_use]
    pub fn reborrow(&mut self) -> WideWeightsMut<'_> {
        WideWeightsMut { w: self.w, m: self.m, v: self.v }
    }
}

impl<'a> WideWeightsMut<'a> {
    /// The first `n_features` features and the others.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn split_at(self, n_features: usize, k: usize) -> (WideWeightsMut<'a>, WideWeightsMut<'a>) {
        let at = size(n_features, k);
        let ((w, w_rest), (m, m_rest)) = (self.w.split_at_mut(at), self.m.split_at_mut(at));
        let (v, v_rest) = self.v.split_at_mut(at);
        (WideWeightsMut { w, m, v }, WideWeightsMut { w: w_rest, m: m_rest, v: v_rest })
    }
}

kernels! {
    encoder_step_f32__reference encoder_step_f32__portable encoder_step_f32__avx2 encoder_step_f32__avx512 =
    encoder_step(layer: WideWeightsMut<'_>, xt: CsrView<'_>, dh: &[f32], k: usize, adam: &Adam)
}

/// `dw_j = Σ_i x_ij dh_i`, then Adam on `w_j`; features without entries are updated too.
///
/// `layer: n_features × k`; `xt: n_features × n_samples`, where entries of value 0 (dropped inputs) cost
/// nothing; `dh: n_samples × k`.
///
/// # Panics
/// If a length is not the one stated, `k` is 0, or this CPU lacks `isa`.
pub fn encoder_step(isa: Isa, layer: WideWeightsMut<'_>, xt: CsrView<'_>, dh: &[f32], k: usize, adam: &Adam) {
    assert!(k > 0, "k is 0");
    let weights = size(xt.n_rows(), k);
    assert_eq!(layer.w.len(), weights, "w is not n_features × k");
    assert_eq!(layer.m.len(), weights, "m is not n_features × k");
    assert_eq!(layer.v.len(), weights, "v is not n_features × k");
    assert_eq!(dh.len(), size(xt.n_cols(), k), "dh is not n_samples × k");
    let kernel = select(KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths, the view its indices.
    unsafe { kernel(layer, xt, dh, k, adam) }
}
