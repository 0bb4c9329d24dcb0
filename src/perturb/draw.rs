//! Drawing molecules.

use std::collections::BTreeSet;

use rand::{Rng, RngExt};
use rand_distr::{Binomial, Distribution};

/// Fewer molecules are tossed for one by one: faster, since a distribution takes some time to set up.
const FEW: u64 = 16;

/// A coin for every molecule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coin {
    p: f64,
    /// `p` in units of 2^-64.
    threshold: u64,
}

impl Coin {
    /// A coin that says yes with probability `p`, from 0 to 1.
    pub(super) fn new(p: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let threshold = (p * 2.0_f64.powi(64)) as u64;
        Self { p, threshold }
    }

    /// How often `n` tosses say yes.
    pub(super) fn toss(&self, n: u64, generator: &mut impl Rng) -> u64 {
        if self.p >= 1.0 {
            return n;
        }
        if n < FEW {
            return (0..n).filter(|_| generator.next_u64() < self.threshold).count() as u64;
        }
        // Fails for probabilities outside 0 to 1 only.
        Binomial::new(n, self.p).map_or(0, |distribution| distribution.sample(generator))
    }
}

/// Draws `n` molecules without replacement where there are `counts` of each kind, every set of `n` being as likely, and
/// puts how many of each kind are drawn into `drawn`. All of them, if there are no more than `n`.
///
/// A toss for every molecule gives every set of its size the same chance. So it may have another size at first: those that
/// are too many are taken away again, or those that lack are added, with the same chance for each.
pub(super) fn choose(counts: &[u64], n: u64, generator: &mut impl Rng, drawn: &mut Vec<u64>) {
    drawn.clear();
    let total: u64 = counts.iter().sum();
    if total <= n {
        drawn.extend_from_slice(counts);
        return;
    }
    let coin = Coin::new(n as f64 / total as f64);
    drawn.extend(counts.iter().map(|&count| coin.toss(count, generator)));
    let tossed: u64 = drawn.iter().sum();
    if tossed > n {
        for kind in positions(tossed, tossed - n, |kind| drawn.get(kind).copied(), generator) {
            drawn[kind] -= 1;
        }
    } else {
        let left = |kind: usize| Some(counts.get(kind)? - drawn.get(kind)?);
        for kind in positions(total - tossed, n - tossed, left, generator) {
            drawn[kind] += 1;
        }
    }
}

/// The kinds of `n` different molecules out of `total`, of which `count` tells how many are of each kind.
fn positions(
    total: u64,
    n: u64,
    count: impl Fn(usize) -> Option<u64>,
    generator: &mut impl Rng,
) -> Vec<usize> {
    let mut chosen = BTreeSet::new();
    while (chosen.len() as u64) < n {
        chosen.insert(generator.random_range(0..total));
    }
    let mut kinds = Vec::with_capacity(chosen.len());
    let (mut kind, mut end) = (0, count(0).unwrap_or(0));
    for molecule in chosen {
        while molecule >= end {
            kind += 1;
            // There are `total` in all.
            end += count(kind).unwrap_or(u64::MAX - end);
        }
        kinds.push(kind);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};

    #[test]
    fn tosses_are_binomial_for_few_and_many() {
        let mut generator = generator(1, Purpose::Molecules, 0);
        for (n, p) in [(1_u64, 0.3), (5, 0.9), (15, 0.5), (16, 0.5), (40, 0.05), (1000, 0.7), (1 << 40, 0.25)]
        {
            const DRAWS: u64 = 20_000;
            let coin = Coin::new(p);
            let (mean, variance) = (n as f64 * p, n as f64 * p * (1.0 - p));
            let draws: Vec<f64> = (0..DRAWS).map(|_| coin.toss(n, &mut generator) as f64 - mean).collect();
            let sum = draws.iter().sum::<f64>() / DRAWS as f64;
            let squares = draws.iter().map(|x| x * x).sum::<f64>() / DRAWS as f64;
            assert!(sum.abs() < 5.0 * (variance / DRAWS as f64).sqrt(), "{n} {p}: {sum}");
            assert!((squares / variance - 1.0).abs() < 0.08, "{n} {p}: {squares} instead of {variance}");
        }
        assert_eq!(Coin::new(0.0).toss(1000, &mut generator), 0);
        assert_eq!(Coin::new(0.0).toss(3, &mut generator), 0);
        assert_eq!([3, 1000].map(|n| Coin::new(1.0).toss(n, &mut generator)), [3, 1000]);
    }

    /// With 4 of the molecules a a b c c c every number of each kind has its hypergeometric probability.
    #[test]
    fn every_set_is_as_likely() {
        const DRAWS: usize = 60_000;
        let counts = [2, 1, 3];
        let mut generator = generator(2, Purpose::Molecules, 0);
        let mut drawn = Vec::new();
        let mut found = std::collections::BTreeMap::new();
        for _ in 0..DRAWS {
            choose(&counts, 4, &mut generator, &mut drawn);
            *found.entry(drawn.clone()).or_insert(0_usize) += 1;
        }
        let ways = |n: u64, k: u64| (0..k).fold(1.0, |ways, i| ways * (n - i) as f64 / (i + 1) as f64);
        let mut total = 0.0;
        for (drawn, &times) in &found {
            assert_eq!(drawn.iter().sum::<u64>(), 4);
            let p: f64 = drawn.iter().zip(counts).map(|(&k, n)| ways(n, k)).product::<f64>() / 15.0;
            let expected = p * DRAWS as f64;
            assert!(
                (times as f64 - expected).abs() < 5.0 * expected.sqrt(),
                "{drawn:?}: {times}, {expected}"
            );
            total += p;
        }
        assert!((total - 1.0).abs() < 1e-9, "some sets are never drawn");
    }

    #[test]
    fn the_number_is_exact_whatever_it_is() {
        let mut generator = generator(3, Purpose::Molecules, 0);
        let mut drawn = Vec::new();
        for counts in [vec![], vec![0, 0], vec![7], vec![0, 3, 0, 500, 1, 0], vec![1 << 40, 5, 1 << 33]] {
            let total: u64 = counts.iter().sum();
            for n in [0, 1, total / 2, total.saturating_sub(1), total, total + 1] {
                choose(&counts, n, &mut generator, &mut drawn);
                assert_eq!(drawn.iter().sum::<u64>(), n.min(total), "{n} of {counts:?}");
                assert!(drawn.iter().zip(&counts).all(|(drawn, count)| drawn <= count), "{drawn:?}");
                assert_eq!(drawn.len(), counts.len());
            }
        }
    }
}
