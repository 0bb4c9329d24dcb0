//! From the network's output to the value that is written.

use crate::minibatch::Transform;

/// Scale of the imputed values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputScale {
    /// as the network learned them: log10(count + 1) unless --transform said otherwise
    #[default]
    Log10,
    /// counts
    Counts,
}

/// What becomes of observed (non-zero) entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Policy {
    /// every entry is the network's output, as in the original
    #[default]
    Replace,
    /// observed entries keep their value
    KeepObserved,
    /// the larger of the observed and the imputed value
    Max,
}

/// Scale and policy of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finish {
    pub(super) transform: Transform,
    pub(super) scale: OutputScale,
    pub(super) policy: Policy,
}

impl Finish {
    /// The network's output `y`, on the output scale.
    pub(super) fn imputed(self, y: f32, cell_total: f64) -> f32 {
        match self.scale {
            OutputScale::Log10 => y,
            OutputScale::Counts => self.transform.inverse(y, cell_total),
        }
    }

    /// The value at an observed entry, given what [`Finish::imputed`] made of the output there.
    pub(super) fn observed(self, imputed: f32, count: f32, cell_total: f64) -> f32 {
        let observed = match self.scale {
            OutputScale::Log10 => self.transform.forward(count, cell_total),
            OutputScale::Counts => count,
        };
        match self.policy {
            Policy::Replace => imputed,
            Policy::KeepObserved => observed,
            Policy::Max => observed.max(imputed),
        }
    }

    /// The scale, for people and for `uns`.
    pub(super) fn scale_name(self) -> &'static str {
        match self.scale {
            OutputScale::Log10 => self.transform.formula(),
            OutputScale::Counts => "counts",
        }
    }
}
