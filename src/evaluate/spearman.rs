//! Spearman's rank correlation.

use super::moments::Moments;
use crate::hdf::to_usize;
use crate::parallel;

/// A pair (value, reference) in single precision, of which millions are kept.
pub(super) type Pair = (f32, f32);

/// The rank correlation of the pairs, equal values sharing the mean of their ranks; none where either side is constant.
pub(super) fn spearman(pairs: &[Pair]) -> Option<f64> {
    let sides = vec![pairs.iter().map(|pair| pair.0).collect(), pairs.iter().map(|pair| pair.1).collect()];
    let ranks: Vec<Vec<f64>> = parallel::map(sides, |values: Vec<f32>| ranks(&values));
    let mut moments = Moments::default();
    for (&value, &reference) in ranks[0].iter().zip(&ranks[1]) {
        moments.push(value, reference);
    }
    moments.pearson()
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f32]) -> Vec<f64> {
    // Key and position in one word: sorting never leaves the array.
    let mut order: Vec<u64> = (0_u64..)
        .zip(values)
        .map(|(position, &value)| (u64::from(ordered_bits(value)) << 32) | position)
        .collect();
    order.sort_unstable();
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let key = order[start] >> 32;
        let end =
            order[start..].iter().position(|&word| word >> 32 != key).map_or(order.len(), |n| start + n);
        let rank = (start + 1 + end) as f64 / 2.0;
        for word in &order[start..end] {
            ranks[to_usize(word & u64::from(u32::MAX))] = rank;
        }
        start = end;
    }
    ranks
}

/// Bits that sort as the numbers do; both zeros are one.
fn ordered_bits(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | (1 << 31) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_the_mean_of_their_ranks() {
        assert_eq!(ranks(&[2.0, -1.0, 2.0, 0.0, -0.0, 9.0]), [4.5, 1.0, 4.5, 2.5, 2.5, 6.0]);
        assert!(ranks(&[]).is_empty());
    }

    #[test]
    fn only_the_order_matters() {
        let pairs: Vec<Pair> = (1..=100_u16).map(|k| (f32::from(k), f32::from(k).exp().min(1e30))).collect();
        assert!((spearman(&pairs[..60]).unwrap() - 1.0).abs() < 1e-12);
        let reversed: Vec<Pair> = pairs.iter().map(|&(a, b)| (-a, b)).collect();
        assert!((spearman(&reversed[..60]).unwrap() + 1.0).abs() < 1e-12);
        assert_eq!(spearman(&[(1.0, 2.0), (1.0, 3.0)]), None);
    }
}
