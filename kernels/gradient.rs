//! The gradient of a wide layer's row, kept in registers until Adam has used it.

use crate::F32;
use crate::adam::AdamLanes;
use crate::blocks::RowBlock;
use crate::lanes::Lanes;
use crate::spmm::generic::accumulate;
use crate::storage::{Rounding, Rows, store, store_head, update_groups, zeros};

/// `dw = Σ value x_sample` of one feature over the samples of a tile, added to that of earlier tiles, then either
/// carried on or used by Adam. Entries of value 0 (dropped inputs, outputs below the relu) cost nothing.
pub(crate) struct Gradient<'a, S: Rows, V> {
    /// Its rows of `w`, `m`, `v`.
    pub(crate) rows: [*mut S::Word; 3],
    /// Each names a row of `x`.
    pub(crate) samples: &'a [u32],
    pub(crate) values: &'a [f32],
    pub(crate) x: *const S::Word,
    pub(crate) row_words: usize,
    pub(crate) carry: Carry,
    pub(crate) adam: AdamLanes<V>,
    pub(crate) rounding: Rounding,
}

/// A feature's gradient between tiles, a row of `k` values.
#[derive(Clone, Copy)]
pub(crate) struct Carry {
    pub(crate) row: *mut f32,
    pub(crate) is_first: bool,
    pub(crate) is_last: bool,
}

impl Carry {
    /// For samples that are not cut into tiles.
    pub(crate) const NONE: Self = Self { row: std::ptr::null_mut(), is_first: true, is_last: true };
}

impl<S: Rows, V: Lanes> RowBlock<V> for Gradient<'_, S, V> {
    #[inline(always)]
    unsafe fn block<const M: usize>(&mut self, group: usize) {
        let mut dw = [zeros::<V>(); M];
        // SAFETY: `M` groups lie within every row.
        unsafe {
            if !self.carry.is_first {
                for (i, dw) in dw.iter_mut().enumerate() {
                    *dw = F32::load(self.carry.row, group + i);
                }
            }
            for (&sample, &value) in self.samples.iter().zip(self.values) {
                if value == 0.0 {
                    continue;
                }
                let x = self.x.add(sample as usize * self.row_words);
                let value = V::splat(value);
                for (i, dw) in dw.iter_mut().enumerate() {
                    accumulate(dw, S::load(x, group + i), value);
                }
            }
            if self.carry.is_last {
                update_groups::<S, V, M>(&self.adam, self.rows, group, &dw, self.rounding);
            } else {
                for (i, &dw) in dw.iter().enumerate() {
                    store(self.carry.row, group + i, dw);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tail(&mut self, group: usize, left: usize) {
        let mut dw = zeros::<V>();
        // SAFETY: `left` values of the group lie within every row.
        unsafe {
            if !self.carry.is_first {
                dw = F32::load_head(self.carry.row, group, left);
            }
            for (&sample, &value) in self.samples.iter().zip(self.values) {
                if value == 0.0 {
                    continue;
                }
                let x = self.x.add(sample as usize * self.row_words);
                accumulate(&mut dw, S::load_head(x, group, left), V::splat(value));
            }
            if self.carry.is_last {
                S::update_head(&self.adam, self.rows, group, dw, left, self.rounding);
            } else {
                store_head(self.carry.row, group, dw, left);
            }
        }
    }
}
