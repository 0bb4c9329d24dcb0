use crate::CsrView;
use crate::blocks::{RowBlock, over_row};
use crate::lanes::Lanes;

/// One row of `x` and of `out`; every index names a row of `w: n_cols × k`.
struct Row<'a> {
    out: *mut f32,
    cols: &'a [u32],
    values: &'a [f32],
    w: *const f32,
    k: usize,
}

impl<V: Lanes> RowBlock<V> for Row<'_> {
    #[inline(always)]
    unsafe fn block<const M: usize>(&mut self, at: usize) {
        // SAFETY: `at + M * WIDTH <= k`, so every access stays in a row of `out` or `w`.
        unsafe {
            let out = self.out.add(at);
            let mut sums = [V::splat(0.0); M];
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = V::load(out.add(i * V::WIDTH));
            }
            for (&col, &value) in self.cols.iter().zip(self.values) {
                let w = self.w.add(col as usize * self.k + at);
                let value = V::splat(value);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(w.add(i * V::WIDTH)).mul_add(value, *sum);
                }
            }
            for (i, sum) in sums.iter().enumerate() {
                sum.store(out.add(i * V::WIDTH));
            }
        }
    }

    #[inline(always)]
    unsafe fn tail(&mut self, at: usize, lanes: usize) {
        // SAFETY: `at + lanes <= k`.
        unsafe {
            let out = self.out.add(at);
            let mut sum = V::load_head(out, lanes);
            for (&col, &value) in self.cols.iter().zip(self.values) {
                let w = V::load_head(self.w.add(col as usize * self.k + at), lanes);
                sum = w.mul_add(V::splat(value), sum);
            }
            sum.store_head(out, lanes);
        }
    }
}

/// # Safety
/// The CPU has the instruction set of `V`; `out` is `x.n_rows × k` and `w` is `x.n_cols × k`.
#[inline(always)]
pub(super) unsafe fn spmm<V: Lanes, const N: usize>(out: &mut [f32], x: CsrView<'_>, w: &[f32], k: usize) {
    let (out, w) = (out.as_mut_ptr(), w.as_ptr());
    for row in 0..x.n_rows() {
        let (cols, values) = x.row(row);
        if cols.is_empty() {
            continue;
        }
        // SAFETY: `row < n_rows`, and the view proved that every index is below `n_cols`.
        unsafe { over_row::<V, N>(k, &mut Row { out: out.add(row * k), cols, values, w, k }) };
    }
}
