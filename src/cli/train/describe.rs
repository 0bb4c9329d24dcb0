//! What `train` says of its plan and its results.

use std::path::Path;

use late_fast_kernels::Isa;
use serde::Serialize;

use super::super::input::Input;
use super::super::memory::Resident;
use crate::budget::human_bytes;
use crate::config::{TrainConfig, Validation};
use crate::matrix::Major;
use crate::parallel;
use crate::train::{Finished, Kept, Plan};

/// What samples are called.
pub(super) fn sample_nouns(config: &TrainConfig) -> &'static str {
    match config.samples {
        Major::Cells => "cells",
        Major::Genes => "genes",
    }
}

/// The plan, for people.
pub(super) fn describe_plan(
    plan: &Plan,
    config: &TrainConfig,
    input: &Input<'_>,
    isa: Isa,
    budget: u64,
) -> String {
    let (n_cells, n_genes) = (input.source.cells().len(), input.source.genes().len());
    let nnz = input.summary.tally.nnz;
    let density = 100.0 * nnz as f64 / (n_cells as f64 * n_genes as f64);
    let unobserved = input.summary_by(config.samples).col_nnz.len() - plan.architecture.n_features;
    let budget = if budget == u64::MAX { "unknown".into() } else { human_bytes(budget) };
    format!(
        "plan: {nnz} observed entries ({density:.2}% of {n_cells} cells x {n_genes} genes)\n\
         \x20     {} as features: {} ({} parameters{})\n\
         {}\x20     {} {} in {} minibatches of {} an epoch, at most {} epochs, {} threads, {isa} kernels\n\
         \x20     memory {} of {budget}: weights {}, optimiser {}, minibatches {} (before that, blocks of the input {}), \
         rest {}, {} of the mapped matrix ({}){}",
        config.features_name(),
        plan.architecture.describe(),
        plan.n_parameters,
        if unobserved > 0 { format!("; {unobserved} never observed are left out") } else { String::new() },
        plan.reference
            .as_ref()
            .map_or_else(String::new, |r| format!("      {}\n", r.describe(config.features_name()))),
        plan.n_samples,
        sample_nouns(config),
        plan.steps_per_epoch,
        config.batch_size,
        config.epochs,
        parallel::n_threads(),
        human_bytes(plan.memory_bytes()),
        human_bytes(plan.weight_bytes),
        human_bytes(plan.optimiser_bytes),
        human_bytes(plan.minibatch_bytes),
        human_bytes(plan.block_bytes),
        human_bytes(plan.fixed_bytes),
        human_bytes(plan.window_bytes),
        human_bytes(plan.store_bytes),
        describe_files(plan),
    )
}

/// What is kept in files, and what that costs.
fn describe_files(plan: &Plan) -> String {
    let bytes = human_bytes(plan.file_bytes());
    match plan.kept {
        Kept::InMemory => String::new(),
        Kept::BestInFiles => format!(
            "\n      memory is short: the copy of the best weights ({bytes}) is kept in a file and written after epochs that \
             are better"
        ),
        Kept::AllInFiles => format!(
            "\n      memory is short: weights and moments ({bytes} with the copy of the best) are kept in mapped files; a \
             step reads and writes {} of them, which is as fast as the disk and the memory left over make it",
            human_bytes(plan.file_bytes() - plan.weight_bytes / 2),
        ),
    }
}

/// What is printed at the end.
#[derive(Serialize)]
pub(super) struct TrainSummary<'a> {
    out: &'a Path,
    epochs: usize,
    best_epoch: u64,
    validation_error: f64,
    validation: Validation,
    stopped_early: bool,
    seconds: f64,
    seconds_per_epoch: f64,
    idle_share: f64,
    #[serde(flatten)]
    resident: Resident,
}

impl<'a> TrainSummary<'a> {
    pub(super) fn new(
        finished: &Finished,
        config: &TrainConfig,
        out: &'a Path,
        idle_share: f64,
        resident: Resident,
    ) -> Self {
        let seconds: f64 = finished.history.iter().map(|record| record.seconds).sum();
        Self {
            out,
            epochs: finished.history.len(),
            best_epoch: finished.model.info.best_epoch,
            validation_error: finished.model.info.best_validation_loss,
            validation: config.validation,
            stopped_early: finished.stopped_early,
            seconds,
            seconds_per_epoch: seconds / finished.history.len().max(1) as f64,
            idle_share,
            resident,
        }
    }

    pub(super) fn text(&self, scored: u64) -> String {
        let what = match self.validation {
            Validation::Entries { .. } => format!("{scored} held-out entries"),
            Validation::Samples { .. } => format!("{scored} entries of held-out samples"),
        };
        let ended = if self.stopped_early { "stopped early after" } else { "trained for" };
        format!(
            "{ended} {} epochs in {:.1} s ({:.2} s an epoch); best epoch {}: mean squared error {:.5} on {what}\n\
             {}; {:.1}% of the time went to waiting for data\n\
             model in {}",
            self.epochs,
            self.seconds,
            self.seconds_per_epoch,
            self.best_epoch,
            self.validation_error,
            self.resident.text(),
            100.0 * self.idle_share,
            self.out.display()
        )
    }
}
