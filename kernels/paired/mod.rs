//! Paired rows: how rows of bf16 values are stored.
//!
//! A row of `k` values is `k` padded with zeros to groups of 32; a group is 16 words of u32. Value `r` of a group
//! is in word `r % 16`, in the low half if `r < 16`, else in the high half. Two f32 vectors of 16 thus come out of
//! one vector of words by a shift and a mask, and go into one by a shift, a mask and an or, without any permute
//! across lanes; and an AMX product, which sums over pairs, takes such rows as they are, for the order of the
//! summed index does not matter as long as both factors keep the same one.

use crate::Isa;
use crate::table::{select, size};

pub(crate) mod generic;
mod pack;
mod unpack;

pub use pack::{KERNELS as PACK_KERNELS, Run as Pack, pack_rows};
pub use unpack::{KERNELS as UNPACK_KERNELS, Run as Unpack, unpack_rows};
#[cfg(test)]
mod tests;

/// Values of a group.
pub const GROUP: usize = 32;

/// Words of a group.
pub const GROUP_WORDS: usize = 16;

/// Words of a row of `k` values, padding included.
#[must_use]
pub const fn words(k: usize) -> usize {
    k.div_ceil(GROUP) * GROUP_WORDS
}

/// The nearest bf16, ties to even; every NaN becomes `0x7fc0`.
#[must_use]
#[inline]
pub fn bf16_round(x: f32) -> u16 {
    if x.is_nan() {
        return 0x7fc0;
    }
    let bits = x.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// The value of a bf16, exact.
#[must_use]
#[inline]
pub fn to_f32(bf16: u16) -> f32 {
    f32::from_bits(u32::from(bf16) << 16)
}
