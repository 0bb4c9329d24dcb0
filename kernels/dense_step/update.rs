//! Gradients of weights on tiles, and Adam on them while the tiles multiply for the next ones.

use std::arch::x86_64::*;

use crate::adam::AdamLanes;
use crate::amx::{BLOCK, TILE, TILE_WORDS, Tiles, load_factors, multiply_tile, store_block, zero_block};
use crate::lanes::Avx512;
use crate::paired::{GROUP, GROUP_WORDS, words};
use crate::storage::{F32, Rounding, Rows};
use crate::{Adam, Bf16};

/// Words of the right factor beyond which it does not stay in L2 beside the rest.
const LARGE_WORDS: usize = 1 << 18;

/// Gradients of a group of 32 features' weights.
#[repr(C, align(64))]
struct Sums([f32; BLOCK * BLOCK]);

/// A step of Adam on some features with `dw = left · right`.
pub(super) struct Update<'a> {
    /// Weights and moments, rows of `words(k)`.
    pub(super) rows: [*mut u32; 3],
    /// Whole blocks of 32 features, rows of `words(n_samples)`.
    pub(super) left: *const u32,
    /// The panels of `n_samples × k`.
    pub(super) right: *const u32,
    pub(super) n_features: usize,
    pub(super) n_samples: usize,
    pub(super) k: usize,
    pub(super) adam: &'a Adam,
    /// The layer's number of the first feature.
    pub(super) first: usize,
    /// How many features ahead weights are fetched into L2; moments are by 32.
    pub(super) w_ahead: usize,
}

/// Gradients that wait for Adam: those of group `group` of rows `row..row + rows`.
#[derive(Clone, Copy)]
struct Pending {
    sums: *const f32,
    row: usize,
    rows: usize,
    group: usize,
}

impl Update<'_> {
    /// # Safety
    /// The CPU has AMX; the pointers are valid for what the sizes say.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn run(&self, tiles: &mut Tiles) {
        let mut sums = [const { Sums([0.0; BLOCK * BLOCK]) }; 2];
        let mut turn = 0;
        let mut pending = Pending { sums: std::ptr::null(), row: 0, rows: 0, group: 0 };
        // SAFETY: the blocks and groups are within the layer; what is pending was stored to the other sums.
        unsafe {
            let lanes = AdamLanes::<Avx512>::new(self.adam);
            let (blocks, groups) = (self.n_features.div_ceil(BLOCK), self.k.div_ceil(GROUP));
            let by_group = self.right_is_large();
            for at in 0..blocks * groups {
                let (block, group) =
                    if by_group { (at % blocks, at / blocks) } else { (at / groups, at % groups) };
                let row = block * BLOCK;
                let sums = sums[turn].0.as_mut_ptr();
                if self.k - group * GROUP > TILE {
                    tiles.shape(BLOCK, BLOCK);
                    self.block::<2>(sums, row, group, pending, &lanes);
                } else {
                    tiles.shape(BLOCK, TILE);
                    self.block::<1>(sums, row, group, pending, &lanes);
                }
                pending = Pending { sums, row, rows: BLOCK.min(self.n_features - row), group };
                turn = 1 - turn;
            }
            self.adam(pending, 0, BLOCK, &lanes);
        }
    }

    /// The gradients of a group of 32 features' weights, and meanwhile Adam with those that are pending.
    ///
    /// # Safety
    /// As of `run`; `sums` are 32 × 32 others than those pending, the tiles have the shape of 32 rows and `C` panels.
    #[inline(always)]
    unsafe fn block<const C: usize>(
        &self,
        sums: *mut f32,
        row: usize,
        group: usize,
        pending: Pending,
        lanes: &AdamLanes<Avx512>,
    ) {
        let n_groups = self.n_samples.div_ceil(GROUP);
        let left_stride = n_groups * GROUP_WORDS;
        let right_stride = n_groups * TILE_WORDS;
        let per_tile = BLOCK.div_ceil(4 * n_groups.max(1));
        let mut done = 0;
        // SAFETY: the offsets are those of the block's rows and panels; of two panels only the first one's sums
        // are not stored by the tiles.
        unsafe {
            let left = self.left.add(row * left_stride);
            let right = self.right.add(2 * group * right_stride);
            zero_block::<2, C>();
            for at in 0..n_groups {
                load_factors::<2, C>(
                    left.add(at * GROUP_WORDS),
                    left_stride,
                    right.add(at * TILE_WORDS),
                    right_stride,
                );
                multiply_tile::<2, C, 0>();
                done = self.adam(pending, done, per_tile, lanes);
                multiply_tile::<2, C, 1>();
                done = self.adam(pending, done, per_tile, lanes);
                multiply_tile::<2, C, 2>();
                done = self.adam(pending, done, per_tile, lanes);
                multiply_tile::<2, C, 3>();
                done = self.adam(pending, done, per_tile, lanes);
                self.fetch(row, group, at, n_groups);
            }
            self.adam(pending, done, BLOCK, lanes);
            if C == 1 {
                sums.write_bytes(0, BLOCK * BLOCK);
            }
            store_block::<2, C>(sums, BLOCK);
        }
    }

    /// Whether the right factor does not stay in L2. Then all features take a group of units before the next one, else
    /// the other way round.
    fn right_is_large(&self) -> bool {
        words(self.n_samples) * self.k > LARGE_WORDS
    }

    /// Fetches a part of later rows into L2: by the end of a block, of 32 features what the block had of its own, but
    /// of later features, or of later units.
    #[inline(always)]
    fn fetch(&self, row: usize, group: usize, at: usize, n_groups: usize) {
        let lines = BLOCK.div_ceil(n_groups);
        let row_words = words(self.k);
        for (rows, ahead) in self.rows.into_iter().zip([self.w_ahead, BLOCK, BLOCK]) {
            for line in at * lines..(at + 1) * lines {
                let next = if self.right_is_large() {
                    (row + line) * row_words + (group + 1) * GROUP_WORDS
                } else {
                    (row + ahead) * row_words + (group * BLOCK + line) * GROUP_WORDS
                };
                // SAFETY: prefetching is harmless anywhere; every x86-64 can.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(rows.wrapping_add(next).cast()) };
            }
        }
    }

    /// # Safety
    /// As of `run`; the pending sums are 32 × 32, their rows exist.
    #[inline(always)]
    unsafe fn adam(&self, pending: Pending, first: usize, rows: usize, lanes: &AdamLanes<Avx512>) -> usize {
        let last = (first + rows).min(pending.rows);
        for row in first..last {
            // SAFETY: passed on; padding has sums of 0.
            unsafe {
                let g = F32::load::<Avx512>(pending.sums.add(row * BLOCK), 0);
                let row = pending.row + row;
                let at = self.rows.map(|rows| rows.add(row * words(self.k)));
                let rounding = Rounding::of_row(self.adam, self.first + row);
                Bf16::update(lanes, at, pending.group, g, rounding);
            }
        }
        last
    }
}
