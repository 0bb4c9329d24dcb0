//! Cuts a row of `k` values into register blocks.

use crate::lanes::Lanes;

/// Work on some vectors of a row, all held in registers.
///
/// # Safety
/// Of both methods: the CPU has the instruction set of `V`; `at + M * V::WIDTH` or `at + lanes` is at most the
/// `k` the implementor was made for.
pub(crate) trait RowBlock<V: Lanes> {
    /// `M` whole vectors from column `at`.
    unsafe fn block<const M: usize>(&mut self, at: usize);

    /// The last `lanes < V::WIDTH` values, from column `at`.
    unsafe fn tail(&mut self, at: usize, lanes: usize);
}

/// Covers `0..k` with blocks of `N` vectors, then 8, 4, 2 and 1, then the tail.
///
/// # Safety
/// The CPU has the instruction set of `V`, and `row` was made for `k`.
#[inline(always)]
pub(crate) unsafe fn over_row<V: Lanes, const N: usize>(k: usize, row: &mut impl RowBlock<V>) {
    let mut at = 0;
    macro_rules! blocks_of {
        ($m:expr) => {
            while k - at >= $m * V::WIDTH {
                // SAFETY: the loop condition keeps the block within k; the rest is passed on.
                unsafe { row.block::<{ $m }>(at) };
                at += $m * V::WIDTH;
            }
        };
    }
    blocks_of!(N);
    blocks_of!(8);
    blocks_of!(4);
    blocks_of!(2);
    blocks_of!(1);
    if at < k {
        // SAFETY: fewer than WIDTH values are left.
        unsafe { row.tail(at, k - at) };
    }
}
