//! The decoder's wide layer in one pass: outputs at the stored entries, loss, gradients and Adam.

use crate::table::{select, size};
use crate::{Adam, CsrView, Isa};

mod generic;
mod loss;
mod reference;
#[cfg(test)]
mod tests;

pub use loss::EntryLoss;

/// Largest hidden width: the gradient of one feature's weights lives on the stack.
pub const MAX_K: usize = 16_384;

/// Weights, biases and moments of the decoder's wide layer.
#[derive(Debug)]
pub struct WideLayerMut<'a> {
    /// Weights, `n_features × k`.
    pub w: &'a mut [f32],
    /// Adam's first moment of `w`.
    pub m: &'a mut [f32],
    /// Adam's second moment of `w`.
    pub v: &'a mut [f32],
    /// Biases, `n_features`.
    pub bias: &'a mut [f32],
    /// Adam's first moment of `bias`.
    pub bias_m: &'a mut [f32],
    /// Adam's second moment of `bias`.
    pub bias_v: &'a mut [f32],
}

impl WideLayerMut<'_> {
    /// The same layer, borrowed for a shorter time.
    #[must_use]
    pub fn reborrow(&mut self) -> WideLayerMut<'_> {
        let (w, m, v) = (&mut *self.w, &mut *self.m, &mut *self.v);
        WideLayerMut { w, m, v, bias: self.bias, bias_m: self.bias_m, bias_v: self.bias_v }
    }
}

impl<'a> WideLayerMut<'a> {
    /// The first `n_features` features and the others.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn split_at(self, n_features: usize, k: usize) -> (WideLayerMut<'a>, WideLayerMut<'a>) {
        let at = size(n_features, k);
        let ((w, w_rest), (m, m_rest)) = (self.w.split_at_mut(at), self.m.split_at_mut(at));
        let (v, v_rest) = self.v.split_at_mut(at);
        let (bias, bias_rest) = self.bias.split_at_mut(n_features);
        let (bias_m, bias_m_rest) = self.bias_m.split_at_mut(n_features);
        let (bias_v, bias_v_rest) = self.bias_v.split_at_mut(n_features);
        let rest = WideLayerMut {
            w: w_rest,
            m: m_rest,
            v: v_rest,
            bias: bias_rest,
            bias_m: bias_m_rest,
            bias_v: bias_v_rest,
        };
        (WideLayerMut { w, m, v, bias, bias_m, bias_v }, rest)
    }
}

kernels! {
    decoder_step_f32__reference decoder_step_f32__portable decoder_step_f32__avx2 decoder_step_f32__avx512 =
    decoder_step(
        dd: &mut [f32],
        layer: WideLayerMut<'_>,
        xt: CsrView<'_>,
        d: &[f32],
        k: usize,
        grad_scale: f32,
        adam: &Adam,
        loss: EntryLoss,
    ) -> f64
}

/// For each feature j and each of its stored entries (i, x):
/// `y = relu(bias_j + d_i · w_j)`, `(l, g) = loss(y, x)`, `g *= grad_scale` where `y > 0`, else 0;
/// `dd_i += g w_j`; then `dw_j = Σ g d_i`, `db_j = Σ g` and Adam on `w_j` and `bias_j`, also for features
/// without entries. All entries of a feature see its old weights. Returns `Σ l`, not scaled.
///
/// `dd: n_samples × k`, accumulated into; `layer: n_features × k`; `xt: n_features × n_samples`, its values the
/// targets; `d: n_samples × k`.
///
/// # Panics
/// If a length is not the one stated, `k` is 0 or above [`MAX_K`], or this CPU lacks `isa`.
pub fn decoder_step(
    isa: Isa,
    dd: &mut [f32],
    layer: WideLayerMut<'_>,
    xt: CsrView<'_>,
    d: &[f32],
    k: usize,
    grad_scale: f32,
    adam: &Adam,
    loss: EntryLoss,
) -> f64 {
    assert!(k > 0 && k <= MAX_K, "k is {k}, outside 1..={MAX_K}");
    let n_features = xt.n_rows();
    let weights = size(n_features, k);
    assert_eq!(layer.w.len(), weights, "w is not n_features × k");
    assert_eq!(layer.m.len(), weights, "m is not n_features × k");
    assert_eq!(layer.v.len(), weights, "v is not n_features × k");
    assert_eq!(layer.bias.len(), n_features, "bias is not n_features");
    assert_eq!(layer.bias_m.len(), n_features, "bias_m is not n_features");
    assert_eq!(layer.bias_v.len(), n_features, "bias_v is not n_features");
    assert_eq!(d.len(), size(xt.n_cols(), k), "d is not n_samples × k");
    assert_eq!(dd.len(), d.len(), "dd is not n_samples × k");
    let kernel = select(KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths, the view its indices.
    unsafe { kernel(dd, layer, xt, d, k, grad_scale, adam, loss) }
}
