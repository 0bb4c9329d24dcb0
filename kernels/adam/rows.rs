//! Adam on rows of a wide layer whose gradient was formed outside.

use crate::table::{select, size};
use crate::{Adam, Isa, WideWeightsMut};

kernels_by_storage! {
    [adam_rows_f32__reference adam_rows_f32__portable adam_rows_f32__avx2 adam_rows_f32__avx512]
    [adam_rows_bf16__reference adam_rows_bf16__portable adam_rows_bf16__avx2 adam_rows_bf16__avx512] =
    adam_rows(layer: WideWeightsMut<'_, S>, g: &[f32], k: usize, adam: &Adam)
}

/// One Adam step of every row. `layer: n_features` rows of `k` values; `g: n_features × k`, their gradient.
///
/// # Panics
/// If a length is not the one stated, `k` is 0, or this CPU lacks `isa`.
pub fn adam_rows<S: Kernels>(isa: Isa, layer: WideWeightsMut<'_, S>, g: &[f32], k: usize, adam: &Adam) {
    assert!(k > 0, "k is 0");
    assert_eq!(g.len() % k, 0, "g is not whole rows of k");
    let words = size(g.len() / k, S::row_words(k));
    assert_eq!(layer.w.len(), words, "w is not n_features × k");
    assert_eq!(layer.m.len(), words, "m is not n_features × k");
    assert_eq!(layer.v.len(), words, "v is not n_features × k");
    let kernel = select(S::kernels(), isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths.
    unsafe { kernel(layer, g, k, adam) }
}

mod reference {
    use crate::storage::{Rounding, Rows};
    use crate::{Adam, WideWeightsMut};

    pub(super) fn adam_rows<S: Rows>(layer: WideWeightsMut<'_, S>, g: &[f32], k: usize, adam: &Adam) {
        let row_words = S::row_words(k);
        let rows = layer.w.chunks_exact_mut(row_words).zip(layer.m.chunks_exact_mut(row_words));
        let rows = rows.zip(layer.v.chunks_exact_mut(row_words)).zip(g.chunks_exact(k));
        for (feature, (((w, m), v), g)) in rows.enumerate() {
            let rounding = Rounding::of_row(adam, layer.first + feature);
            for (unit, &g) in g.iter().enumerate() {
                S::update_f64(adam, [&mut *w, &mut *m, &mut *v], unit, f64::from(g), rounding);
            }
        }
    }
}

mod generic {
    use crate::adam::AdamLanes;
    use crate::lanes::Lanes;
    use crate::paired::GROUP;
    use crate::storage::{F32, Rounding, Rows};
    use crate::{Adam, WideWeightsMut};

    /// # Safety
    /// The CPU has the instruction set of `V`; the lengths are those of the safe entry.
    #[inline(always)]
    pub(super) unsafe fn adam_rows<S: Rows, V: Lanes, const N: usize>(
        layer: WideWeightsMut<'_, S>,
        g: &[f32],
        k: usize,
        adam: &Adam,
    ) {
        let rows = [layer.w.as_mut_ptr(), layer.m.as_mut_ptr(), layer.v.as_mut_ptr()];
        let (groups, left) = (k / GROUP, k % GROUP);
        // SAFETY: every row holds `groups` groups and `left` values.
        unsafe {
            let lanes = AdamLanes::<V>::new(adam);
            for (feature, g) in g.chunks_exact(k).enumerate() {
                let rows = rows.map(|row| row.add(feature * S::row_words(k)));
                let rounding = Rounding::of_row(adam, layer.first + feature);
                for group in 0..groups {
                    S::update(&lanes, rows, group, F32::load(g.as_ptr(), group), rounding);
                }
                if left > 0 {
                    let g = F32::load_head(g.as_ptr(), groups, left);
                    S::update_head(&lanes, rows, groups, g, left, rounding);
                }
            }
        }
    }
}
