use super::scatter::{self, Biases};
use super::update::Update;
use super::{BLOCK, DenseBatch, LINE, output_stride};
use crate::amx::{TILE_WORDS, Tiles};
use crate::decoder::EntryLoss;
use crate::gemm_bf16::amx::{Ahead, Product};
use crate::gemm_bf16::{Start, panel_words};
use crate::lanes::{Avx512, Lanes};
use crate::paired::{GROUP, GROUP_WORDS, words};
use crate::{Adam, Bf16, CsrView, WideLayerMut, WideWeightsMut};

/// # Safety
/// The CPU has AMX; the lengths are those asserted by the safe entry.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn decoder_step_dense__amx(
    dd: &mut [f32],
    layer: WideLayerMut<'_, Bf16>,
    batch: DenseBatch<'_>,
    scratch: &mut [u32],
    k: usize,
    grad_scale: f32,
    adam: &Adam,
    loss: EntryLoss,
) -> f64 {
    let DenseBatch { targets, d } = batch;
    let (n_features, n_samples) = (targets.n_rows(), targets.n_cols());
    let stride = output_stride(n_samples);
    // SAFETY: the CPU has AMX, no other tiles are in use.
    let tiles = &mut unsafe { Tiles::new() };
    let mut rest = layer;
    let mut total = 0.0;
    for first in (0..n_features).step_by(BLOCK) {
        let n = BLOCK.min(n_features - first);
        let block;
        (block, rest) = rest.split_at(n, k);
        let WideLayerMut { weights, bias, bias_m, bias_v } = block;
        let mut scratch = Scratch::new(scratch);
        let outputs = scratch.values(n.next_multiple_of(GROUP) * stride);
        let by_feature = scratch.words(n.next_multiple_of(GROUP) * words(n_samples));
        let by_sample = scratch.words(n_samples * words(n));
        let panels = scratch.words(panel_words(n, GROUP));
        let batch = DenseBatch { targets: targets.rows(first..first + n), d };
        // SAFETY: the block's rows, the panels and the scratch are as long as the sizes say.
        unsafe {
            let product = Product {
                c: outputs.as_mut_ptr(),
                stride,
                a: weights.w.as_ptr(),
                b: d.for_outputs.as_ptr(),
                rows: n,
                n: n_samples,
                groups: k.div_ceil(GROUP),
                start: Start::Zero,
            };
            product.run(tiles, &mut Ahead::nothing());
            let biases = Biases { bias, m: bias_m, v: bias_v };
            let y = (&*outputs, stride);
            total += scatter::gradients(by_feature, by_sample, biases, y, batch, grad_scale, adam, loss);
            add_product(tiles, dd, by_sample, weights.w, panels, [n, k, 0]);
            let update = Update {
                rows: [weights.w.as_mut_ptr(), weights.m.as_mut_ptr(), weights.v.as_mut_ptr()],
                left: by_feature.as_ptr(),
                right: d.for_weights.as_ptr(),
                n_features: n,
                n_samples,
                k,
                adam,
                first: weights.first,
                w_ahead: BLOCK,
            };
            update.run(tiles);
        }
    }
    total
}

/// # Safety
/// The CPU has AMX; the lengths are those asserted by the safe entry.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn encoder_forward_dense__amx(
    out: &mut [f32],
    x: CsrView<'_>,
    w: &[u32],
    scratch: &mut [u32],
    k: usize,
) {
    let n = x.n_cols();
    let mut scratch = Scratch::new(scratch);
    let left = scratch.words(x.n_rows() * words(n));
    let panels = scratch.words(panel_words(n, GROUP));
    scatter::rows(left, x);
    // SAFETY: the CPU has AMX, no other tiles are in use; the lengths are those stated.
    unsafe { add_product(&mut Tiles::new(), out, left, w, panels, [n, k, w.len()]) };
}

/// # Safety
/// The CPU has AMX; the lengths are those asserted by the safe entry.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn encoder_step_dense__amx(
    layer: WideWeightsMut<'_, Bf16>,
    xt: CsrView<'_>,
    dh: &[u32],
    scratch: &mut [u32],
    k: usize,
    adam: &Adam,
) {
    let (n_features, n_samples) = (xt.n_rows(), xt.n_cols());
    // SAFETY: the CPU has AMX, no other tiles are in use.
    let tiles = &mut unsafe { Tiles::new() };
    let mut rest = layer;
    for first in (0..n_features).step_by(BLOCK) {
        let n = BLOCK.min(n_features - first);
        let block;
        (block, rest) = rest.split_at(n, k);
        let left = Scratch::new(scratch).words(n.next_multiple_of(GROUP) * words(n_samples));
        scatter::rows(left, xt.rows(first..first + n));
        let update = Update {
            rows: [block.w.as_mut_ptr(), block.m.as_mut_ptr(), block.v.as_mut_ptr()],
            left: left.as_ptr(),
            right: dh.as_ptr(),
            n_features: n,
            n_samples,
            k,
            adam,
            first: block.first,
            w_ahead: GROUP,
        };
        // SAFETY: the block's rows and the panels are as long as the sizes say.
        unsafe { update.run(tiles) };
    }
}

/// `out += left · w`, where `left` is paired rows of `n` features and `w` their weights; `words` of memory after `w`
/// are fetched meanwhile. The panels of 32 units at a time are packed, into L1, and multiplied.
///
/// # Safety
/// The CPU has AMX; `out: rows × k`, `left: rows × words(n)`, `w: n × words(k)`, `panels: 2 × 16 × words(n)`.
#[target_feature(enable = "avx512f")]
unsafe fn add_product(
    tiles: &mut Tiles,
    out: &mut [f32],
    left: &[u32],
    w: &[u32],
    panels: &mut [u32],
    [n, k, ahead_words]: [usize; 3],
) {
    let (panels, groups, rows) = (panels.as_mut_ptr(), n.div_ceil(GROUP), out.len() / k);
    let steps = k.div_ceil(GROUP) * groups * rows.div_ceil(GROUP);
    let ahead = &mut Ahead::new(w.as_ptr_range().end, ahead_words, steps);
    for unit in (0..k).step_by(GROUP) {
        // SAFETY: the lengths are the caller's promise; the panels are written before they are read.
        unsafe {
            pack_units(panels, w.as_ptr().add(unit / GROUP * GROUP_WORDS), n, words(k));
            let product = Product {
                c: out.as_mut_ptr().add(unit),
                stride: k,
                a: left.as_ptr(),
                b: panels,
                rows,
                n: GROUP.min(k - unit),
                groups,
                start: Start::Add,
            };
            product.run(tiles, ahead);
        }
    }
}

/// The two panels `[2][words(n)][16]` of 32 units of weights as a right factor, from a group of each of their rows,
/// which are `stride` words apart: a word of the panels pairs features `f` and `f + 16`, where one of a row pairs
/// units `r` and `r + 16`.
///
/// # Safety
/// The CPU has AVX-512F; `out` is valid for the panels, `w` for a group of `n` rows.
#[target_feature(enable = "avx512f")]
unsafe fn pack_units(out: *mut u32, w: *const u32, n: usize, stride: usize) {
    let second = words(n) * GROUP_WORDS;
    // SAFETY: only rows below `n` are read.
    unsafe {
        let (low, high) = (Avx512::words(0xffff), Avx512::words(0xffff_0000));
        for first in (0..n).step_by(GROUP) {
            let out = out.add(first / GROUP * TILE_WORDS);
            for feature in first..first + GROUP_WORDS {
                let (mut a, mut b) = (Avx512::words(0), Avx512::words(0));
                if feature < n {
                    a = Avx512::word_load(w.add(feature * stride));
                }
                if feature + GROUP_WORDS < n {
                    b = Avx512::word_load(w.add((feature + GROUP_WORDS) * stride));
                }
                let out = out.add((feature - first) * GROUP_WORDS);
                let units = Avx512::word_or(Avx512::word_and(a, low), Avx512::word_shift_left(b, 16));
                Avx512::word_store(units, out);
                let units = Avx512::word_or(Avx512::word_shift_right(a, 16), Avx512::word_and(b, high));
                Avx512::word_store(units, out.add(second));
            }
        }
    }
}

/// What is left of the scratch memory, from a cache line on.
struct Scratch<'a>(&'a mut [u32]);

impl<'a> Scratch<'a> {
    fn new(words: &'a mut [u32]) -> Self {
        let start = words.as_ptr().align_offset(4 * LINE).min(LINE);
        Self(&mut words[start..])
    }

    fn words(&mut self, len: usize) -> &'a mut [u32] {
        let (taken, rest) = std::mem::take(&mut self.0).split_at_mut(len);
        self.0 = rest;
        taken
    }

    fn values(&mut self, len: usize) -> &'a mut [f32] {
        let taken = self.words(len);
        // SAFETY: f32 has the size and alignment of u32, and both take any bits.
        unsafe { std::slice::from_raw_parts_mut(taken.as_mut_ptr().cast(), len) }
    }
}
