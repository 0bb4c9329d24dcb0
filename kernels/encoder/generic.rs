use crate::adam::AdamLanes;
use crate::blocks::{RowBlock, over_row};
use crate::lanes::Lanes;
use crate::spmm::generic::accumulate;
use crate::storage::{Rounding, Rows, update_groups, zeros};
use crate::{Adam, CsrView, WideWeightsMut};

/// One feature: its entries, each naming a row of `dh`, and its rows of `w`, `m`, `v`.
struct Feature<'a, S: Rows, V> {
    rows: [*mut S::Word; 3],
    samples: &'a [u32],
    values: &'a [f32],
    dh: *const S::Word,
    row_words: usize,
    adam: AdamLanes<V>,
    rounding: Rounding,
}

impl<S: Rows, V: Lanes> RowBlock<V> for Feature<'_, S, V> {
    #[inline(always)]
    unsafe fn block<const M: usize>(&mut self, group: usize) {
        let mut dw = [zeros::<V>(); M];
        // SAFETY: `M` groups lie within every row.
        unsafe {
            for (&sample, &value) in self.samples.iter().zip(self.values) {
                if value == 0.0 {
                    continue;
                }
                let dh = self.dh.add(sample as usize * self.row_words);
                let value = V::splat(value);
                for (i, dw) in dw.iter_mut().enumerate() {
                    accumulate(dw, S::load(dh, group + i), value);
                }
            }
            update_groups::<S, V, M>(&self.adam, self.rows, group, &dw, self.rounding);
        }
    }

    #[inline(always)]
    unsafe fn tail(&mut self, group: usize, left: usize) {
        let mut dw = zeros::<V>();
        // SAFETY: `left` values of the group lie within every row.
        unsafe {
            for (&sample, &value) in self.samples.iter().zip(self.values) {
                if value == 0.0 {
                    continue;
                }
                let dh = self.dh.add(sample as usize * self.row_words);
                accumulate(&mut dw, S::load_head(dh, group, left), V::splat(value));
            }
            S::update_head(&self.adam, self.rows, group, dw, left, self.rounding);
        }
    }
}

/// # Safety
/// The CPU has the instruction set of `V`; the lengths are those of the safe entry.
#[inline(always)]
pub(super) unsafe fn encoder_step<S: Rows, V: Lanes, const N: usize>(
    layer: WideWeightsMut<'_, S>,
    xt: CsrView<'_>,
    dh: &[S::Word],
    k: usize,
    adam: &Adam,
) {
    let rows = [layer.w.as_mut_ptr(), layer.m.as_mut_ptr(), layer.v.as_mut_ptr()];
    let (dh, row_words) = (dh.as_ptr(), S::row_words(k));
    // SAFETY: `feature < n_features`, and the view proved that every index is below `n_samples`.
    unsafe {
        let lanes = AdamLanes::<V>::new(adam);
        for feature in 0..xt.n_rows() {
            let (samples, values) = xt.row(feature);
            let rows = rows.map(|row| row.add(feature * row_words));
            let rounding = Rounding::of_row(adam, layer.first + feature);
            let mut feature = Feature::<S, V> { rows, samples, values, dh, row_words, adam: lanes, rounding };
            over_row::<V, N>(k, &mut feature);
        }
    }
}
