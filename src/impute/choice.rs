//! Which of two networks, one with genes and one with cells as features, imputes which gene: the one with the smaller
//! error on observed entries of the gene that were hidden from both while they were trained. (The authors' recorded
//! notebook compared with the truth, which nobody has.)

use std::ops::ControlFlow;

use late_fast_kernels::Isa;
use serde::Serialize;

use crate::config::{DEFAULT_SHUFFLE_WINDOW, Validation};
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

/// Held-out errors of one network, gene by gene.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GeneErrors {
    /// Sums of squared errors.
    sums: Vec<f64>,
    /// Entries.
    counts: Vec<u64>,
    /// Sum and number over all genes.
    all: (f64, u64),
}

impl GeneErrors {
    /// Sum and number of a gene.
    pub(super) fn of(&self, gene: usize) -> (f64, u64) {
        (self.sums[gene], self.counts[gene])
    }
}

/// Sums and numbers added up.
pub(super) fn total(parts: impl Iterator<Item = (f64, u64)>) -> (f64, u64) {
    parts.fold((0.0, 0), |(sum, count), part| (sum + part.0, count + part.1))
}

/// The mean; NaN where there is nothing.
pub(super) fn mean((sum, count): (f64, u64)) -> f64 {
    sum / count as f64
}

/// The entries that were hidden from both networks while they were trained.
///
/// # Errors
/// When they were not the same.
pub(super) fn common_holdout(genes_model: &ModelFile, cells_model: &ModelFile) -> Result<Holdout> {
    let of = |model: &ModelFile| match model.info.config.validation {
        Validation::Entries { holdout } => Ok(Holdout { share: holdout, seed: model.info.config.seed }),
        Validation::Samples { .. } => Err(Error::Usage {
            problem: format!(
                "the model with {} as features was validated on samples of its own, which the other one was trained on",
                model.info.config.features_name()
            ),
            remedy: "train both with --validation entries, or at once with --features both".into(),
        }),
    };
    let (holdout, other) = (of(genes_model)?, of(cells_model)?);
    if holdout == other {
        return Ok(holdout);
    }
    let name = |holdout: Holdout| format!("--holdout {} --seed {}", holdout.share, holdout.seed);
    Err(Error::Usage {
        problem: format!(
            "the models were trained with {} and {}: what was hidden from one, the other was trained on",
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
    let mut errors = GeneErrors { sums: vec![0.0; n_genes], counts: vec![0; n_genes], all: (0.0, 0) };
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
                let gene = match store.major() {
                    Major::Cells => columns[feature],
                    Major::Genes => batch.samples[sample as usize] as usize,
                };
                errors.sums[gene] += error;
                errors.counts[gene] += 1;
            }
        }
        progress(batch.n_samples() as u64);
        Ok(ControlFlow::Continue(()))
    })?;
    errors.all = total((0..n_genes).map(|gene| errors.of(gene)));
    Ok(errors)
}

/// The choice for `gene`, of which `known` says whether the networks with genes and with cells as features can impute
/// it. A gene without a held-out entry goes where most are better off.
pub(super) fn choose(gene: usize, known: [bool; 2], [by_genes, by_cells]: [&GeneErrors; 2]) -> Chosen {
    let own = by_genes.counts[gene] > 0 && by_cells.counts[gene] > 0;
    let [a, b] = [by_genes, by_cells].map(|errors| mean(if own { errors.of(gene) } else { errors.all }));
    match known {
        [true, true] if b < a => Chosen::Cells,
        [true, _] => Chosen::Genes,
        [false, true] => Chosen::Cells,
        [false, false] => Chosen::Neither,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_error_is_chosen_where_both_know_the_gene() {
        let by_genes = GeneErrors { sums: vec![1.0, 4.0, 0.0], counts: vec![2, 2, 0], all: (5.0, 4) };
        let by_cells = GeneErrors { sums: vec![2.0, 2.0, 0.0], counts: vec![2, 2, 0], all: (4.0, 4) };
        let chosen = |gene, known| choose(gene, known, [&by_genes, &by_cells]);
        assert_eq!([0, 1].map(|gene| chosen(gene, [true; 2])), [Chosen::Genes, Chosen::Cells]);
        // Without a held-out entry: all in all, the second network is better (4 to 5).
        assert_eq!(chosen(2, [true; 2]), Chosen::Cells);
        let known = [[true, false], [false, true], [false, false]];
        assert_eq!(known.map(|known| chosen(0, known)), [Chosen::Genes, Chosen::Cells, Chosen::Neither]);
    }
}
