//! The scale of imputed values, and what they are as log10(count + 1) and as counts.

use std::f64::consts::LN_10;

/// Scale of imputed values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scale {
    /// log10(count + 1)
    Log10,
    /// ln(count + 1), as scanpy's log1p
    Ln,
    /// counts
    Counts,
    /// log10(1e6 * count / (the cell's total) + 1)
    #[value(skip)]
    RpmLog10,
}

const READS_PER_MILLION: f64 = 1e6;

impl Scale {
    /// What `uns/late_fast/scale` of an imputed file says. Values as they were in the input are taken for counts, as
    /// the input's own are.
    pub fn of_record(text: &str) -> Option<Self> {
        match text {
            "log10(x+1)" => Some(Self::Log10),
            "counts" | "x" => Some(Self::Counts),
            "log10(1e6*x/cell_total+1)" => Some(Self::RpmLog10),
            _ => None,
        }
    }

    /// The formula, for people.
    pub fn formula(self) -> &'static str {
        match self {
            Self::Log10 => "log10(x+1)",
            Self::Ln => "ln(x+1)",
            Self::Counts => "counts",
            Self::RpmLog10 => "log10(1e6*x/cell_total+1)",
        }
    }

    /// `value`, of a cell with this total in the input, as log10(count + 1) and as a count. There are no counts below 0:
    /// a negative value is taken for 0, whatever its scale.
    #[inline]
    pub fn convert(self, value: f64, cell_total: f64) -> (f64, f64) {
        let log = |count: f64| count.ln_1p() / LN_10;
        let value = value.max(0.0);
        match self {
            Self::Log10 => (value, (value * LN_10).exp_m1()),
            Self::Ln => (value / LN_10, value.exp_m1()),
            Self::Counts => (log(value), value),
            Self::RpmLog10 => {
                let count = (value * LN_10).exp_m1() * cell_total / READS_PER_MILLION;
                (log(count), count)
            }
        }
    }
}

/// log10(count + 1), looked up for small whole counts.
#[derive(Clone, Debug)]
pub(super) struct Logs(Vec<f64>);

impl Logs {
    const SIZE: u32 = 4096;

    pub(super) fn new() -> Self {
        Self((0..Self::SIZE).map(|count| (f64::from(count) + 1.0).log10()).collect())
    }

    #[inline]
    pub(super) fn of(&self, count: f64) -> f64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "compared afterwards")]
        let whole = count as usize;
        match self.0.get(whole) {
            Some(&log) if whole as f64 == count => log,
            _ => (count + 1.0).log10(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scale_leads_to_the_same_count() {
        for count in [0.0_f64, 0.25, 1.0, 9.0, 5000.0] {
            for (scale, value) in [
                (Scale::Log10, (count + 1.0).log10()),
                (Scale::Ln, (count + 1.0).ln()),
                (Scale::Counts, count),
                (Scale::RpmLog10, (count * 1e6 / 2500.0 + 1.0).log10()),
            ] {
                let (log, back) = scale.convert(value, 2500.0);
                assert!((back - count).abs() <= 1e-9 * (count + 1.0), "{scale:?} {count} {back}");
                assert!((log - Logs::new().of(count)).abs() < 1e-12, "{scale:?} {count} {log}");
            }
        }
    }

    #[test]
    fn negative_values_are_no_counts_on_any_scale() {
        for scale in [Scale::Log10, Scale::Ln, Scale::Counts, Scale::RpmLog10] {
            assert_eq!(scale.convert(-0.3, 2500.0), (0.0, 0.0), "{scale:?}");
        }
    }
}
