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
    use crate::blocks::{RowBlock, over_row};
    use crate::lanes::Lanes;

    struct Columns<'a> {
        out: *mut f32,
        a: &'a [f32],
        k: usize,
    }

    impl<V: Lanes> RowBlock<V> for Columns<'_> {
        #[inline(always)]
        unsafe fn block<const M: usize>(&mut self, at: usize) {
            // SAFETY: `at + M * WIDTH <= k`, the length of every row.
            unsafe {
                let mut sums = [V::splat(0.0); M];
                for row in self.a.chunks_exact(self.k) {
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = sum.add(V::load(row.as_ptr().add(at + i * V::WIDTH)));
                    }
                }
                for (i, sum) in sums.iter().enumerate() {
                    sum.store(self.out.add(at + i * V::WIDTH));
                }
            }
        }

        #[inline(always)]
        unsafe fn tail(&mut self, at: usize, lanes: usize) {
            // SAFETY: `at + lanes <= k`, the length of every row.
            unsafe {
                let mut sum = V::splat(0.0);
                for row in self.a.chunks_exact(self.k) {
                    sum = sum.add(V::load_head(row.as_ptr().add(at), lanes));
                }
                sum.store_head(self.out.add(at), lanes);
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
