//! Independent streams of random numbers, each found by what it is for.

use rand::{Rng, SeedableRng};
use rand_xoshiro::{SplitMix64, Xoshiro256PlusPlus};

/// What a stream is drawn for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Genes,
    Programme,
    CellTypes,
    Cell,
    Barcode,
}

/// The stream of the `index`-th object of its kind.
pub(super) fn generator(seed: u64, purpose: Purpose, index: u64) -> Xoshiro256PlusPlus {
    let mix = |key| SplitMix64::seed_from_u64(key).next_u64();
    Xoshiro256PlusPlus::seed_from_u64(mix(mix(mix(seed) ^ purpose as u64) ^ index))
}
