use std::ops::Range;

use super::{PANEL, Start};
use crate::paired::{GROUP, GROUP_WORDS, bf16_round, to_f32, words};
use crate::{DenseView, DenseViewMut};

pub(super) fn gemm_bf16__reference(
    c: &mut DenseViewMut<'_>,
    cols: Range<usize>,
    a: &[u32],
    b: &[u32],
    k: usize,
    start: Start<'_>,
) {
    let stride = c.n_cols();
    for row in 0..c.n_rows() {
        for col in 0..cols.len() {
            let terms = (0..k).map(|k_at| {
                let (word, high) = place(k_at);
                f64::from(half(a[row * words(k) + word], high)) * f64::from(at(b, k, k_at, col))
            });
            let c = &mut c.data()[row * stride + cols.start + col];
            let sum = terms.sum::<f64>()
                + match start {
                    Start::Zero => 0.0,
                    Start::Add => f64::from(*c),
                    Start::ReluBias(bias) => f64::from(bias[col]),
                };
            let relu = matches!(start, Start::ReluBias(_));
            #[expect(clippy::cast_possible_truncation, reason = "the result is f32")]
            {
                *c = if relu && sum < 0.0 { 0.0 } else { sum as f32 };
            }
        }
    }
}

pub(super) fn pack_left_bf16__reference(out: &mut [u32], a: DenseView<'_>) {
    out.fill(0);
    let row_words = words(a.n_cols());
    for row in 0..a.n_rows() {
        for col in 0..a.n_cols() {
            let (word, high) = place(col);
            out[row * row_words + word] |= placed(a.at(row, col), high);
        }
    }
}

pub(super) fn pack_right_bf16__reference(out: &mut [u32], b: DenseView<'_>) {
    out.fill(0);
    let col_words = words(b.n_rows());
    for row in 0..b.n_rows() {
        for col in 0..b.n_cols() {
            let (word, high) = place(row);
            out[(col / PANEL * col_words + word) * PANEL + col % PANEL] |= placed(b.at(row, col), high);
        }
    }
}

/// The element (row, col) of the panels of a right factor of `n_rows`.
pub(crate) fn at(panels: &[u32], n_rows: usize, row: usize, col: usize) -> f32 {
    let (word, high) = place(row);
    half(panels[(col / PANEL * words(n_rows) + word) * PANEL + col % PANEL], high)
}

/// The word of a summed index, and whether it is in the high half.
fn place(k_at: usize) -> (usize, bool) {
    let (group, at) = (k_at / GROUP, k_at % GROUP);
    (group * GROUP_WORDS + at % GROUP_WORDS, at >= GROUP_WORDS)
}

fn half(word: u32, high: bool) -> f32 {
    let half = if high { word >> 16 } else { word & 0xffff };
    #[expect(clippy::cast_possible_truncation, reason = "16 bits are left")]
    to_f32(half as u16)
}

fn placed(x: f32, high: bool) -> u32 {
    u32::from(bf16_round(x)) << if high { 16 } else { 0 }
}
