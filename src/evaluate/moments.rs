//! Sums over pairs of values, and over values, that can be put together from parts.

use serde::Serialize;

/// Means, squares and products of pairs (value, reference) about their means, and errors. Constant values have squares
/// of exactly 0, in whatever parts they come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    n: f64,
    mean: [f64; 2],
    /// Sums of squares about the mean.
    squares: [f64; 2],
    /// The sum of products about the means.
    products: f64,
    /// Sum, sum of squares and sum of magnitudes of value - reference.
    errors: [f64; 3],
}

impl Moments {
    /// Adds a pair.
    #[inline]
    pub fn push(&mut self, value: f64, reference: f64) {
        self.n += 1.0;
        let deltas = [value - self.mean[0], reference - self.mean[1]];
        let weight = 1.0 / self.n;
        self.mean[0] += deltas[0] * weight;
        self.mean[1] += deltas[1] * weight;
        let rest = [value - self.mean[0], reference - self.mean[1]];
        self.squares[0] += deltas[0] * rest[0];
        self.squares[1] += deltas[1] * rest[1];
        self.products += deltas[0] * rest[1];
        let error = value - reference;
        self.errors[0] += error;
        self.errors[1] += error * error;
        self.errors[2] += error.abs();
    }

    /// Adds the pairs of `other`.
    pub fn add(&mut self, other: &Self) {
        if other.n == 0.0 {
            return;
        }
        if self.n == 0.0 {
            // n * mean / n is not always the mean, and what is left of it would be a variance of constant values.
            *self = *other;
            return;
        }
        let n = self.n + other.n;
        let deltas = [other.mean[0] - self.mean[0], other.mean[1] - self.mean[1]];
        let weight = self.n * other.n / n;
        for (side, delta) in deltas.into_iter().enumerate() {
            self.squares[side] += other.squares[side] + delta * delta * weight;
            self.mean[side] += delta * other.n / n;
        }
        self.products += other.products + deltas[0] * deltas[1] * weight;
        for (own, more) in self.errors.iter_mut().zip(other.errors) {
            *own += more;
        }
        self.n = n;
    }

    /// The number of pairs.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, exact below 2^53")]
    pub fn n(&self) -> u64 {
        self.n as u64
    }

    /// The means of values and references.
    pub fn means(&self) -> [f64; 2] {
        self.mean
    }

    /// The variances of values and references, divided by n.
    pub fn variances(&self) -> [f64; 2] {
        self.squares.map(|squares| squares / self.n.max(1.0))
    }

    /// Pearson's correlation; none where either side is constant.
    pub fn pearson(&self) -> Option<f64> {
        let scale = (self.squares[0] * self.squares[1]).sqrt();
        finite(self.products / scale).map(|r| r.clamp(-1.0, 1.0))
    }

    /// The ratio of standard deviations, value to reference; none where the reference is constant.
    pub fn sd_ratio(&self) -> Option<f64> {
        finite((self.squares[0] / self.squares[1]).sqrt())
    }

    /// The mean of value - reference.
    pub fn bias(&self) -> Option<f64> {
        finite(self.errors[0] / self.n)
    }

    /// The mean squared error.
    pub fn mse(&self) -> Option<f64> {
        finite(self.errors[1] / self.n)
    }

    /// The mean absolute error.
    pub fn mae(&self) -> Option<f64> {
        finite(self.errors[2] / self.n)
    }

    /// The root of the mean squared error.
    pub fn rmse(&self) -> Option<f64> {
        self.mse().map(f64::sqrt)
    }
}

/// Numbers only: what cannot be computed is missing.
pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// How some values are distributed; missing ones are counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Distribution {
    /// Values.
    pub n: u64,
    /// Values that are not defined.
    pub undefined: u64,
    /// The quartiles, interpolated between neighbours.
    pub q1: Option<f64>,
    /// The median.
    pub median: Option<f64>,
    /// The third quartile.
    pub q3: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
}

impl Distribution {
    /// Of values, some of which are missing.
    pub fn of(values: impl Iterator<Item = Option<f64>>) -> Self {
        let mut undefined = 0;
        let mut known: Vec<f64> = values
            .filter_map(|value| {
                undefined += u64::from(value.is_none());
                value
            })
            .collect();
        let mean = finite(known.iter().sum::<f64>() / known.len() as f64);
        known.sort_unstable_by(f64::total_cmp);
        let [q1, median, q3] = [0.25, 0.5, 0.75].map(|share| quantile(&known, share));
        Self { n: known.len() as u64, undefined, q1, median, q3, mean }
    }
}

/// The value at a share of the way through sorted values, interpolated as NumPy does by default.
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * (sorted.len().checked_sub(1)?) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position")]
    let below = place.floor() as usize;
    let low = sorted[below];
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    Some(low + (high - low) * (place - below as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> Vec<(f64, f64)> {
        (0..1000_u32)
            .map(|k| (f64::from(k * 7919 % 1000) / 100.0, f64::from(k * 104_729 % 997) / 50.0))
            .collect()
    }

    fn of(pairs: &[(f64, f64)]) -> Moments {
        let mut moments = Moments::default();
        pairs.iter().for_each(|&(value, reference)| moments.push(value, reference));
        moments
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let pairs = pairs();
        let whole = of(&pairs);
        let mut parts = Moments::default();
        for part in [&pairs[..1], &pairs[1..1], &pairs[1..300], &pairs[300..]] {
            parts.add(&of(part));
        }
        for (a, b) in [
            (whole.pearson(), parts.pearson()),
            (whole.sd_ratio(), parts.sd_ratio()),
            (whole.mse(), parts.mse()),
            (whole.bias(), parts.bias()),
        ] {
            assert!((a.unwrap() - b.unwrap()).abs() < 1e-12, "{a:?} {b:?}");
        }
        assert_eq!(parts.n(), 1000);
    }

    #[test]
    fn constant_values_have_no_correlation_in_any_parts() {
        for level in (1..2000).map(|k| f64::from(k).log10()) {
            let constant: Vec<_> = pairs()[..40].iter().map(|&(value, _)| (value, level)).collect();
            let mut parts = Moments::default();
            for part in [&constant[..7], &constant[7..20], &constant[20..]] {
                parts.add(&of(part));
            }
            assert_eq!((parts.pearson(), parts.sd_ratio(), parts.means()[1]), (None, None, level));
        }
        assert_eq!(Moments::default().mse(), None);
    }

    #[test]
    fn quantiles_are_numpys() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.25), Some(1.75));
        assert_eq!(quantile(&[5.0], 0.75), Some(5.0));
        assert_eq!(quantile(&[], 0.5), None);
        let values = [Some(3.0), None, Some(1.0), Some(2.0)];
        let distribution = Distribution::of(values.into_iter());
        assert_eq!((distribution.n, distribution.undefined, distribution.median), (3, 1, Some(2.0)));
    }
}
