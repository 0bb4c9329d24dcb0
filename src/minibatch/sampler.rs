//! Which samples form which minibatch: plain data, a function of the seed alone.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The stream of the generator that draws the split; epochs use theirs, counted from 0.
const SPLIT_STREAM: u64 = u64::MAX;

/// `samples` in batches of `batch_size` in an order drawn for this epoch; the last may be smaller.
pub fn shuffled_batches(samples: &[u32], batch_size: usize, seed: u64, epoch: u64) -> Vec<Vec<u32>> {
    let mut order = samples.to_vec();
    order.shuffle(&mut generator(seed, epoch));
    batches_in_order(&order, batch_size)
}

/// `samples` in batches of `batch_size` as they come; the last may be smaller.
pub fn batches_in_order(samples: &[u32], batch_size: usize) -> Vec<Vec<u32>> {
    samples.chunks(batch_size).map(<[u32]>::to_vec).collect()
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

    #[test]
    fn every_sample_comes_once_an_epoch_and_the_last_batch_is_kept() {
        let samples: Vec<u32> = (10..1010).collect();
        let batches = shuffled_batches(&samples, 256, 7, 3);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [256, 256, 256, 232]);
        let mut seen = batches.concat();
        assert_ne!(seen, samples);
        seen.sort_unstable();
        assert_eq!(seen, samples);
        assert_eq!(batches, shuffled_batches(&samples, 256, 7, 3));
        assert_ne!(batches, shuffled_batches(&samples, 256, 7, 4));
        assert_ne!(batches, shuffled_batches(&samples, 256, 8, 3));
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
