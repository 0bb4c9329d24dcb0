use crate::adam::AdamLanes;
use crate::blocks::over_row;
use crate::gradient::{Carry, Gradient};
use crate::lanes::Lanes;
use crate::storage::{Rounding, Rows};
use crate::{Adam, CsrView, WideWeightsMut};

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
            let (x, carry) = (dh, Carry::NONE);
            let mut feature =
                Gradient::<S, V> { rows, samples, values, x, row_words, carry, adam: lanes, rounding };
            over_row::<V, N>(k, &mut feature);
        }
    }
}
