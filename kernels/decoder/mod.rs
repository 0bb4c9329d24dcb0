//! The decoder's wide layer in one pass: outputs at the stored entries, loss, gradients and Adam.

use crate::table::{select, size};
use crate::{Adam, CsrView, Isa, Storage, WideLayerMut};

mod generic;
mod loss;
mod reference;
#[cfg(test)]
mod tests;

pub use loss::EntryLoss;

/// Largest hidden width: the reference keeps the gradient of a feature's weights on the stack.
pub const MAX_K: usize = 16_384;

/// Most features of one call: the places in their entries are kept on the stack.
pub const MAX_FEATURES: usize = 256;

/// Values of `d` above which samples are taken in tiles of `TILE` values, so that `d` and `dd` of a tile stay in
/// L2 while the features pass; below, carrying the weights' gradients from tile to tile costs more than it saves.
const UNTILED: usize = 400 * 800;
const TILE: usize = 256 * 800;

/// What a decoder step reads, besides the layer.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, S: Storage> {
    /// The stored entries by feature, `n_features × n_samples`; their values are the targets.
    pub targets: CsrView<'a>,
    /// The same entries by sample, `n_samples × n_features`; the values are not read.
    pub by_sample: CsrView<'a>,
    /// The last hidden activation, `n_samples × k`.
    pub d: &'a [f32],
    /// The same as `n_samples` rows stored as `S`.
    pub d_rows: &'a [S::Word],
}

kernels_by_storage! {
    [decoder_step_f32__reference decoder_step_f32__portable decoder_step_f32__avx2 decoder_step_f32__avx512]
    [decoder_step_bf16__reference decoder_step_bf16__portable decoder_step_bf16__avx2
        decoder_step_bf16__avx512] =
    decoder_step(
        dd: &mut [f32],
        layer: WideLayerMut<'_, S>,
        batch: Batch<'_, S>,
        scratch: &mut [f32],
        k: usize,
        grad_scale: f32,
        adam: &Adam,
        loss: EntryLoss,
        add: bool,
    ) -> f64
}

/// Values of scratch memory that [`decoder_step`] needs.
#[must_use]
pub fn scratch_len(n_samples: usize, n_features: usize, nnz: usize, k: usize) -> usize {
    let carried = if is_tiled(n_samples, k) { size(n_features, k) } else { 0 };
    nnz + carried
}

fn is_tiled(n_samples: usize, k: usize) -> bool {
    n_samples.saturating_mul(k) > UNTILED
}

/// Samples per tile: a matter of `n_samples` and `k` alone, so that what is summed in which order does not depend
/// on how the caller splits the features.
fn tile_of(n_samples: usize, k: usize) -> usize {
    if is_tiled(n_samples, k) { (TILE / k).max(1) } else { n_samples.max(1) }
}

/// For each feature j and each of its stored entries (i, x):
/// `y = relu(bias_j + d_i · w_j)`, `(l, g) = loss(y, x)`, `g *= grad_scale` where `y > 0`, else 0;
/// `dd_i += g w_j`; then `dw_j = Σ g d_i`, `db_j = Σ g` and Adam on `w_j` and `bias_j`, also for features
/// without entries. All entries of a feature see its old weights. Returns `Σ l`, not scaled.
///
/// Entries are taken by sample first: `d_i` and `dd_i` stay in L1 while a row of `w` comes out of L2 once, for the
/// output and for `dd_i`. By feature then, for `dw_j`, which stays in registers until Adam has used it. The rows of
/// `w` and all of `d` should fit into L2: call it per block of about 128 features.
///
/// `dd: n_samples × k`, added to if `add`, else overwritten; `layer: n_features` rows of `k`; `scratch`: [`scratch_len`] values or
/// more, overwritten.
///
/// # Panics
/// If a length is not the one stated, `k` is 0 or above [`MAX_K`], there are more than [`MAX_FEATURES`] features, the two orders of
/// entries are not the same entries, each sorted and without repetition, or this CPU lacks `isa`.
pub fn decoder_step<S: Kernels>(
    isa: Isa,
    dd: &mut [f32],
    layer: WideLayerMut<'_, S>,
    batch: Batch<'_, S>,
    scratch: &mut [f32],
    k: usize,
    grad_scale: f32,
    adam: &Adam,
    loss: EntryLoss,
    add: bool,
) -> f64 {
    let Batch { targets, by_sample, d, d_rows } = batch;
    let (n_features, n_samples) = (targets.n_rows(), targets.n_cols());
    assert!(k > 0 && k <= MAX_K, "k is {k}, outside 1..={MAX_K}");
    assert!(n_features <= MAX_FEATURES, "{n_features} features, more than {MAX_FEATURES}");
    assert_eq!(by_sample.n_rows(), n_samples, "by_sample has other samples than targets");
    assert_eq!(by_sample.n_cols(), n_features, "by_sample has other features than targets");
    assert_eq!(by_sample.nnz(), targets.nnz(), "by_sample has other entries than targets");
    let weights = size(n_features, S::row_words(k));
    assert_eq!(layer.weights.w.len(), weights, "w is not n_features × k");
    assert_eq!(layer.weights.m.len(), weights, "m is not n_features × k");
    assert_eq!(layer.weights.v.len(), weights, "v is not n_features × k");
    assert_eq!(layer.bias.len(), n_features, "bias is not n_features");
    assert_eq!(layer.bias_m.len(), n_features, "bias_m is not n_features");
    assert_eq!(layer.bias_v.len(), n_features, "bias_v is not n_features");
    assert_eq!(d.len(), size(n_samples, k), "d is not n_samples × k");
    assert_eq!(d_rows.len(), size(n_samples, S::row_words(k)), "d_rows is not n_samples × k");
    assert_eq!(dd.len(), d.len(), "dd is not n_samples × k");
    let needed = scratch_len(n_samples, n_features, targets.nnz(), k);
    assert!(scratch.len() >= needed, "scratch has {} values, needs {needed}", scratch.len());
    let kernel = select(S::kernels(), isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths, the views their indices; that the entries
    // are the same is checked as they are used.
    unsafe { kernel(dd, layer, batch, scratch, k, grad_scale, adam, loss, add) }
}
