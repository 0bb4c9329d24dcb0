//! Which entries stay: an exact number of them, every set of that size as likely, in two passes and little memory.
//!
//! Every entry has a rank, a 64-bit number that is a function of seed, cell and gene, and the lowest stay. So more stay
//! with the same seed when more are asked for: those of a lower density among them.

use std::ops::Range;

use rand::Rng;

use super::rows::Rows;
use crate::error::{Error, Result};
use crate::random::{Purpose, generator};

/// Ranks are counted by their upper bits. Those that share the bits of the last one that stays are put in order, about one
/// in 4096 of all entries.
const BIN_BITS: u32 = 12;

/// Bytes that finding the last rank takes, twice what is expected.
pub(super) fn memory_bytes(nnz: u64) -> u64 {
    let ranks = (nnz >> BIN_BITS) + 1;
    ranks * 2 * size_of::<u64>() as u64
}

/// The order in which entries stay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    keys: [u64; 2],
}

impl Order {
    pub(super) fn new(seed: u64) -> Self {
        let mut generator = generator(seed, Purpose::Entries, 0);
        Self { keys: [generator.next_u64(), generator.next_u64()] }
    }

    /// A permutation of 64-bit numbers, of which cell and gene are one: no two entries share a rank.
    #[inline]
    pub(super) fn rank(self, cell: usize, gene: u32) -> u64 {
        let entry = (cell as u64) << 32 | u64::from(gene);
        mix(mix(entry ^ self.keys[0]) ^ self.keys[1])
    }
}

/// The finaliser of SplitMix64, which can be undone step by step.
#[inline]
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The highest rank among the `keep` lowest of all entries; none if none stays.
///
/// # Errors
/// When the store was changed.
pub(super) fn last_rank(
    rows: Rows<'_>,
    order: Order,
    keep: u64,
    progress: &dyn Fn(&'static str, u64),
) -> Result<Option<u64>> {
    if keep == 0 {
        return Ok(None);
    }
    if keep == rows.store.summary().tally.nnz {
        return Ok(Some(u64::MAX));
    }
    let bin_of = |rank: u64| (rank >> (u64::BITS - BIN_BITS)) as usize;
    let mut bins = vec![0_u64; 1 << BIN_BITS];
    let count = |range: Range<usize>| {
        let mut bins = vec![0_u32; 1 << BIN_BITS];
        visit(rows, range, order, |rank| bins[bin_of(rank)] += 1)?;
        Ok(bins)
    };
    let add = |part: Vec<u32>| {
        bins.iter_mut().zip(part).for_each(|(bin, count)| *bin += u64::from(count));
        Ok(())
    };
    rows.for_each(count, add, &|n| progress("ranking", n))?;
    let mut rest = keep;
    let last_bin = bins.iter().position(|&count| {
        let is_last = rest <= count;
        rest -= if is_last { 0 } else { count };
        is_last
    });
    let mut ranks = Vec::new();
    let collect = |range: Range<usize>| {
        let mut ranks = Vec::new();
        visit(rows, range, order, |rank| {
            if Some(bin_of(rank)) == last_bin {
                ranks.push(rank);
            }
        })?;
        Ok(ranks)
    };
    let append = |part: Vec<u64>| {
        ranks.extend(part);
        Ok(())
    };
    rows.for_each(collect, append, &|n| progress("choosing", n))?;
    let place = crate::hdf::to_usize(rest - 1);
    if place >= ranks.len() {
        return Err(Error::changed(rows.store.path(), "entries"));
    }
    Ok(Some(*ranks.select_nth_unstable(place).1))
}

/// Shows every entry's rank to `look`.
fn visit(rows: Rows<'_>, range: Range<usize>, order: Order, mut look: impl FnMut(u64)) -> Result<()> {
    let mut columns = Vec::new();
    for row in range {
        columns.clear();
        rows.store.read_columns(row, &mut columns)?;
        columns.iter().for_each(|&column| look(order.rank(row, column)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_entries_share_a_rank_and_ranks_are_spread() {
        let order = Order::new(5);
        let mut ranks: Vec<u64> =
            (0..300).flat_map(|cell| (0..400).map(move |gene| order.rank(cell, gene))).collect();
        ranks.sort_unstable();
        assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]));
        let mut bins = [0_u32; 64];
        ranks.iter().for_each(|rank| bins[(rank >> 58) as usize] += 1);
        let expected = ranks.len() as f64 / 64.0;
        let squares: f64 = bins.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
        assert!(squares < 63.0 + 5.0 * (2.0 * 63.0_f64).sqrt(), "chi-square {squares}");
    }
}
