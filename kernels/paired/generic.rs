use super::{GROUP, GROUP_WORDS, words};
use crate::lanes::Lanes;

/// The values in the low halves, then those in the high halves.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(crate) unsafe fn decode<V: Lanes>(words: V::Words) -> (V, V) {
    // SAFETY: passed on.
    unsafe {
        let high = V::word_and(words, V::words(0xffff_0000));
        (V::from_bits(V::word_shift_left(words, 16)), V::from_bits(high))
    }
}

/// The inverse of [`decode`], rounding to nearest even.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(crate) unsafe fn encode<V: Lanes>(low: V, high: V) -> V::Words {
    // SAFETY: passed on.
    unsafe {
        let low = V::word_shift_right(rounded(low), 16);
        V::word_or(low, V::word_and(rounded(high), V::words(0xffff_0000)))
    }
}

/// As [`encode`] for values known to be numbers, ties away from zero.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(crate) unsafe fn encode_nearest<V: Lanes>(low: V, high: V) -> V::Words {
    // SAFETY: passed on.
    unsafe { encode_stochastic(low, high, V::words(0x8000_8000)) }
}

/// Rounds up with the probability that leaves the value unchanged on average, by adding 16 random bits below the
/// 16 kept: the low halves of `noise` to `low`, the high ones to `high`. Quiet NaNs stay NaN.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(crate) unsafe fn encode_stochastic<V: Lanes>(low: V, high: V, noise: V::Words) -> V::Words {
    // SAFETY: passed on.
    unsafe {
        let for_low = V::word_and(noise, V::words(0xffff));
        let low = V::word_shift_right(V::word_add(low.to_bits(), for_low), 16);
        let high = V::word_add(high.to_bits(), V::word_shift_right(noise, 16));
        V::word_or(low, V::word_and(high, V::words(0xffff_0000)))
    }
}

/// `bf16_round` in the high halves; the low halves are left over.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
unsafe fn rounded<V: Lanes>(x: V) -> V::Words {
    const FIRST_NAN: u32 = 0x7f80_0001;
    // SAFETY: passed on; a magnitude is below 2³¹.
    unsafe {
        let bits = x.to_bits();
        let odd = V::word_and(V::word_shift_right(bits, 16), V::words(1));
        let up = V::word_add(V::word_add(bits, V::words(0x7fff)), odd);
        // Clears the lanes of NaN between two exclusive ors, which leaves the NaN there and `up` elsewhere.
        let nan = V::words(0x7fc0_0000);
        let magnitude = V::word_and(bits, V::words(0x7fff_ffff));
        let numbers = V::from_bits(V::word_xor(up, nan)).where_below(magnitude, FIRST_NAN);
        V::word_xor(numbers.to_bits(), nan)
    }
}

/// # Safety
/// The CPU has the instruction set of `V`; `x` is valid for `k` values, `out` for `words(k)`.
#[inline(always)]
pub(crate) unsafe fn pack_row<V: Lanes>(out: *mut u32, x: *const f32, k: usize) {
    let whole = k / GROUP;
    // SAFETY: `whole` groups fit into k values and their words; the last one is copied to where 32 fit.
    unsafe {
        for group in 0..whole {
            pack_group::<V>(out.add(group * GROUP_WORDS), x.add(group * GROUP));
        }
        if whole * GROUP < k {
            let mut last = [0.0; GROUP];
            for (at, last) in last.iter_mut().enumerate().take(k - whole * GROUP) {
                *last = x.add(whole * GROUP + at).read();
            }
            pack_group::<V>(out.add(whole * GROUP_WORDS), last.as_ptr());
        }
    }
}

/// # Safety
/// The CPU has the instruction set of `V`; `x` is valid for 32 values, `out` for 16 words.
#[inline(always)]
unsafe fn pack_group<V: Lanes>(out: *mut u32, x: *const f32) {
    for at in (0..GROUP_WORDS).step_by(V::WIDTH) {
        // SAFETY: the width divides 16.
        unsafe {
            let words = encode(V::load(x.add(at)), V::load(x.add(GROUP_WORDS + at)));
            V::word_store(words, out.add(at));
        }
    }
}

/// # Safety
/// The CPU has the instruction set of `V`; `out` is whole rows of `words(k)`, `x` as many rows of `k`.
#[inline(always)]
pub(super) unsafe fn pack_rows<V: Lanes, const N: usize>(
    out: &mut [u32],
    x: &[f32],
    n_rows: usize,
    k: usize,
) {
    let (out, x) = (out.as_mut_ptr(), x.as_ptr());
    for row in 0..n_rows {
        // SAFETY: the row exists in both.
        unsafe { pack_row::<V>(out.add(row * words(k)), x.add(row * k), k) };
    }
}

/// # Safety
/// The CPU has the instruction set of `V`; `x` is whole rows of `words(k)`, `out` as many rows of `k`.
#[inline(always)]
pub(super) unsafe fn unpack_rows<V: Lanes, const N: usize>(
    out: &mut [f32],
    x: &[u32],
    n_rows: usize,
    k: usize,
) {
    let (out, x) = (out.as_mut_ptr(), x.as_ptr());
    let whole = k / GROUP;
    for row in 0..n_rows {
        // SAFETY: the row exists in both; `whole` groups fit into it, and `last` takes the rest.
        unsafe {
            let (out, x) = (out.add(row * k), x.add(row * words(k)));
            for group in 0..whole {
                unpack_group::<V>(out.add(group * GROUP), x.add(group * GROUP_WORDS));
            }
            if whole * GROUP < k {
                let mut last = [0.0; GROUP];
                unpack_group::<V>(last.as_mut_ptr(), x.add(whole * GROUP_WORDS));
                for (at, last) in last.iter().enumerate().take(k - whole * GROUP) {
                    out.add(whole * GROUP + at).write(*last);
                }
            }
        }
    }
}

/// # Safety
/// The CPU has the instruction set of `V`; `x` is valid for 16 words, `out` for 32 values.
#[inline(always)]
unsafe fn unpack_group<V: Lanes>(out: *mut f32, x: *const u32) {
    for at in (0..GROUP_WORDS).step_by(V::WIDTH) {
        // SAFETY: the width divides 16.
        unsafe {
            let (low, high) = decode::<V>(V::word_load(x.add(at)));
            low.store(out.add(at));
            high.store(out.add(GROUP_WORDS + at));
        }
    }
}
