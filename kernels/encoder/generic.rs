use super::WideWeightsMut;
use crate::adam::AdamLanes;
use crate::blocks::{RowBlock, over_row};
use crate::lanes::Lanes;
use crate::{Adam, CsrView};

/// One feature: its entries, each naming a row of `dh: n_samples × k`, and its rows of `w`, `m`, `v`.
struct Feature<'a, V> {
    w: *mut f32,
    m: *mut f32,
    v: *mut f32,
    samples: &'a [u32],
    values: &'a [f32],
    dh: *const f32,
    k: usize,
    adam: AdamLanes<V>,
}

impl<V: Lanes> RowBlock<V> for Feature<'_, V> {
    #[inline(always)]
    unsafe fn block<const M: usize>(&mut self, at: usize) {
        // SAFETY: `at + M * WIDTH <= k`, so every access stays in a row.
        unsafe {
            let mut dw = [V::splat(0.0); M];
            for (&sample, &value) in self.samples.iter().zip(self.values) {
                if value == 0.0 {
                    continue;
                }
                let dh = self.dh.add(sample as usize * self.k + at);
                let value = V::splat(value);
                for (i, dw) in dw.iter_mut().enumerate() {
                    *dw = V::load(dh.add(i * V::WIDTH)).mul_add(value, *dw);
                }
            }
            for (i, &dw) in dw.iter().enumerate() {
                let at = at + i * V::WIDTH;
                self.adam.update(self.w.add(at), self.m.add(at), self.v.add(at), dw);
            }
        }
    }

    #[inline(always)]
    unsafe fn tail(&mut self, at: usize, lanes: usize) {
        // SAFETY: `at + lanes <= k`.
        unsafe {
            let mut dw = V::splat(0.0);
            for (&sample, &value) in self.samples.iter().zip(self.values) {
                if value == 0.0 {
                    continue;
                }
                let dh = V::load_head(self.dh.add(sample as usize * self.k + at), lanes);
                dw = dh.mul_add(V::splat(value), dw);
            }
            self.adam.update_head(self.w.add(at), self.m.add(at), self.v.add(at), dw, lanes);
        }
    }
}

/// # Safety
/// The CPU has the instruction set of `V`; the lengths are those of the safe entry.
#[inline(always)]
pub(super) unsafe fn encoder_step<V: Lanes, const N: usize>(
    layer: WideWeightsMut<'_>,
    xt: CsrView<'_>,
    dh: &[f32],
    k: usize,
    adam: &Adam,
) {
    let (w, m, v) = (layer.w.as_mut_ptr(), layer.m.as_mut_ptr(), layer.v.as_mut_ptr());
    // SAFETY: `feature < n_features`, and the view proved that every index is below `n_samples`.
    unsafe {
        let adam = AdamLanes::<V>::new(adam);
        for feature in 0..xt.n_rows() {
            let (samples, values) = xt.row(feature);
            let row = feature * k;
            let (w, m, v) = (w.add(row), m.add(row), v.add(row));
            over_row::<V, N>(k, &mut Feature { w, m, v, samples, values, dh: dh.as_ptr(), k, adam });
        }
    }
}
