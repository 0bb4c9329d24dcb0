//! Drawing from a discrete distribution in constant time: Walker's alias method, as built by Vose.

use rand::Rng;

/// One slot for each outcome: the share of the slot that is its own, in units of 2^-32, above the outcome that has
/// the rest.
#[derive(Debug)]
pub(super) struct AliasTable {
    slots: Vec<u64>,
}

impl AliasTable {
    /// The distribution with these weights, one per outcome, which add up to 1.
    pub(super) fn new(weights: &[f32]) -> Self {
        let n = weights.len();
        let mut shares: Vec<f64> = weights.iter().map(|&w| f64::from(w) * n as f64).collect();
        let mut slots: Vec<u64> = (0..n as u64).map(|slot| u64::from(u32::MAX) << 32 | slot).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..n).partition(|&slot| shares[slot] < 1.0);
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares are below 1")]
            let own = (shares[poor] * (1_u64 << 32) as f64) as u64;
            slots[poor] = own.min(u64::from(u32::MAX)) << 32 | rich as u64;
            shares[rich] -= 1.0 - shares[poor];
            if shares[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self { slots }
    }

    /// Draws an outcome with one random number: its upper half chooses the slot, its lower half the outcome.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "halves are taken")]
    pub(super) fn sample(&self, generator: &mut impl Rng) -> usize {
        let random = generator.next_u64();
        let slot = ((random >> 32) * self.slots.len() as u64) >> 32;
        let entry = self.slots[slot as usize];
        let (own, other) = (entry >> 32, entry & u64::from(u32::MAX));
        (if u64::from(random as u32) < own { slot } else { other }) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};

    #[test]
    fn outcomes_come_as_often_as_their_weights_say() {
        const DRAWS: usize = 200_000;
        let weights = [0.5, 0.0, 0.3, 0.15, 0.04, 0.01];
        let table = AliasTable::new(&weights);
        let mut generator = generator(1, Purpose::Cell, 0);
        let mut counts = [0_usize; 6];
        for _ in 0..DRAWS {
            counts[table.sample(&mut generator)] += 1;
        }
        for (&count, &weight) in counts.iter().zip(&weights) {
            let expected = DRAWS as f64 * f64::from(weight);
            assert!((count as f64 - expected).abs() < 1.0 + 5.0 * expected.sqrt(), "{counts:?}");
        }
    }

    #[test]
    fn a_single_outcome_always_comes() {
        let table = AliasTable::new(&[1.0]);
        let mut generator = generator(1, Purpose::Cell, 0);
        assert!((0..100).all(|_| table.sample(&mut generator) == 0));
    }
}
