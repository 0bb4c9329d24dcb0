//! Counts to the scale the network learns, and back.

/// What is done to a count before the network sees it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Transform {
    /// log10(count + 1)
    #[default]
    Log10,
    /// log10(1e6 * count / (the cell's total) + 1)
    RpmLog10,
    /// the values as they are
    AsIs,
}

const READS_PER_MILLION: f64 = 1e6;

impl Transform {
    /// The formula, for people and for the imputed file.
    pub fn formula(self) -> &'static str {
        match self {
            Self::Log10 => "log10(x+1)",
            Self::RpmLog10 => "log10(1e6*x/cell_total+1)",
            Self::AsIs => "x",
        }
    }

    /// `count` of a cell with the given total, on the network's scale.
    #[expect(clippy::cast_possible_truncation, reason = "the network computes in f32")]
    pub fn forward(self, count: f32, cell_total: f64) -> f32 {
        let count = f64::from(count);
        match self {
            Self::Log10 => (count + 1.0).log10() as f32,
            Self::RpmLog10 => (READS_PER_MILLION * count / cell_total + 1.0).log10() as f32,
            Self::AsIs => count as f32,
        }
    }

    /// The count that [`Transform::forward`] maps to `value`.
    pub fn inverse(self, value: f32, cell_total: f64) -> f32 {
        const LN_10: f32 = std::f32::consts::LN_10;
        match self {
            Self::Log10 => (value * LN_10).exp_m1(),
            #[expect(clippy::cast_possible_truncation, reason = "the network computes in f32")]
            Self::RpmLog10 => (value * LN_10).exp_m1() * (cell_total / READS_PER_MILLION) as f32,
            Self::AsIs => value,
        }
    }
}

/// A transform with its values for small whole counts looked up.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    transform: Transform,
    small_counts: Vec<f32>,
}

impl Lookup {
    const SIZE: u16 = 4096;
    /// Counts that are worth a table for one cell: nearly all are below.
    const SIZE_PER_CELL: u16 = 64;

    pub(super) fn new(transform: Transform) -> Self {
        let mut lookup = Self { transform, small_counts: Vec::new() };
        if transform == Transform::Log10 {
            lookup.fill(Self::SIZE, 1.0);
        }
        lookup
    }

    /// Prepares for `n_entries` calls of [`Lookup::forward`] with this total.
    pub(super) fn set_cell_total(&mut self, cell_total: f64, n_entries: usize) {
        if self.transform == Transform::RpmLog10 {
            let pays = n_entries > usize::from(Self::SIZE_PER_CELL);
            self.fill(if pays { Self::SIZE_PER_CELL } else { 0 }, cell_total);
        }
    }

    fn fill(&mut self, size: u16, cell_total: f64) {
        self.small_counts.clear();
        self.small_counts.extend((0..size).map(|n| self.transform.forward(f32::from(n), cell_total)));
    }

    /// As [`Transform::forward`]. After [`Lookup::set_cell_total`], for that total only.
    #[inline]
    pub(super) fn forward(&self, value: f32, cell_total: f64) -> f32 {
        // From here on an f32 has no bits for fractions: the sum's low bits are the rounded value. Without SSE4.1,
        // `fract` is a call, and a cast takes six instructions to saturate.
        const TWO_POW_23: f32 = 8_388_608.0;
        let rounded = value + TWO_POW_23;
        let count = rounded.to_bits().wrapping_sub(TWO_POW_23.to_bits());
        match self.small_counts.get(count as usize) {
            Some(&result) if (rounded - TWO_POW_23).to_bits() == value.to_bits() => result,
            _ => self.transform.forward(value, cell_total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD_VALUES: [f32; 13] = [
        0.0,
        1e-30,
        0.5,
        0.999_999_94,
        1.0,
        2.5,
        63.0,
        64.0,
        4095.0,
        4095.5,
        4096.0,
        8_388_609.0,
        16_777_216.0,
    ];

    #[test]
    fn log_is_decimal_and_the_lookup_agrees() {
        let lookup = Lookup::new(Transform::Log10);
        assert_eq!(lookup.forward(9.0, 1.0), 1.0);
        for value in ODD_VALUES {
            assert_eq!(lookup.forward(value, 1.0), Transform::Log10.forward(value, 1.0));
        }
    }

    #[test]
    fn a_cell_has_its_own_lookup() {
        let mut lookup = Lookup::new(Transform::RpmLog10);
        for (total, n_entries) in [(2500.0, 1000), (10.0, 3), (77.0, 100)] {
            lookup.set_cell_total(total, n_entries);
            for value in ODD_VALUES {
                assert_eq!(lookup.forward(value, total), Transform::RpmLog10.forward(value, total));
            }
        }
    }

    #[test]
    fn inverse_undoes_forward() {
        for transform in [Transform::Log10, Transform::RpmLog10, Transform::AsIs] {
            for count in [1.0, 3.0, 419.0, 70_000.0] {
                let back = transform.inverse(transform.forward(count, 2500.0), 2500.0);
                assert!((back - count).abs() <= 2e-5 * count, "{transform:?}: {count} became {back}");
            }
        }
    }
}
