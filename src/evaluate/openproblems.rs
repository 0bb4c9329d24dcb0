//! The two losses of the Open Problems denoising task, where the truth is other molecules of the same cells.
//!
//! `task_denoising` (github.com/openproblems-bio, `src/metrics/mse/script.py`): both matrices are normalised to 10,000
//! a cell and log1p is taken; the mean squared difference over all entries. `src/metrics/poisson/script.py`: denoised
//! counts are scaled by the ratio of the molecules of test and training; the mean of p - t * ln(p + 1e-6) with p the
//! denoised and t the test counts. In the task's first version (`openproblems/tasks/denoising/metrics/poisson.py`) the
//! two arguments were exchanged: p the test and t the denoised counts. Scores of that version are still quoted.

use serde::Serialize;

use super::moments::finite;

const TARGET_SUM: f64 = 1e4;
const EPSILON: f64 = 1e-6;

/// Sums over some cells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    n: f64,
    squares: f64,
    poisson: f64,
    exchanged: f64,
}

/// The task's scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OpenProblems {
    /// Mean squared error of ln(1 + 10,000 x / total).
    pub mse: Option<f64>,
    /// Mean of p - t ln(p + 1e-6), p denoised, t test: the textbook's, and the task's since its second version.
    pub poisson: Option<f64>,
    /// The same with denoised and test counts exchanged: the task's first version.
    pub poisson_task_order: Option<f64>,
    /// Molecules of the input, over the cells and genes of all files.
    pub train_sum: f64,
    /// Molecules of the test counts.
    pub test_sum: f64,
}

impl Losses {
    /// Adds a cell; denoised counts are multiplied by `ratio` for the Poisson losses.
    pub(super) fn add_cell(&mut self, denoised: &[f64], test: &[f64], ratio: f64) {
        let factor = |counts: &[f64]| {
            let total: f64 = counts.iter().sum();
            // An empty cell stays empty.
            if total == 0.0 { 1.0 } else { TARGET_SUM / total }
        };
        let (denoised_factor, test_factor) = (factor(denoised), factor(test));
        for (&denoised, &test) in denoised.iter().zip(test) {
            let difference = (denoised * denoised_factor).ln_1p() - (test * test_factor).ln_1p();
            self.squares += difference * difference;
            let expected = denoised * ratio;
            self.poisson += expected - test * (expected + EPSILON).ln();
            self.exchanged += test - expected * (test + EPSILON).ln();
        }
        self.n += denoised.len() as f64;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.squares += other.squares;
        self.poisson += other.poisson;
        self.exchanged += other.exchanged;
    }

    pub(super) fn scores(&self, train_sum: f64, test_sum: f64) -> OpenProblems {
        let mean = |sum: f64| finite(sum / self.n);
        OpenProblems {
            mse: mean(self.squares),
            poisson: mean(self.poisson),
            poisson_task_order: mean(self.exchanged),
            train_sum,
            test_sum,
        }
    }
}
