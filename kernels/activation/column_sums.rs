use crate::Isa;
use crate::table::select;

kernels! {
    column_sums_f32__reference column_sums_f32__portable column_sums_f32__avx2 column_sums_f32__avx512 =
    column_sums(out: &mut [f32], a: &[f32])
}

/// `out_u = Σ_r a_ru`, rows in order. `out: k`, overwritten; `a: n_rows × k`.
///
/// # Panics
/// If `out` is empty, `a` is not whole rows, or this CPU lacks `isa`.
pub fn column_sums(isa: Isa, out: &mut [f32], a: &[f32]) {
    assert!(!out.is_empty(), "out is empty");
    assert!(a.len().is_multiple_of(out.len()), "a is not n_rows × k");
    let kernel = select(KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths.
    unsafe { kernel(out, a) }
}

mod reference {
    pub(super) fn column_sums_f32__reference(out: &mut [f32], a: &[f32]) {
        let k = out.len();
        for (unit, out) in out.iter_mut().enumerate() {
            let sum: f64 = a.iter().skip(unit).step_by(k).map(|&x| f64::from(x)).sum();
            #[allow(clippy::cast_possible_truncation, reason = "the result is f32")]
            {
                *out = sum as f32;
            }
        }
    }
}

mod generic {
    use crate::F32;
    use crate::blocks::{RowBlock, over_row};
    use crate::lanes::Lanes;
    use crate::storage::{Rows, store, store_head, zeros};

    struct Columns<'a> {
        out: *mut f32,
        a: &'a [f32],
        k: usize,
    }

    impl<V: Lanes> RowBlock<V> for Columns<'_> {
        #[inline(always)]
        unsafe fn block<const M: usize>(&mut self, group: usize) {
            let mut sums = [zeros::<V>(); M];
            // SAFETY: `M` groups lie within every row.
            unsafe {
                for row in self.a.chunks_exact(self.k) {
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let values = F32::load::<V>(row.as_ptr(), group + i);
                        for (sum, value) in sums.iter_mut().zip(values).take(V::PER_GROUP) {
                            *sum = sum.add(value);
                        }
                    }
                }
                for (i, &sums) in sums.iter().enumerate() {
                    store(self.out, group + i, sums);
                }
            }
        }

        #[inline(always)]
        unsafe fn tail(&mut self, group: usize, left: usize) {
            let mut sums = zeros::<V>();
            // SAFETY: `left` values of the group lie within every row.
            unsafe {
                for row in self.a.chunks_exact(self.k) {
                    let values = F32::load_head::<V>(row.as_ptr(), group, left);
                    for (sum, value) in sums.iter_mut().zip(values).take(V::PER_GROUP) {
                        *sum = sum.add(value);
                    }
                }
                store_head(self.out, group, sums, left);
            }
        }
    }

    /// # Safety
    /// The CPU has the instruction set of `V`; `a` is whole rows of `out.len()`.
    #[inline(always)]
    pub(super) unsafe fn column_sums<V: Lanes, const N: usize>(out: &mut [f32], a: &[f32]) {
        let k = out.len();
        // SAFETY: made for `k`.
        unsafe { over_row::<V, N>(k, &mut Columns { out: out.as_mut_ptr(), a, k }) };
    }
}
