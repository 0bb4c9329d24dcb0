use std::arch::x86_64::*;
use std::ops::Range;

use super::Start;
use crate::DenseViewMut;
use crate::amx::{BLOCK, TILE, TILE_WORDS, Tiles, load_block, multiply_block, store_block, zero_block};
use crate::paired::{GROUP_WORDS, words};

/// Groups of 32 summed indices in one pass. Two panels of b then take 18 KiB of L1, through which as much of a flows
/// from L2 for every block. In one pass over k = 800 neither stays (1.4 against 1.9 TFLOP/s); 13 groups of both
/// evict each other (1.65); at 7 the sums come and go too often (1.8).
const PASS: usize = 9;
/// Rows of a in flight: as many as take a quarter of an L2 of 2 MiB. More rows read b less often, but with half of
/// L2 they lose their place to the panels and c (1024 rows: 1.4 against 1.6 TFLOP/s).
const STRIP_WORDS: usize = (1 << 19) / 4;

/// # Safety
/// The CPU has AMX; `cols` are columns of c; `a` is `m × words(k)` with the rows of c, `b` the panels of `k × n` with
/// `n` those columns, and a bias has as many values.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn gemm_bf16__amx(
    c: &mut DenseViewMut<'_>,
    cols: Range<usize>,
    a: &[u32],
    b: &[u32],
    k: usize,
    start: Start<'_>,
) {
    let (m, stride, n) = (c.n_rows(), c.n_cols(), cols.len());
    let groups = words(k) / GROUP_WORDS;
    if m == 0 || n == 0 {
        return;
    }
    let c = c.data()[cols.start..].as_mut_ptr();
    let product = Product { c, stride, a: a.as_ptr(), b: b.as_ptr(), rows: m, n, groups, start };
    // SAFETY: the CPU has AMX; the lengths are the caller's promise.
    unsafe { product.run(&mut Tiles::new(), &mut Ahead::nothing()) };
}

/// Memory that is fetched into L2 while tiles multiply.
pub(crate) struct Ahead {
    next: *const u32,
    lines: usize,
    per_step: usize,
}

impl Ahead {
    pub(crate) fn nothing() -> Self {
        Self { next: std::ptr::null(), lines: 0, per_step: 0 }
    }

    /// `words` from `next` on, spread evenly over `steps`; they need not be valid.
    pub(crate) fn new(next: *const u32, words: usize, steps: usize) -> Self {
        let lines = words.div_ceil(GROUP_WORDS);
        Self { next, lines, per_step: lines.div_ceil(steps.max(1)) }
    }

    #[inline(always)]
    pub(crate) fn step(&mut self) {
        for _ in 0..self.per_step.min(self.lines) {
            // SAFETY: prefetching is harmless anywhere; every x86-64 can.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(self.next.cast()) };
            self.next = self.next.wrapping_add(GROUP_WORDS);
        }
        self.lines -= self.per_step.min(self.lines);
    }
}

/// A product `c: rows × n`, its rows `stride` apart, `a: rows` of `groups`, `b` panels of `groups`.
pub(crate) struct Product<'a> {
    pub(crate) c: *mut f32,
    pub(crate) stride: usize,
    pub(crate) a: *const u32,
    pub(crate) b: *const u32,
    pub(crate) rows: usize,
    pub(crate) n: usize,
    pub(crate) groups: usize,
    pub(crate) start: Start<'a>,
}

impl Product<'_> {
    /// # Safety
    /// The CPU has AMX; `a`, `b`, `c` are valid for what the sizes say.
    #[target_feature(enable = "avx512f")]
    pub(crate) unsafe fn run(&self, tiles: &mut Tiles, ahead: &mut Ahead) {
        let words = self.groups * GROUP_WORDS;
        let strip = (STRIP_WORDS / words.max(1)).max(1).next_multiple_of(BLOCK);
        for first in (0..self.rows).step_by(strip) {
            let rows = strip.min(self.rows - first);
            // SAFETY: the strip's rows are rows of the whole.
            unsafe {
                let (c, a) = (self.c.add(first * self.stride), self.a.add(first * words));
                Self { c, a, rows, ..*self }.strip(tiles, ahead);
            }
        }
    }

    /// Two panels at a time, passes over k within, rows innermost.
    ///
    /// # Safety
    /// As of `run`.
    #[target_feature(enable = "avx512f")]
    unsafe fn strip(&self, tiles: &mut Tiles, ahead: &mut Ahead) {
        let n_passes = self.groups.div_ceil(PASS).max(1);
        let pass = self.groups.div_ceil(n_passes).max(1);
        for col in (0..self.n).step_by(BLOCK) {
            for first in (0..self.groups.max(1)).step_by(pass) {
                let last = (first + pass).min(self.groups);
                for row in (0..self.rows).step_by(BLOCK) {
                    let (rows, cols) = (BLOCK.min(self.rows - row), BLOCK.min(self.n - col));
                    tiles.shape(rows, cols);
                    // SAFETY: the block begins within c and the tiles have the shape that is left of it.
                    unsafe {
                        match (rows > TILE, cols > TILE) {
                            (true, true) => self.block::<2, 2>(row, col, first..last, ahead),
                            (true, false) => self.block::<2, 1>(row, col, first..last, ahead),
                            (false, true) => self.block::<1, 2>(row, col, first..last, ahead),
                            (false, false) => self.block::<1, 1>(row, col, first..last, ahead),
                        }
                    }
                }
            }
        }
    }

    /// The groups `passed` of the block at (row, col).
    ///
    /// # Safety
    /// As of `run`; the block is within c and the tiles have its shape.
    #[inline(always)]
    unsafe fn block<const R: usize, const C: usize>(
        &self,
        row: usize,
        col: usize,
        passed: Range<usize>,
        ahead: &mut Ahead,
    ) {
        let Range { start: first, end: last } = passed;
        let Self { stride, n, groups, .. } = *self;
        let a_stride = groups * GROUP_WORDS;
        let b_stride = groups * TILE_WORDS;
        // SAFETY: the offsets are those of the block's rows and panels; prefetching is harmless anywhere.
        unsafe {
            let c = self.c.add(row * stride + col);
            let a = self.a.add(row * a_stride);
            let b = self.b.add(col / TILE * b_stride);
            match self.start {
                Start::Zero if first == 0 => zero_block::<R, C>(),
                Start::ReluBias(bias) if first == 0 => load_block::<R, C>(bias.as_ptr().add(col), 0),
                _ => load_block::<R, C>(c, stride),
            }
            // All blocks of these panels together fetch the next two into L2.
            let has_next = col + BLOCK < n;
            let lines = if has_next { BLOCK.div_ceil(self.rows.div_ceil(BLOCK)).min(8) } else { 0 };
            let next = b.wrapping_add(2 * b_stride + (row / BLOCK * groups + first) * lines * GROUP_WORDS);
            for (at, group) in (first..last).enumerate() {
                multiply_block::<R, C>(
                    a.add(group * GROUP_WORDS),
                    a_stride,
                    b.add(group * TILE_WORDS),
                    b_stride,
                );
                for line in 0..lines {
                    _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add((at * lines + line) * GROUP_WORDS).cast());
                }
                ahead.step();
            }
            store_block::<R, C>(c, stride);
            if last == groups && matches!(self.start, Start::ReluBias(_)) {
                let (rows, cols) = (BLOCK.min(self.rows - row), BLOCK.min(n - col));
                relu_block(c, stride, rows, cols);
            }
        }
    }
}

/// NaN passes: the second operand wins when one is NaN.
///
/// # Safety
/// The CPU has AVX-512F; `c` is valid for `rows` rows of `cols <= 32` values, `stride` apart.
#[target_feature(enable = "avx512f")]
unsafe fn relu_block(c: *mut f32, stride: usize, rows: usize, cols: usize) {
    #[allow(clippy::cast_possible_truncation, reason = "one bit per column of 16")]
    let lanes = [0, TILE].map(|at| !(u32::MAX << cols.saturating_sub(at).min(TILE)) as u16);
    for row in 0..rows {
        for (half, lanes) in lanes.into_iter().enumerate() {
            // SAFETY: the lanes select columns below `cols`.
            unsafe {
                let at = c.wrapping_add(row * stride + half * TILE);
                let x = _mm512_maskz_loadu_ps(lanes, at);
                _mm512_mask_storeu_ps(at, lanes, _mm512_max_ps(_mm512_setzero_ps(), x));
            }
        }
    }
}
