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

    pub(super) fn new(transform: Transform) -> Self {
        let small_counts = match transform {
            Transform::Log10 => (0..Self::SIZE).map(|n| transform.forward(f32::from(n), 1.0)).collect(),
            Transform::RpmLog10 | Transform::AsIs => Vec::new(),
        };
        Self { transform, small_counts }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by the comparison")]
    pub(super) fn forward(&self, value: f32, cell_total: f64) -> f32 {
        match self.small_counts.get(value as usize) {
            Some(&result) if value.fract() == 0.0 => result,
            _ => self.transform.forward(value, cell_total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_decimal_and_the_lookup_agrees() {
        let lookup = Lookup::new(Transform::Log10);
        assert_eq!(lookup.forward(9.0, 1.0), 1.0);
        for value in [0.0, 1.0, 2.5, 4095.0, 4096.0, 1e6, 16_777_216.0] {
            assert_eq!(lookup.forward(value, 1.0), Transform::Log10.forward(value, 1.0));
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
