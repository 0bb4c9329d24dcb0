//! `late-fast simulate`

use std::path::Path;

use super::args::{Common, SimulateArgs};
use super::memory;
use super::report::Reporter;
use crate::budget::human_bytes;
use crate::parallel;
use crate::simulate::{SimulateOptions, simulate};

pub(super) fn run(args: &SimulateArgs, common: &Common) -> anyhow::Result<()> {
    let reporter = Reporter::new(common);
    let options = SimulateOptions {
        out: args.out.clone(),
        labels: args.labels.clone().unwrap_or_else(|| args.out.with_extension("labels.csv")),
        truth: args.truth.clone(),
        n_cells: args.cells,
        n_genes: args.genes,
        density: args.density,
        layout: args.layout,
        genome: args.genome.clone(),
        n_cell_types: args.cell_types,
        seed: args.seed,
        force: common.force,
    };
    parallel::with_threads(common.threads, || {
        options.check(common.memory.unwrap_or_else(memory::available))?;
        write(&options, &reporter)
    })?
}

fn write(options: &SimulateOptions, reporter: &Reporter) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let report = {
        let step = reporter.step("simulating", options.n_cells as u64, "cells");
        simulate(options, &|cells| step.advance(cells))?
    };
    let seconds = started.elapsed().as_secs_f64();
    let mut text = format!(
        "simulated {} cells x {} genes in {seconds:.1} s: {} entries ({:.3}%, {:.1} M/s), {} molecules, the largest \
         count {}\n{} ({})\ncell types in {}",
        report.n_cells,
        report.n_genes,
        report.nnz,
        100.0 * report.density,
        report.nnz as f64 / seconds / 1e6,
        report.molecules,
        report.max_count,
        options.out.display(),
        human_bytes(report.bytes),
        options.labels.display(),
    );
    if let Some(truth) = options.truth.as_deref().map(Path::display) {
        text += &format!("\nexpected counts in {truth}");
    }
    reporter.say(&memory::peak());
    reporter.result("simulated", &report, &text)
}
