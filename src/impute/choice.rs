//! Which of two networks, one with genes and one with cells as features, imputes which gene: the one whose error is
//! smaller, judged by observed entries that were hidden from both while they were trained. (The authors' recorded
//! notebook compared with the truth, which nobody has.)

use std::ops::ControlFlow;

use late_fast_kernels::Isa;
use serde::Serialize;

use crate::config::{DEFAULT_SHUFFLE_WINDOW, TrainConfig, Validation};
use crate::error::{Error, Result};
use crate::matrix::Major;
use crate::minibatch::{Builder, Holdout, Loader, Purpose, batches_in_order};
use crate::model::{ModelFile, Workspace};
use crate::parallel;
use crate::store::Store;

/// The network whose values a gene gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chosen {
    /// The one with genes as features.
    Genes,
    /// The one with cells as features.
    Cells,
    /// Neither knows the gene: it stays 0.
    Neither,
}

impl Chosen {
    /// As `var/late_source` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Genes => "genes",
            Self::Cells => "cells",
            Self::Neither => "neither",
        }
    }
}

/// A gene's difference is shrunk by at most this many of its standard errors: of a thousand genes one exceeds it by chance.
const MOST_ERRORS: f64 = 3.0;

/// Squared errors and their number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    sum: f64,
    count: u64,
}

impl Sum {
    /// Another error.
    fn push(&mut self, error: f64) {
        self.add(Self { sum: error, count: 1 });
    }

    fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    /// All of them.
    pub(super) fn of(parts: impl Iterator<Item = Self>) -> Self {
        let mut total = Self::default();
        parts.for_each(|part| total.add(part));
        total
    }

    /// The mean; NaN where there is nothing.
    pub(super) fn mean(self) -> f64 {
        self.sum / self.count as f64
    }

    /// How many there are.
    pub(super) fn count(self) -> u64 {
        self.count
    }
}

/// Held-out errors of one network, gene by gene, those in cells of even and of odd position apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct GeneErrors(Vec<[Sum; 2]>);

impl GeneErrors {
    /// All errors of a gene.
    pub(super) fn of(&self, gene: usize) -> Sum {
        Sum::of(self.0[gene].into_iter())
    }
}

/// The entries that are hidden from both of two networks, one with genes and one with cells as features, while they are
/// trained with these settings.
///
/// # Errors
/// When they are not the same, or the networks learn different scales.
pub fn check_pair(genes: &TrainConfig, cells: &TrainConfig) -> Result<Holdout> {
    if genes.transform != cells.transform {
        let [a, b] = [genes, cells].map(|config| config.transform.formula());
        return Err(Error::Usage {
            problem: format!("the network with genes as features learns {a}, that with cells {b}"),
            remedy: "train both with the same --transform".into(),
        });
    }
    let of = |config: &TrainConfig| match config.validation {
        Validation::Entries { holdout } => Ok(Holdout { share: holdout, seed: config.seed }),
        Validation::Samples { .. } => Err(Error::Usage {
            problem: format!(
                "the network with {} as features is validated on samples of its own, which the other one is trained on",
                config.features_name()
            ),
            remedy: "train both with --validation entries, which is the default".into(),
        }),
    };
    let (holdout, other) = (of(genes)?, of(cells)?);
    if holdout == other {
        return Ok(holdout);
    }
    let name = |holdout: Holdout| format!("--holdout {} --seed {}", holdout.share, holdout.seed);
    Err(Error::Usage {
        problem: format!(
            "the networks were trained with {} and {}: what was hidden from one, the other was trained on",
            name(holdout),
            name(other)
        ),
        remedy: "train both with the same, or at once with --features both".into(),
    })
}

/// The squared errors of `model` on the held-out entries of `store` (a row a sample of the model) on the network's
/// scale. `features` maps the store's columns to the network's features. `progress` is told the samples
/// scored since it was called last.
pub(super) fn held_out_errors(
    store: &Store,
    model: &ModelFile,
    features: &[u32],
    holdout: Holdout,
    (isa, batch_size): (Isa, usize),
    progress: &dyn Fn(u64),
) -> Result<GeneErrors> {
    let info = &model.info;
    let n_genes = if store.major() == Major::Genes { store.n_rows() } else { store.n_cols() };
    let mut errors = vec![[Sum::default(); 2]; n_genes];
    let mut columns = vec![0; model.features.len()];
    for (column, &feature) in features.iter().enumerate().filter(|(_, f)| **f != Builder::NO_FEATURE) {
        columns[feature as usize] = column;
    }
    let builder =
        Builder::new(store, features, model.features.len(), info.config.transform, Some(holdout), isa);
    let mut loader = Loader::new(builder, parallel::n_threads() > 1);
    let mut workspace = Workspace::default();
    let row_nnz = &store.summary().row_nnz;
    let samples: Vec<u32> = (0_u32..).zip(row_nnz).filter(|(_, nnz)| **nnz > 0).map(|(row, _)| row).collect();
    let schedule = batches_in_order(&samples, row_nnz, DEFAULT_SHUFFLE_WINDOW, batch_size);
    let _ = loader.for_each(&schedule, 0, Purpose::Validate, |batch| {
        let found = model.network.held_out_errors(&mut workspace, batch, isa)?;
        let hidden = &batch.held_out;
        for (feature, ends) in hidden.indptr.windows(2).enumerate() {
            let entries = ends[0]..ends[1];
            for (error, &sample) in found[entries.clone()].iter().zip(&hidden.samples[entries]) {
                let sample = batch.samples[sample as usize] as usize;
                let (cell, gene) = match store.major() {
                    Major::Cells => (sample, columns[feature]),
                    Major::Genes => (columns[feature], sample),
                };
                errors[gene][cell % 2].push(*error);
            }
        }
        progress(batch.n_samples() as u64);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(GeneErrors(errors))
}

/// Compares two networks gene by gene.
///
/// Most genes have some ten held-out entries, and of hundreds of genes the worse network is better on those of some by
/// chance alone. So a gene's own difference, relative to the error's size, is shrunk towards that of all genes, the more
/// the fewer entries it has, but by three standard errors at most (empirical Bayes with limited translation: Efron and Morris
/// 1972, JASA 67:130-139). How much differences vary by chance is told by how much those of two halves of the cells differ.
pub(super) struct Comparison<'a> {
    errors: [&'a GeneErrors; 2],
    /// The relative difference over all genes; below 0 where the network with cells as features is better.
    common: f64,
    /// Variance of genes' true differences around it.
    between: f64,
    /// Variance by chance of a difference on one entry.
    within: f64,
}

impl<'a> Comparison<'a> {
    /// Of the networks with genes and with cells as features.
    pub(super) fn new(errors: [&'a GeneErrors; 2]) -> Self {
        let mut comparison = Self { errors, common: 0.0, between: 0.0, within: 0.0 };
        let differences: Vec<Difference> =
            (0..errors[0].0.len()).filter_map(|gene| comparison.difference(gene)).collect();
        // The mean over the genes that tell, each as far as it has entries; 0 where none does.
        let average = |of: &dyn Fn(&Difference) -> Option<f64>| {
            let told = differences.iter().filter_map(|d| Some((d.n, d.n * of(d)?)));
            let (n, sum) = told.fold((0.0, 0.0), |(n, sum), (more, value)| (n + more, sum + value));
            if n > 0.0 { sum / n } else { 0.0 }
        };
        comparison.common = average(&|d| Some(d.relative));
        comparison.within = average(&|d| d.by_chance);
        let (common, within) = (comparison.common, comparison.within);
        comparison.between = average(&|d| Some((d.relative - common).powi(2) - within / d.n)).max(0.0);
        comparison
    }

    /// The choice for `gene`, of which `known` says whether the networks with genes and with cells as features can
    /// impute it. A gene without a held-out entry goes where most are better off.
    pub(super) fn choose(&self, gene: usize, known: [bool; 2]) -> Chosen {
        match known {
            [true, true] if self.expected(gene) < 0.0 => Chosen::Cells,
            [true, _] => Chosen::Genes,
            [false, true] => Chosen::Cells,
            [false, false] => Chosen::Neither,
        }
    }

    /// The gene's relative difference as it may be expected on other entries.
    fn expected(&self, gene: usize) -> f64 {
        let Some(Difference { relative, n, .. }) = self.difference(gene) else { return self.common };
        let (own, noise) = (self.between, self.within / n);
        if own + noise == 0.0 {
            return relative;
        }
        let shrunk = (own * relative + noise * self.common) / (own + noise);
        let most = MOST_ERRORS * noise.sqrt();
        shrunk.clamp(relative - most, relative + most)
    }

    fn difference(&self, gene: usize) -> Option<Difference> {
        let halves = self.errors.map(|errors| errors.0[gene]);
        let [a, b] = self.errors.map(|errors| errors.of(gene));
        let size = (a.mean() + b.mean()) / 2.0;
        let difference = |a: Sum, b: Sum| (b.mean() - a.mean()) / size;
        let relative = difference(a, b);
        let [even, odd] = [0, 1].map(|half| difference(halves[0][half], halves[1][half]));
        let inverse = |half: usize| (halves[0][half].count as f64).recip();
        let by_chance = (even - odd).powi(2) / (inverse(0) + inverse(1));
        let n = a.count as f64;
        // A gene whose entries are all in one half tells nothing of chance.
        let by_chance = by_chance.is_finite().then_some(by_chance);
        relative.is_finite().then_some(Difference { relative, by_chance, n })
    }
}

/// How much worse the network with cells as features is.
struct Difference {
    /// Difference of the mean squared errors, as a share of their mean.
    relative: f64,
    /// An estimate of how much that varies by chance on one entry, if both halves of the cells have some.
    by_chance: Option<f64>,
    /// Entries.
    n: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gene with `n` entries in either half, each with this error but for some noise of alternating sign.
    fn gene(n: u64, error: f64, noise: f64) -> [Sum; 2] {
        [noise, -noise].map(|noise| Sum { sum: n as f64 * (error + noise / (n as f64).sqrt()), count: n })
    }

    #[test]
    fn clear_differences_decide_and_noise_does_not() {
        // Twice fifty genes of the same kind: the second network is worse by a tenth, but for noise.
        let by_genes: Vec<_> = (0..100).map(|_| gene(8, 1.0, 0.0)).collect();
        let mut by_cells: Vec<_> =
            (0..100).map(|i| gene(8, if i % 4 == 0 { 0.95 } else { 1.15 }, 0.5)).collect();
        // One gene that is better by half, on many entries.
        by_cells[50] = gene(800, 0.5, 0.5);
        let errors = [GeneErrors(by_genes), GeneErrors(by_cells)];
        let comparison = Comparison::new(errors.each_ref());
        let chosen = |gene| comparison.choose(gene, [true; 2]);
        assert_eq!(chosen(50), Chosen::Cells);
        let others = (0..100).filter(|&gene| gene != 50);
        assert!(others.clone().all(|gene| chosen(gene) == Chosen::Genes));
    }

    #[test]
    fn what_only_one_network_knows_is_its() {
        let errors = GeneErrors(vec![gene(2, 1.0, 0.0), [Sum::default(); 2]]);
        let worse = GeneErrors(vec![gene(2, 2.0, 0.0), [Sum::default(); 2]]);
        let comparison = Comparison::new([&worse, &errors]);
        // Without an entry of its own, a gene follows the others.
        assert_eq!([0, 1].map(|gene| comparison.choose(gene, [true; 2])), [Chosen::Cells; 2]);
        let known = [[true, false], [false, true], [false, false]];
        let chosen = known.map(|known| comparison.choose(0, known));
        assert_eq!(chosen, [Chosen::Genes, Chosen::Cells, Chosen::Neither]);
        let nothing = GeneErrors(vec![[Sum::default(); 2]]);
        assert_eq!(Comparison::new([&nothing, &nothing]).choose(0, [true; 2]), Chosen::Genes);
    }
}
