//! Sparse values into dense rows of bf16.

use super::DenseBatch;
use crate::decoder::EntryLoss;
use crate::paired::{GROUP, GROUP_WORDS, bf16_round, words};
use crate::{Adam, CsrView};

/// The rows of `x` as paired rows of `words(n_cols)`; `out`, which may have more of them, is overwritten.
pub(super) fn rows(out: &mut [u32], x: CsrView<'_>) {
    let row_words = words(x.n_cols());
    out[x.n_rows() * row_words..].fill(0);
    for row in 0..x.n_rows() {
        let (cols, values) = x.row(row);
        let out = &mut out[row * row_words..][..row_words];
        out.fill(0);
        for (&col, &value) in cols.iter().zip(values) {
            put(out, col as usize, u32::from(bf16_round(value)));
        }
    }
}

/// Sets value `at`, which was 0, of a paired row.
#[inline(always)]
fn put(row: &mut [u32], at: usize, bf16: u32) {
    let (group, value) = (at / GROUP, at % GROUP);
    row[group * GROUP_WORDS + value % GROUP_WORDS] |= bf16 << (value / GROUP_WORDS * 16);
}

/// The biases of some features and their moments.
pub(super) struct Biases<'a> {
    pub(super) bias: &'a mut [f32],
    pub(super) m: &'a mut [f32],
    pub(super) v: &'a mut [f32],
}

/// From the outputs without bias, one row of `stride` a feature, the gradients of the stored entries: by feature,
/// rows of `words(n_samples)`, and by sample, rows of `words(n_features)`; both are overwritten. Then Adam on the
/// biases. Returns the sum of losses.
pub(super) fn gradients(
    by_feature: &mut [u32],
    by_sample: &mut [u32],
    biases: Biases<'_>,
    outputs: (&[f32], usize),
    batch: DenseBatch<'_>,
    grad_scale: f32,
    adam: &Adam,
    loss: EntryLoss,
) -> f64 {
    by_sample.fill(0);
    let (n_features, n_samples) = (batch.targets.n_rows(), batch.targets.n_cols());
    let (feature_words, sample_words) = (words(n_samples), words(n_features));
    by_feature[n_features * feature_words..].fill(0);
    let mut total = 0.0;
    for feature in 0..n_features {
        let (samples, targets) = batch.targets.row(feature);
        let y = &outputs.0[feature * outputs.1..][..n_samples];
        let row = &mut by_feature[feature * feature_words..][..feature_words];
        row.fill(0);
        let bias = biases.bias[feature];
        let mut db = 0.0;
        for (&sample, &target) in samples.iter().zip(targets) {
            let z = bias + y[sample as usize];
            let (l, slope) = loss.at(if z < 0.0 { 0.0 } else { z }, target);
            let g = if z > 0.0 { slope * grad_scale } else { 0.0 };
            total += l;
            db += f64::from(g);
            let g = u32::from(bf16_round(g));
            put(row, sample as usize, g);
            put(&mut by_sample[sample as usize * sample_words..][..sample_words], feature, g);
        }
        #[allow(clippy::cast_possible_truncation, reason = "the state is f32")]
        let db = db as f32;
        adam.update(&mut biases.bias[feature], &mut biases.m[feature], &mut biases.v[feature], db);
    }
    total
}
