//! Independent streams of random numbers, each found by what it is for.

use rand::{Rng, SeedableRng};
use rand_xoshiro::{SplitMix64, Xoshiro256PlusPlus};

/// What a stream is drawn for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Genes,
    Programme,
    CellTypes,
    Cell,
    Barcode,
    /// Which entries stay.
    Entries,
    /// What becomes of a cell's molecules.
    Molecules,
    /// How many molecules each cell keeps.
    CellTotals,
}

/// The stream of the `index`-th object of its kind.
pub(crate) fn generator(seed: u64, purpose: Purpose, index: u64) -> Xoshiro256PlusPlus {
    let mix = |key| SplitMix64::seed_from_u64(key).next_u64();
    Xoshiro256PlusPlus::seed_from_u64(mix(mix(mix(seed) ^ purpose as u64) ^ index))
}
