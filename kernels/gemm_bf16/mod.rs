//! Dense products with factors rounded to bf16 and f32 sums, on AMX: eight to ten times as fast as OpenBLAS's
//! sgemm once the factors are packed, five times where packing counts.
//!
//! Rounding a factor is off by up to 2⁻⁹ of each value, so a sum of `k` products of either sign is off by about
//! `0.001 √k` of a typical product; the sums themselves are as good as sgemm's.
//!
//! Both factors are packed first. The left one becomes [paired rows](crate::paired); the right one panels
//! `[n/16][words(k)][16]` of u32: column `j` is in panel `j / 16`, and word `g*16 + r` of its 16 columns holds rows
//! `32g + r` (low half) and `32g + r + 16` (high half) of the matrix. Padding is zero. [`gemm_bf16`] packs into
//! scratch; a factor that is used again is packed once and multiplied by [`gemm_packed`] or [`relu_affine`].
//!
//! Let packed factors start on a 64-byte boundary: elsewhere each row of a tile straddles two cache lines.

use std::ops::Range;

use crate::paired::words;
use crate::table::{select, size};
use crate::{DenseView, DenseViewMut, Isa, Kernel};

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
mod pack;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

pub use pack::{
    LEFT_KERNELS as PACK_LEFT_KERNELS, Pack, RIGHT_KERNELS as PACK_RIGHT_KERNELS, pack_left, pack_right,
};

/// Columns of a panel.
pub const PANEL: usize = 16;

/// Signature shared by the kernels of the product; the range is that of the columns of c.
pub type Run = unsafe fn(&mut DenseViewMut<'_>, Range<usize>, &[u32], &[u32], usize, Start<'_>);

/// Every kernel of [`gemm_packed`], [`gemm_bf16`] and [`relu_affine`]. Without AMX nothing is gained over sgemm:
/// for every other [`Isa`] the plain loops run.
pub static KERNELS: &[Kernel<Run>] = &[
    Kernel::new(Isa::Reference, "gemm_bf16__reference", reference::gemm_bf16__reference),
    #[cfg(target_arch = "x86_64")]
    Kernel::new(Isa::Amx, "gemm_bf16__amx", amx::gemm_bf16__amx),
];

/// What the product is added to, and what becomes of the sum.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// `c = a · b`; c is not read.
    Zero,
    /// `c = a · b + c`.
    Add,
    /// `c = relu(a · b + bias)`, one bias per column; c is not read.
    ReluBias(&'a [f32]),
}

/// Words of the panels of a `k × n` right factor.
///
/// # Panics
/// If they overflow.
#[must_use]
pub fn panel_words(k: usize, n: usize) -> usize {
    size(n.div_ceil(PANEL) * PANEL, words(k))
}

/// Words that [`gemm_bf16`] wants as scratch: the left factor packed, some panels, and room to align them.
///
/// # Panics
/// If they overflow.
#[must_use]
pub fn scratch_words(m: usize, n: usize, k: usize) -> usize {
    size(m, words(k)) + panel_words(k, n.min(CHUNK)) + LINE
}

/// Columns that [`gemm_bf16`] packs at a time: enough to read the rows of the right factor in stretches, few enough
/// to find the panels in L2 again.
const CHUNK: usize = 8 * PANEL;
/// Words of a cache line.
const LINE: usize = 16;

/// `c = a · b + beta · c` with factors rounded to bf16; `c` is not read if `beta` is 0.
///
/// `c: m × n`, `a: m × k`, `b: k × n`, `scratch: scratch_words(m, n, k)` or more, contents irrelevant before and
/// after. Only [`Isa::Amx`] is fast: see [`KERNELS`].
///
/// # Panics
/// If a size does not match, the scratch is too small, or this CPU lacks `isa`.
pub fn gemm_bf16(
    isa: Isa,
    mut c: DenseViewMut<'_>,
    a: DenseView<'_>,
    b: DenseView<'_>,
    beta: f32,
    scratch: &mut [u32],
) {
    let (m, n, k) = (c.n_rows(), c.n_cols(), a.n_cols());
    assert_eq!(a.n_rows(), m, "a and c differ in rows");
    assert_eq!(b.n_cols(), n, "b and c differ in columns");
    assert_eq!(b.n_rows(), k, "a's columns are not b's rows");
    assert!(scratch.len() >= scratch_words(m, n, k), "scratch is smaller than scratch_words(m, n, k)");
    let start = scratch.as_ptr().align_offset(4 * LINE).min(LINE);
    let (left, right) = scratch[start..].split_at_mut(m * words(k));
    pack_left(isa, left, a);
    if beta != 0.0 && beta != 1.0 {
        c.data().iter_mut().for_each(|c| *c *= beta);
    }
    let start = if beta == 0.0 { Start::Zero } else { Start::Add };
    for first in (0..n).step_by(CHUNK) {
        let cols = first..n.min(first + CHUNK);
        let right = &mut right[..panel_words(k, cols.len())];
        pack_right(isa, right, b.columns(cols.clone()));
        multiply(isa, &mut c, cols, left, right, k, start);
    }
}

/// `c = a · b` of packed factors, or `c += a · b` if `add`; else `c` is not read.
///
/// `c: m × n`, `a: m × words(k)` by [`pack_left`] or [`pack_rows`](crate::paired::pack_rows), `b: panel_words(k, n)`
/// by [`pack_right`].
///
/// # Panics
/// If a length is not the one stated, or this CPU lacks `isa`.
pub fn gemm_packed(isa: Isa, mut c: DenseViewMut<'_>, a: &[u32], b: &[u32], k: usize, add: bool) {
    let cols = 0..c.n_cols();
    multiply(isa, &mut c, cols, a, b, k, if add { Start::Add } else { Start::Zero });
}

/// `y = relu(d · w + bias)` of packed factors; NaN passes the relu.
///
/// `y: n_samples × n_features`, `d: n_samples × words(k)` by [`pack_left`] or
/// [`pack_rows`](crate::paired::pack_rows), `w: panel_words(k, n_features)` by [`pack_right`] of the `k × n_features`
/// matrix (of feature-major weights that is the transposed view), `bias: n_features`.
///
/// # Panics
/// If a length is not the one stated, or this CPU lacks `isa`.
pub fn relu_affine(isa: Isa, mut y: DenseViewMut<'_>, d: &[u32], w: &[u32], bias: &[f32], k: usize) {
    assert_eq!(bias.len(), y.n_cols(), "bias is not one value per feature");
    multiply(isa, &mut y, 0..bias.len(), d, w, k, Start::ReluBias(bias));
}

fn multiply(
    isa: Isa,
    c: &mut DenseViewMut<'_>,
    cols: Range<usize>,
    a: &[u32],
    b: &[u32],
    k: usize,
    start: Start<'_>,
) {
    assert!(cols.start <= cols.end && cols.end <= c.n_cols(), "columns {cols:?} of {}", c.n_cols());
    assert_eq!(a.len(), size(c.n_rows(), words(k)), "a is not m × words(k)");
    assert_eq!(b.len(), panel_words(k, cols.len()), "b is not panel_words(k, n)");
    let kernel = select(KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above and the callers' the lengths.
    unsafe { kernel(c, cols, a, b, k, start) }
}
