//! The wide layers' operations as dense products of bf16 on AMX, for [`Bf16`] storage.
//!
//! The loss is on stored entries only, but tiles compute all `n_samples × n_features` outputs so fast that this wins
//! above a density of a few percent: see the README for where. What is sparse is scattered into dense panels of
//! bf16; the weights are factors as they are stored; sums are f32.
//!
//! Compared to the sparse forms, what is rounded to bf16 besides is the left or right factor that they keep in f32:
//! the inputs `x`, the entries' gradients `g` (not for the bias) and `d` in the outputs.
//!
//! Without AMX nothing is gained: for every other [`Isa`] the plain loops run.

use crate::decoder::{EntryLoss, MAX_K};
use crate::gemm_bf16::{pack_right, panel_words};
use crate::paired::{GROUP, words};
use crate::table::{select, size};
use crate::{Adam, Bf16, CsrView, DenseView, Isa, Kernel, WideLayerMut, WideWeightsMut};

#[cfg(target_arch = "x86_64")]
mod amx;
mod reference;
#[cfg(target_arch = "x86_64")]
mod scatter;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod update;

/// Features whose outputs are computed before any of their weights change. Their panels of weights, outputs and
/// gradients and the samples' panels share L2.
const BLOCK: usize = 256;
/// Words of a cache line.
const LINE: usize = 16;

/// What a dense decoder step reads, besides the layer.
#[derive(Clone, Copy, Debug)]
pub struct DenseBatch<'a> {
    /// The stored entries by feature, `n_features × n_samples`, each row sorted and without repetition; their values
    /// are the targets.
    pub targets: CsrView<'a>,
    /// The last hidden activation, by [`pack_hidden`].
    pub d: Hidden<'a>,
}

/// The two panels of `d: n_samples × k`.
#[derive(Clone, Copy, Debug)]
pub struct Hidden<'a> {
    /// [`hidden_words`]`[0]` of them: `k × n_samples`, the right factor of the outputs.
    pub for_outputs: &'a [u32],
    /// [`hidden_words`]`[1]` of them: `n_samples × k`, the right factor of the weights' gradients.
    pub for_weights: &'a [u32],
}

/// Signature shared by the kernels of [`decoder_step_dense`].
pub type DecoderStep = unsafe fn(
    &mut [f32],
    WideLayerMut<'_, Bf16>,
    DenseBatch<'_>,
    &mut [u32],
    usize,
    f32,
    &Adam,
    EntryLoss,
) -> f64;
/// Signature shared by the kernels of [`encoder_forward_dense`].
pub type EncoderForward = unsafe fn(&mut [f32], CsrView<'_>, &[u32], &mut [u32], usize);
/// Signature shared by the kernels of [`encoder_step_dense`].
pub type EncoderStep = unsafe fn(WideWeightsMut<'_, Bf16>, CsrView<'_>, &[u32], &mut [u32], usize, &Adam);

/// Every kernel of [`decoder_step_dense`].
pub static DECODER_STEP_KERNELS: &[Kernel<DecoderStep>] = &[
    Kernel::new(Isa::Reference, "decoder_step_dense__reference", reference::decoder_step_dense),
    #[cfg(target_arch = "x86_64")]
    Kernel::new(Isa::Amx, "decoder_step_dense__amx", amx::decoder_step_dense__amx),
];
/// Every kernel of [`encoder_forward_dense`].
pub static ENCODER_FORWARD_KERNELS: &[Kernel<EncoderForward>] = &[
    Kernel::new(Isa::Reference, "encoder_forward_dense__reference", reference::encoder_forward_dense),
    #[cfg(target_arch = "x86_64")]
    Kernel::new(Isa::Amx, "encoder_forward_dense__amx", amx::encoder_forward_dense__amx),
];
/// Every kernel of [`encoder_step_dense`].
pub static ENCODER_STEP_KERNELS: &[Kernel<EncoderStep>] = &[
    Kernel::new(Isa::Reference, "encoder_step_dense__reference", reference::encoder_step_dense),
    #[cfg(target_arch = "x86_64")]
    Kernel::new(Isa::Amx, "encoder_step_dense__amx", amx::encoder_step_dense__amx),
];

/// Words of the two panels of [`Hidden`].
///
/// # Panics
/// If they overflow.
#[must_use]
pub fn hidden_words(n_samples: usize, k: usize) -> [usize; 2] {
    [panel_words(k, n_samples), panel_words(n_samples, k)]
}

/// The panels of [`Hidden`]: `for_outputs` and `for_weights` as long as [`hidden_words`] says, overwritten;
/// `d: n_samples × k`.
///
/// # Panics
/// If a length is not the one stated, or this CPU lacks `isa`.
pub fn pack_hidden(
    isa: Isa,
    for_outputs: &mut [u32],
    for_weights: &mut [u32],
    d: &[f32],
    n_samples: usize,
    k: usize,
) {
    let d = DenseView::new(d, n_samples, k);
    pack_right(isa, for_outputs, d.transposed());
    pack_right(isa, for_weights, d);
}

/// Words of scratch memory that the steps over `n_features` features need; those of the largest block of features
/// serve for all.
///
/// # Panics
/// If they overflow.
#[must_use]
pub fn scratch_words(n_samples: usize, n_features: usize) -> usize {
    let rows = n_features.min(BLOCK).next_multiple_of(GROUP);
    let outputs = size(rows, output_stride(n_samples));
    let by_feature = size(rows, words(n_samples));
    let by_sample = size(n_samples, words(n_features));
    outputs + by_feature + by_sample + panel_words(n_features, GROUP) + LINE
}

/// Distance of the rows of outputs, one a feature: whole cache lines, an odd number of them, so that the rows of a
/// tile differ in their places in L1.
fn output_stride(n_samples: usize) -> usize {
    (n_samples.div_ceil(LINE) | 1) * LINE
}

/// [`decoder_step`](crate::decoder::decoder_step) with dense products: for each feature j and each of its stored
/// entries (i, x): `y = relu(bias_j + d_i · w_j)`, `(l, g) = loss(y, x)`, `g *= grad_scale` where `y > 0`, else 0;
/// `dd_i += g w_j`; then `dw_j = Σ g d_i`, `db_j = Σ g` and Adam on `w_j` and `bias_j`, also for features without
/// entries. All entries of a feature see its old weights. Returns `Σ l`, not scaled.
///
/// `d` is rounded to bf16 everywhere, `g` in `dd` and `dw`. The time hardly depends on the number of entries.
///
/// `dd: n_samples × k`, accumulated into; `layer: n_features` rows of `k`; `scratch`: [`scratch_words`] or more,
/// contents irrelevant. Call it with 256 features, or several times as many: fewer read `d` and `dd` too often.
/// What follows `layer` in memory is fetched meanwhile: let the next call be for it.
///
/// # Panics
/// If a length is not the one stated, `k` is 0 or above [`MAX_K`], a row of entries is not sorted or repeats one, or this CPU
/// lacks `isa`.
pub fn decoder_step_dense(
    isa: Isa,
    dd: &mut [f32],
    layer: WideLayerMut<'_, Bf16>,
    batch: DenseBatch<'_>,
    scratch: &mut [u32],
    k: usize,
    grad_scale: f32,
    adam: &Adam,
    loss: EntryLoss,
) -> f64 {
    let (n_features, n_samples) = (batch.targets.n_rows(), batch.targets.n_cols());
    assert!(k > 0 && k <= MAX_K, "k is {k}, outside 1..={MAX_K}");
    assert_layer(&layer.weights, n_features, k);
    assert_eq!(layer.bias.len(), n_features, "bias is not n_features");
    assert_eq!(layer.bias_m.len(), n_features, "bias_m is not n_features");
    assert_eq!(layer.bias_v.len(), n_features, "bias_v is not n_features");
    let [for_outputs, for_weights] = hidden_words(n_samples, k);
    assert_eq!(batch.d.for_outputs.len(), for_outputs, "d.for_outputs is not panels of k × n_samples");
    assert_eq!(batch.d.for_weights.len(), for_weights, "d.for_weights is not panels of n_samples × k");
    assert_eq!(dd.len(), size(n_samples, k), "dd is not n_samples × k");
    assert_increasing(batch.targets);
    assert_scratch(scratch, n_samples, n_features);
    let kernel = select(DECODER_STEP_KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths, the view its indices.
    unsafe { kernel(dd, layer, batch, scratch, k, grad_scale, adam, loss) }
}

/// `out += x · w`, [`spmm`](crate::spmm::spmm) as a dense product of `x` rounded to bf16.
///
/// `out: n_samples × k`, accumulated into; `x: n_samples × n_features`, each row sorted and without repetition, values 0 are
/// dropped inputs; `w: n_features` rows of `k`; `scratch`: [`scratch_words`] or more. Call it per block of 256
/// features.
///
/// # Panics
/// If a length is not the one stated, `k` is 0, a row of `x` is not sorted or repeats a feature, or this CPU lacks
/// `isa`.
pub fn encoder_forward_dense(
    isa: Isa,
    out: &mut [f32],
    x: CsrView<'_>,
    w: &[u32],
    scratch: &mut [u32],
    k: usize,
) {
    let (n_samples, n_features) = (x.n_rows(), x.n_cols());
    assert!(k > 0, "k is 0");
    assert_eq!(out.len(), size(n_samples, k), "out is not n_samples × k");
    assert_eq!(w.len(), size(n_features, words(k)), "w is not n_features × words(k)");
    assert_increasing(x);
    assert_scratch(scratch, n_samples, n_features);
    let kernel = select(ENCODER_FORWARD_KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths, the view its indices.
    unsafe { kernel(out, x, w, scratch, k) }
}

/// `dw_j = Σ_i x_ij dh_i`, then Adam on `w_j`: [`encoder_step`](crate::encoder::encoder_step) as a dense product of
/// `x` rounded to bf16. Features without entries are updated too.
///
/// `layer: n_features` rows of `k`; `xt: n_features × n_samples`, each row sorted and without repetition, values 0
/// are dropped inputs; `dh`: the panels of `n_samples × k` by [`pack_right`]; `scratch`: [`scratch_words`] or more.
///
/// # Panics
/// If a length is not the one stated, `k` is 0, a row of `xt` is not sorted or repeats a sample, or this CPU lacks
/// `isa`.
pub fn encoder_step_dense(
    isa: Isa,
    layer: WideWeightsMut<'_, Bf16>,
    xt: CsrView<'_>,
    dh: &[u32],
    scratch: &mut [u32],
    k: usize,
    adam: &Adam,
) {
    let (n_features, n_samples) = (xt.n_rows(), xt.n_cols());
    assert!(k > 0, "k is 0");
    assert_layer(&layer, n_features, k);
    assert_eq!(dh.len(), panel_words(n_samples, k), "dh is not panels of n_samples × k");
    assert_increasing(xt);
    assert_scratch(scratch, n_samples, n_features);
    let kernel = select(ENCODER_STEP_KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths, the view its indices.
    unsafe { kernel(layer, xt, dh, scratch, k, adam) }
}

fn assert_layer(layer: &WideWeightsMut<'_, Bf16>, n_features: usize, k: usize) {
    let weights = size(n_features, words(k));
    assert_eq!(layer.w.len(), weights, "w is not n_features × words(k)");
    assert_eq!(layer.m.len(), weights, "m is not n_features × words(k)");
    assert_eq!(layer.v.len(), weights, "v is not n_features × words(k)");
}

fn assert_scratch(scratch: &[u32], n_samples: usize, n_features: usize) {
    let needed = scratch_words(n_samples, n_features);
    assert!(scratch.len() >= needed, "scratch has {} words, needs {needed}", scratch.len());
}

/// A dense panel has one place per index. Looking at all of a row, whatever is found, vectorises.
fn assert_increasing(x: CsrView<'_>) {
    for row in 0..x.n_rows() {
        let pairs = x.row(row).0.windows(2);
        let sorted = pairs.fold(true, |sorted, pair| sorted & (pair[0] < pair[1]));
        assert!(sorted, "row {row} of the entries is not sorted or repeats an index");
    }
}
