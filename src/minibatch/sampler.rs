//! Which samples form which minibatch: plain data, a function of the seed alone.
//!
//! Samples in random order would be read from random places of a file that does not fit in memory. Where the samples
//! have more entries than a window, blocks of consecutive samples are put in random order, the blocks of a window are
//! read together, and their samples are shuffled. (Reading a block of a thousandth of the file costs one seek.)

use std::ops::Range;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The stream of the generator that draws the split; epochs use theirs, counted from 0.
const SPLIT_STREAM: u64 = u64::MAX;
/// The one that draws the samples of which held-out entries are scored.
const SCORED_STREAM: u64 = u64::MAX - 1;
/// Samples are read in blocks of at least this many entries, half a megabyte of counts.
const BLOCK_ENTRIES: u64 = 1 << 17;

/// The minibatches of one pass, and what has to be read for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The samples of every minibatch.
    pub batches: Vec<Vec<u32>>,
    /// In the order in which they are needed.
    pub windows: Vec<Window>,
}

/// Samples that are read together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Minibatches that hold the window's samples, the last of which the next window may share.
    pub batches: Range<usize>,
    /// Runs of rows of the store in which all of its samples lie, none of which takes long to read.
    pub rows: Vec<Range<u32>>,
}

/// `samples` (rows of the store, increasing) in batches of `batch_size` in an order drawn for this epoch; the last may be
/// smaller. `row_nnz` tells the entries of every row, of which a window holds about `window_entries`.
pub fn shuffled_batches(
    samples: &[u32],
    row_nnz: &[u64],
    window_entries: u64,
    batch_size: usize,
    seed: u64,
    epoch: u64,
) -> Schedule {
    let mut generator = generator(seed, epoch);
    let mut blocks = blocks(samples, row_nnz);
    let mut windows = vec![blocks.clone()];
    if entries(samples, row_nnz) > window_entries {
        blocks.shuffle(&mut generator);
        windows = windows_of(&blocks, samples, row_nnz, window_entries);
    }
    let mut order = Vec::with_capacity(samples.len());
    let mut read = Vec::with_capacity(windows.len());
    for window in windows {
        let begin = order.len();
        for block in &window {
            order.extend_from_slice(&samples[block.clone()]);
        }
        order[begin..].shuffle(&mut generator);
        read.push((begin..order.len(), rows_of(window, samples)));
    }
    schedule(&order, read, batch_size)
}

/// `samples` (rows of the store, increasing) in batches of `batch_size` as they come; the last may be smaller.
pub fn batches_in_order(
    samples: &[u32],
    row_nnz: &[u64],
    window_entries: u64,
    batch_size: usize,
) -> Schedule {
    let windows = windows_of(&blocks(samples, row_nnz), samples, row_nnz, window_entries);
    let mut begin = 0;
    let read = windows.into_iter().map(|window| {
        let end = window.last().map_or(begin, |block| block.end);
        let places = begin..end;
        begin = end;
        (places, rows_of(window, samples))
    });
    schedule(samples, read.collect(), batch_size)
}

/// Cuts `order` into batches; every window is told by its places in `order` and its rows.
fn schedule(order: &[u32], windows: Vec<(Range<usize>, Vec<Range<u32>>)>, batch_size: usize) -> Schedule {
    let batches = order.chunks(batch_size).map(<[u32]>::to_vec).collect();
    let windows = windows.into_iter().filter(|(places, _)| !places.is_empty());
    let windows = windows.map(|(places, rows)| {
        let batches = places.start / batch_size..places.end.div_ceil(batch_size);
        Window { batches, rows }
    });
    Schedule { batches, windows: windows.collect() }
}

/// Ranges of positions in `samples` that are read in one go.
fn blocks(samples: &[u32], row_nnz: &[u64]) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (position, &sample) in samples.iter().enumerate() {
        size += row_nnz[sample as usize];
        if size >= BLOCK_ENTRIES || position + 1 == samples.len() {
            blocks.push(start..position + 1);
            (start, size) = (position + 1, 0);
        }
    }
    blocks
}

/// Deals blocks, in their order, to windows that are full at `window_entries`.
fn windows_of(
    blocks: &[Range<usize>],
    samples: &[u32],
    row_nnz: &[u64],
    window_entries: u64,
) -> Vec<Vec<Range<usize>>> {
    let mut windows = Vec::new();
    let (mut window, mut size) = (Vec::new(), 0);
    for block in blocks {
        window.push(block.clone());
        size += entries(&samples[block.clone()], row_nnz);
        if size >= window_entries {
            windows.push(std::mem::take(&mut window));
            size = 0;
        }
    }
    windows.push(window);
    windows
}

fn entries(samples: &[u32], row_nnz: &[u64]) -> u64 {
    samples.iter().map(|&sample| row_nnz[sample as usize]).sum()
}

/// The rows of a window's blocks.
fn rows_of(window: Vec<Range<usize>>, samples: &[u32]) -> Vec<Range<u32>> {
    window.into_iter().map(|block| samples[block.start]..samples[block.end - 1] + 1).collect()
}

/// Of `samples` (increasing) whole blocks, drawn by `seed`, with `enough` entries; all if there are not more than that.
pub fn scored_samples(samples: &[u32], row_nnz: &[u64], enough: u64, seed: u64) -> Vec<u32> {
    if entries(samples, row_nnz) <= enough {
        return samples.to_vec();
    }
    let mut blocks = blocks(samples, row_nnz);
    blocks.shuffle(&mut generator(seed, SCORED_STREAM));
    let mut windows = windows_of(&blocks, samples, row_nnz, enough);
    let mut drawn = std::mem::take(&mut windows[0]);
    drawn.sort_unstable_by_key(|block| block.start);
    drawn.into_iter().flat_map(|block| &samples[block]).copied().collect()
}

/// Splits `samples` at random by `shares` (of any sum); each part keeps the order of `samples`.
pub fn split_samples(samples: &[u32], shares: [f64; 3], seed: u64) -> [Vec<u32>; 3] {
    let mut order = samples.to_vec();
    order.shuffle(&mut generator(seed, SPLIT_STREAM));
    let total: f64 = shares.iter().sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let cut = |share: f64| ((share / total * order.len() as f64).round() as usize).min(order.len());
    let first = cut(shares[0]);
    let second = cut(shares[0] + shares[1]).max(first);
    [&order[..first], &order[first..second], &order[second..]].map(|part| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part
    })
}

fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    generator
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: usize = 3000;

    /// Every third row is no sample.
    fn samples() -> Vec<u32> {
        (0..).filter(|row| row % 3 != 0).take(SAMPLES).collect()
    }

    fn row_nnz() -> Vec<u64> {
        (0..2 * SAMPLES as u64).map(|row| 4000 + row).collect()
    }

    fn check(schedule: &Schedule, samples: &[u32], batch_size: usize) {
        let seen = schedule.batches.concat();
        let mut sorted = seen.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, samples, "every sample comes once");
        assert!(schedule.batches.iter().rev().skip(1).all(|batch| batch.len() == batch_size));
        let (mut first, mut windows) = (0, 0..0);
        for (number, batch) in schedule.batches.iter().enumerate() {
            // Windows whose rows are there when the batch is gathered.
            while windows.end < schedule.windows.len()
                && schedule.windows[windows.end].batches.start <= number
            {
                windows.end += 1;
            }
            let there = &schedule.windows[windows.start..windows.end];
            let is_there =
                |sample: &u32| there.iter().any(|w| w.rows.iter().any(|rows| rows.contains(sample)));
            assert!(batch.iter().all(is_there), "batch {number} needs rows that were not asked for");
            while windows.start < windows.end && schedule.windows[windows.start].batches.end == number + 1 {
                windows.start += 1;
            }
            first += batch.len();
        }
        assert_eq!(first, samples.len());
        assert!(windows.is_empty() && windows.start == schedule.windows.len(), "a window is never let go");
    }

    #[test]
    fn every_sample_comes_once_an_epoch_and_the_last_batch_is_kept() {
        let (samples, nnz) = (samples(), row_nnz());
        for window in [0, 1 << 20, u64::MAX] {
            let batches = |seed, epoch| shuffled_batches(&samples, &nnz, window, 256, seed, epoch);
            let schedule = batches(7, 3);
            check(&schedule, &samples, 256);
            assert_eq!(schedule.batches.len(), SAMPLES.div_ceil(256));
            assert_ne!(schedule.batches.concat(), samples);
            assert_eq!(schedule, batches(7, 3));
            assert_ne!(schedule, batches(7, 4));
            assert_ne!(schedule, batches(8, 3));
            check(&batches_in_order(&samples, &nnz, window, 256), &samples, 256);
            assert_eq!(batches_in_order(&samples, &nnz, window, 256).batches.concat(), samples);
        }
    }

    #[test]
    fn what_fits_in_a_window_is_shuffled_as_a_whole() {
        let (samples, nnz) = (samples(), row_nnz());
        let schedule = shuffled_batches(&samples, &nnz, u64::MAX, 100, 7, 0);
        assert_eq!(schedule.windows.len(), 1);
        let mut order = samples.clone();
        order.shuffle(&mut generator(7, 0));
        assert_eq!(schedule.batches.concat(), order);
        assert_eq!(schedule.windows[0].rows[0].start, samples[0]);
    }

    #[test]
    fn a_window_has_no_more_entries_than_asked_for() {
        let (samples, nnz) = (samples(), row_nnz());
        let window_entries = 1 << 20;
        let schedule = shuffled_batches(&samples, &nnz, window_entries, 100, 7, 0);
        assert!(schedule.windows.len() > 10);
        for window in &schedule.windows {
            let entries: u64 = window.rows.iter().flat_map(Clone::clone).map(|row| nnz[row as usize]).sum();
            assert!(entries <= 2 * (window_entries + BLOCK_ENTRIES), "{entries}");
        }
        assert!(shuffled_batches(&[], &[], 0, 100, 7, 0).batches.is_empty());
        assert!(batches_in_order(&[], &[], 0, 100).windows.is_empty());
    }

    #[test]
    fn scored_samples_are_whole_blocks_of_enough_entries() {
        let (samples, nnz) = (samples(), row_nnz());
        assert_eq!(scored_samples(&samples, &nnz, u64::MAX, 1), samples);
        let scored = scored_samples(&samples, &nnz, 1 << 20, 1);
        assert!(scored.is_sorted() && scored.iter().all(|sample| samples.contains(sample)));
        let n = entries(&scored, &nnz);
        assert!((1 << 20..(1 << 20) + 2 * BLOCK_ENTRIES).contains(&n), "{n}");
        assert_ne!(scored, scored_samples(&samples, &nnz, 1 << 20, 2));
    }

    #[test]
    fn a_split_has_the_shares_asked_for_and_loses_nothing() {
        let samples: Vec<u32> = (0..1000).collect();
        let parts = split_samples(&samples, [0.7, 0.15, 0.15], 1);
        assert_eq!(parts.each_ref().map(Vec::len), [700, 150, 150]);
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, samples);
        assert_eq!(split_samples(&samples[..1], [0.7, 0.15, 0.15], 1).concat(), [0]);
    }
}
