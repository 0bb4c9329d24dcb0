//! Dropout decisions from a counter-based hash: no state, so they do not depend on threads, minibatch order or
//! where a run was resumed, and every [`Isa`](crate::Isa) decides alike.
//!
//! The bits are part of what makes a run reproducible: changing them changes every trained model.

use crate::lanes::Lanes;

mod drop_units;

pub use drop_units::{KERNELS as DROP_UNITS_KERNELS, Run as DropUnits, drop_units};

/// Bits of a decision: `keep` is honoured to 2⁻²⁴.
const BITS: u32 = 24;
const UNIT_STEP: u32 = 0x9e37_79b9;
const FIRST_FACTOR: u32 = 0x7feb_352d;
const SECOND_FACTOR: u32 = 0x846c_a68b;

/// Key of one sample's decisions in one epoch: `stream` tells layers apart.
#[must_use]
pub fn row_key(seed: u64, stream: u32, epoch: u64, sample: u64) -> u64 {
    sample_key(epoch_key(seed, stream, epoch), sample)
}

/// The part of [`row_key`] that all samples share.
#[must_use]
pub fn epoch_key(seed: u64, stream: u32, epoch: u64) -> u64 {
    let key = mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
    let key = mix(key ^ u64::from(stream).wrapping_mul(0xd1b5_4a32_d192_ed03));
    mix(key.wrapping_add(epoch.wrapping_mul(0xa24b_aed4_963e_e407)))
}

/// The [`row_key`] of a sample, for callers that need one an entry: a quarter of the work.
#[must_use]
#[inline]
pub fn sample_key(epoch_key: u64, sample: u64) -> u64 {
    mix(epoch_key ^ sample.wrapping_mul(0x9fb2_1c65_1e98_df25))
}

/// Whether a unit survives, with probability `keep`: always for `keep >= 1`, never for `keep <= 0`.
#[must_use]
#[inline]
pub fn kept(key: u64, unit: u32, keep: f32) -> bool {
    hash(key, unit) >> (32 - BITS) < limit(keep)
}

/// 32 random bits of a unit.
#[inline]
fn hash(key: u64, unit: u32) -> u32 {
    let (low, high) = halves(key);
    let mut word = unit.wrapping_mul(UNIT_STEP).wrapping_add(low);
    word = (word ^ (word >> 16)).wrapping_mul(FIRST_FACTOR) ^ high;
    word = (word ^ (word >> 15)).wrapping_mul(SECOND_FACTOR);
    word ^ (word >> 16)
}

/// [`hash`] of some units.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
unsafe fn hashes<V: Lanes>(key: u64, units: V::Words) -> V::Words {
    let (low, high) = halves(key);
    // SAFETY: passed on.
    unsafe {
        let word = V::word_add(V::word_mul(units, V::words(UNIT_STEP)), V::words(low));
        let word = V::word_xor(word, V::word_shift_right(word, 16));
        let word = V::word_xor(V::word_mul(word, V::words(FIRST_FACTOR)), V::words(high));
        let word = V::word_xor(word, V::word_shift_right(word, 15));
        let word = V::word_mul(word, V::words(SECOND_FACTOR));
        V::word_xor(word, V::word_shift_right(word, 16))
    }
}

/// `unit..`
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
unsafe fn units_from<V: Lanes>(unit: u32) -> V::Words {
    // SAFETY: passed on.
    unsafe { V::word_add(V::words(unit), V::word_index()) }
}

/// Zeroes the lanes of units `unit..` that do not survive; the same decisions as [`kept`].
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(crate) unsafe fn where_kept<V: Lanes>(x: V, key: u64, unit: u32, limit: u32) -> V {
    // SAFETY: passed on.
    unsafe { where_units_kept(x, key, units_from::<V>(unit), limit) }
}

/// Zeroes the lanes whose unit does not survive; the same decisions as [`kept`].
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
unsafe fn where_units_kept<V: Lanes>(x: V, key: u64, units: V::Words, limit: u32) -> V {
    // SAFETY: passed on.
    unsafe { x.where_below(V::word_shift_right(hashes::<V>(key, units), 32 - BITS), limit) }
}

/// Two times 32 random bits for each of the units `unit..`, for stochastic rounding.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(crate) unsafe fn noise<V: Lanes>(key: u64, unit: u32) -> [V::Words; 2] {
    // SAFETY: passed on.
    unsafe {
        let first = hashes::<V>(key, units_from::<V>(unit));
        let second = V::word_mul(first, V::words(FIRST_FACTOR));
        [first, V::word_xor(second, V::word_shift_right(second, 15))]
    }
}

/// [`noise`] of one unit.
pub(crate) fn scalar_noise(key: u64, unit: u32) -> [u32; 2] {
    let first = hash(key, unit);
    let second = first.wrapping_mul(FIRST_FACTOR);
    [first, second ^ (second >> 15)]
}

/// `keep` as a share of 2²⁴; a unit survives when its hash is below.
#[inline]
pub(crate) fn limit(keep: f32) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, as wanted"
    )]
    let limit = (f64::from(keep) * f64::from(1_u32 << BITS)) as u32;
    limit.min(1 << BITS)
}

#[inline(always)]
fn halves(key: u64) -> (u32, u32) {
    #[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
    let low = key as u32;
    (low, (key >> 32) as u32)
}

/// The finaliser of splitmix64.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: u64 = 2000;
    const UNITS: u32 = 500;

    fn decisions(seed: u64, stream: u32, epoch: u64, keep: f32) -> Vec<f64> {
        let keys = (0..ROWS).map(|sample| row_key(seed, stream, epoch, sample));
        keys.flat_map(|key| (0..UNITS).map(move |unit| f64::from(u8::from(kept(key, unit, keep))))).collect()
    }

    /// Correlation of two series of the same expectation, in standard errors of independent ones.
    fn correlation(a: &[f64], b: &[f64], keep: f64) -> f64 {
        let covariance: f64 = a.iter().zip(b).map(|(x, y)| (x - keep) * (y - keep)).sum();
        covariance / (keep * (1.0 - keep)) / (a.len() as f64).sqrt()
    }

    #[test]
    fn the_mean_is_the_wanted_one() {
        for keep in [0.01_f32, 0.2, 0.5, 0.8, 0.99] {
            let all = decisions(1, 0, 0, keep);
            let keep = f64::from(keep);
            let error = (keep * (1.0 - keep) / all.len() as f64).sqrt();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            assert!((mean - keep).abs() < 4.0 * error, "keep {keep}: mean {mean}");
        }
        assert!(decisions(1, 0, 0, 1.0).iter().all(|&kept| kept == 1.0));
        assert!(decisions(1, 0, 0, 0.0).iter().all(|&kept| kept == 0.0));
    }

    #[test]
    fn every_unit_and_every_row_has_the_mean() {
        let all = decisions(7, 1, 3, 0.5);
        let units = UNITS as usize;
        for unit in 0..units {
            let sum: f64 = all.iter().skip(unit).step_by(units).sum();
            assert!((sum - ROWS as f64 / 2.0).abs() < 5.0 * (ROWS as f64 / 4.0).sqrt(), "unit {unit}: {sum}");
        }
        for (row, decisions) in all.chunks(units).enumerate() {
            let sum: f64 = decisions.iter().sum();
            assert!((sum - units as f64 / 2.0).abs() < 5.0 * (units as f64 / 4.0).sqrt(), "row {row}: {sum}");
        }
    }

    #[test]
    fn units_rows_epochs_layers_and_seeds_are_uncorrelated() {
        for keep in [0.5_f32, 0.8] {
            let all = decisions(3, 0, 5, keep);
            let keep_f64 = f64::from(keep);
            for lag in [1, 2, 3, 4, 8, 16, 32, 64, 128, 256, UNITS as usize, 2 * UNITS as usize] {
                let z = correlation(&all[lag..], &all[..all.len() - lag], keep_f64);
                assert!(z.abs() < 4.5, "keep {keep} lag {lag}: {z} standard errors");
            }
            for (seed, stream, epoch) in [(3, 0, 6), (3, 0, 4), (3, 1, 5), (3, 5, 0), (4, 0, 5), (0, 3, 5)] {
                let z = correlation(&all, &decisions(seed, stream, epoch, keep), keep_f64);
                assert!(z.abs() < 4.5, "keep {keep} against {seed} {stream} {epoch}: {z} standard errors");
            }
        }
    }

    #[test]
    fn every_bit_of_a_key_is_even_and_free_of_its_neighbours() {
        let keys: Vec<u64> = (0..4000).map(|sample| row_key(11, 2, 9, sample)).collect();
        for bit in 0..64 {
            let of = |key: &u64| f64::from(u8::from(key >> bit & 1 == 1));
            let bits: Vec<f64> = keys.iter().map(of).collect();
            let mean = bits.iter().sum::<f64>() / bits.len() as f64;
            assert!((mean - 0.5).abs() < 5.0 * 0.5 / (bits.len() as f64).sqrt(), "bit {bit}: {mean}");
            assert!(correlation(&bits[1..], &bits[..bits.len() - 1], 0.5).abs() < 5.0, "bit {bit}");
        }
        let mut sorted = keys;
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 4000);
    }

    #[test]
    fn decisions_are_those_of_all_earlier_versions() {
        let key = row_key(42, 1, 2, 3);
        let bits = (0..32).fold(0_u32, |bits, unit| bits | u32::from(kept(key, unit, 0.5)) << unit);
        assert_eq!((key, bits), (4_187_611_275_970_177_440, 1_887_038_238));
    }
}
