//! The wide layers as the fused steps take them: parameters with their moments, one row a feature.

use crate::table::size;
use crate::{F32, Storage};

/// Weights and moments of a wide layer; all `n_features` rows of `k` values, stored as `S`.
#[derive(Debug)]
pub struct WideWeightsMut<'a, S: Storage = F32> {
    /// Weights.
    pub w: &'a mut [S::Word],
    /// Adam's first moment.
    pub m: &'a mut [S::Word],
    /// Adam's second moment.
    pub v: &'a mut [S::Word],
    /// The layer's number of the first feature here, which keys stochastic rounding.
    pub first: usize,
}

impl<'a, S: Storage> WideWeightsMut<'a, S> {
    /// The same layer, borrowed for a shorter time.
    #[must_use]
    pub fn reborrow(&mut self) -> WideWeightsMut<'_, S> {
        WideWeightsMut { w: self.w, m: self.m, v: self.v, first: self.first }
    }

    /// The first `n_features` features and the others.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn split_at(self, n_features: usize, k: usize) -> (Self, Self) {
        let at = size(n_features, S::row_words(k));
        let ((w, w_rest), (m, m_rest)) = (self.w.split_at_mut(at), self.m.split_at_mut(at));
        let (v, v_rest) = self.v.split_at_mut(at);
        let rest = WideWeightsMut { w: w_rest, m: m_rest, v: v_rest, first: self.first + n_features };
        (WideWeightsMut { w, m, v, first: self.first }, rest)
    }
}

/// Weights, biases and moments of the decoder's wide layer.
#[derive(Debug)]
pub struct WideLayerMut<'a, S: Storage = F32> {
    /// Weights and their moments.
    pub weights: WideWeightsMut<'a, S>,
    /// Biases, `n_features`.
    pub bias: &'a mut [f32],
    /// Adam's first moment of `bias`.
    pub bias_m: &'a mut [f32],
    /// Adam's second moment of `bias`.
    pub bias_v: &'a mut [f32],
}

impl<'a, S: Storage> WideLayerMut<'a, S> {
    /// The same layer, borrowed for a shorter time.
    #[must_use]
    pub fn reborrow(&mut self) -> WideLayerMut<'_, S> {
        WideLayerMut {
            weights: self.weights.reborrow(),
            bias: self.bias,
            bias_m: self.bias_m,
            bias_v: self.bias_v,
        }
    }

    /// The first `n_features` features and the others.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn split_at(self, n_features: usize, k: usize) -> (Self, Self) {
        let (weights, weights_rest) = self.weights.split_at(n_features, k);
        let (bias, bias_rest) = self.bias.split_at_mut(n_features);
        let (bias_m, bias_m_rest) = self.bias_m.split_at_mut(n_features);
        let (bias_v, bias_v_rest) = self.bias_v.split_at_mut(n_features);
        let rest =
            WideLayerMut { weights: weights_rest, bias: bias_rest, bias_m: bias_m_rest, bias_v: bias_v_rest };
        (WideLayerMut { weights, bias, bias_m, bias_v }, rest)
    }
}
