//! Cuts a row of `k` values into register blocks.

use crate::lanes::Lanes;
use crate::paired::GROUP;

/// Work on some groups of a row, all held in registers.
///
/// # Safety
/// Of both methods: the CPU has the instruction set of `V`; `(group + M) * 32` or `group * 32 + left` is at most
/// the `k` the implementor was made for.
pub(crate) trait RowBlock<V: Lanes> {
    /// `M` whole groups.
    unsafe fn block<const M: usize>(&mut self, group: usize);

    /// The last `left < 32` values, from `group` on.
    unsafe fn tail(&mut self, group: usize, left: usize);
}

/// Covers `0..k` with blocks of `N` groups, then 12, 8, 4, 2 and 1, then the tail.
///
/// # Safety
/// The CPU has the instruction set of `V`, and `row` was made for `k`.
#[inline(always)]
pub(crate) unsafe fn over_row<V: Lanes, const N: usize>(k: usize, row: &mut impl RowBlock<V>) {
    let groups = k / GROUP;
    let mut at = 0;
    macro_rules! blocks_of {
        ($m:expr) => {
            while groups - at >= $m {
                // SAFETY: the loop condition keeps the block within k; the rest is passed on.
                unsafe { row.block::<{ $m }>(at) };
                at += $m;
            }
        };
    }
    blocks_of!(N);
    if N > 12 {
        blocks_of!(12);
        blocks_of!(8);
        blocks_of!(4);
    }
    blocks_of!(2);
    blocks_of!(1);
    if !k.is_multiple_of(GROUP) {
        // SAFETY: fewer than 32 values are left.
        unsafe { row.tail(groups, k % GROUP) };
    }
}
