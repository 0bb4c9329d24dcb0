//! `late-fast mask`, `late-fast downsample`, `late-fast split`: benchmark inputs made from a matrix.

use std::path::Path;
use std::time::Instant;

use super::args::{Common, DownsampleArgs, MaskArgs, MatrixArgs, SourceArgs, SplitArgs};
use super::input::{Input, Steps, entries};
use super::memory;
use super::outputs::check_output;
use super::report::Reporter;
use crate::atomic::{is_same_name, parent};
use crate::budget::{self, human_bytes};
use crate::error::{Error, Result};
use crate::io::{self, Source};
use crate::matrix::{Axis, Major};
use crate::output::Format;
use crate::parallel;
use crate::perturb::{
    self, Amount, DownsampleOptions, Keep, MaskOptions, Setup, SplitOptions, Written, memory_bytes,
};
use crate::store::{Prepared, StoreDtype, Storing};

/// The matrices of a masked h5ad file: its own, the truth and the hidden entries.
const MASK_MATRICES: usize = 3;

pub(super) fn mask(args: &MaskArgs, common: &Common) -> anyhow::Result<()> {
    let keep = match (args.density, args.keep) {
        (Some(density), _) => Keep::Density(density),
        (None, share) => Keep::Share(share.unwrap_or(1.0)),
    };
    keep.check()?;
    let options = MaskOptions { keep, truth: !args.no_truth, setup: setup(&args.source, common) };
    let has_layers = Format::of(&args.out)? == Format::H5ad && !args.no_truth;
    let n_matrices = if has_layers { MASK_MATRICES } else { 1 };
    run(
        &args.source.task(),
        &[with_format(&args.out)?],
        n_matrices,
        common,
        |source, prepared, progress, started| {
            let report = perturb::mask(source, prepared, &options, &args.out, progress)?;
            let mut text = format!(
                "masked {} of {} entries ({}): {} stay, {:.6} of cells x genes; the input had {:.6}\n{}",
                report.hidden,
                report.input_nnz,
                rate(report.input_nnz, started),
                report.output.nnz,
                report.output.density,
                report.input_density,
                describe(&report.output),
            );
            let truth = args.source.path.display();
            text += &if report.truth {
                "\nlayers/truth has all entries, layers/masked is 1 where one is hidden".to_owned()
            } else {
                format!("\nthe truth is the input itself: {truth}{}", args.source.matrix.as_typed())
            };
            Ok(("masked", report, text))
        },
    )
}

pub(super) fn downsample(args: &DownsampleArgs, common: &Common) -> anyhow::Result<()> {
    let amount = match (args.fraction, args.per_cell, args.total) {
        (Some(fraction), _, _) => Amount::Fraction(fraction),
        (None, Some(n), _) => Amount::PerCell(n),
        (None, None, n) => Amount::Total(n.unwrap_or(0)),
    };
    amount.check()?;
    let options = DownsampleOptions { amount, setup: setup(&args.source, common) };
    run(&args.source.task(), &[with_format(&args.out)?], 1, common, |source, prepared, progress, started| {
        let report = perturb::downsample(source, prepared, &options, &args.out, progress)?;
        let mut text = format!(
            "kept {} of {} molecules and {} of {} entries ({})",
            report.output.molecules.unwrap_or(0),
            report.input_molecules,
            report.output.nnz,
            report.input_nnz,
            rate(report.input_nnz, started),
        );
        if let Amount::PerCell(n) = amount {
            text += &format!(
                "; {} of {} cells have fewer than {n} molecules and stay as they are",
                report.smaller_cells, report.n_cells
            );
        }
        text += &format!("\n{}", describe(&report.output));
        Ok(("downsampled", report, text))
    })
}

pub(super) fn split(args: &SplitArgs, common: &Common) -> anyhow::Result<()> {
    let options = SplitOptions { fraction: args.fraction, setup: setup(&args.source, common) };
    options.check()?;
    if is_same_name(&args.train, &args.test) {
        let problem = format!("{} would be written twice", args.train.display());
        let remedy = "give --train and --test names of their own".into();
        return Err(Error::Usage { problem, remedy }.into());
    }
    let outputs = [with_format(&args.train)?, with_format(&args.test)?];
    let task = args.source.task();
    run(&task, &outputs, outputs.len(), common, |source, prepared, progress, started| {
        let paths = outputs.map(|(path, _)| path);
        let report = perturb::split(source, prepared, &options, paths, progress)?;
        let molecules = |written: &Written| written.molecules.unwrap_or(0);
        let (train, test) = (molecules(&report.train), molecules(&report.test));
        let text = format!(
            "split {} molecules of {} entries ({}): {train} ({:.3}%) for training, {test} for testing\n{}\n{}",
            train + test,
            report.input_nnz,
            rate(report.input_nnz, started),
            100.0 * train as f64 / (train + test).max(1) as f64,
            describe(&report.train),
            describe(&report.test),
        );
        Ok(("split", report, text))
    })
}

fn setup(args: &SourceArgs, common: &Common) -> Setup {
    let (seed, selection) = (args.seed, args.matrix.as_typed());
    Setup { seed, selection, force: common.force, ..Setup::default() }
}

/// The matrix that something is made from.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) path: &'a Path,
    pub(super) matrix: &'a MatrixArgs,
    /// Where the unpacked matrix is kept.
    pub(super) cache: Option<&'a Path>,
}

impl SourceArgs {
    fn task(&self) -> Task<'_> {
        Task { path: &self.path, matrix: &self.matrix, cache: self.cache.as_deref() }
    }
}

/// An output and the format that its name says.
fn with_format(path: &Path) -> Result<(&Path, Format)> {
    Ok((path, Format::of(path)?))
}

/// Opens the matrix with rows of cells and lets `work` write the outputs, of `n_matrices` in all; then says what `work` tells: an
/// event, the report of it, and the same for people.
pub(super) fn run<R, W>(
    task: &Task<'_>,
    outputs: &[(&Path, Format)],
    n_matrices: usize,
    common: &Common,
    work: W,
) -> anyhow::Result<()>
where
    R: serde::Serialize,
    W: FnOnce(
            &dyn Source,
            &Prepared,
            &dyn Fn(&'static str, u64),
            Instant,
        ) -> Result<(&'static str, R, String)>
        + Send,
{
    let reporter = Reporter::new(common);
    let read = io::files(task.path, &task.matrix.options())?;
    for &(output, format) in outputs {
        check_output(output, format, &read, common.force)?;
    }
    parallel::with_threads(common.threads, || {
        let allowed = common.memory.unwrap_or_else(memory::available);
        let dir = match (task.cache, outputs) {
            (Some(dir), _) => dir,
            (None, [(first, _), ..]) => parent(first),
            (None, []) => Path::new("."),
        };
        let storing = Storing { dir, wanted: &[Major::Cells], memory: allowed, cache: None };
        let keep = task.cache.is_some();
        let dtype = StoreDtype::F32;
        let input = Input::open(task.path, task.matrix, dtype, Some(&storing), keep, allowed, &reporter)?;
        let nnz = input.summary.tally.nnz;
        let needed = memory_bytes(input.source.as_ref(), nnz, n_matrices);
        budget::check(needed, allowed, || "allow more with --memory".into())?;
        let (source, prepared) = input.prepare(&storing, &reporter)?;
        note_losses(source.as_ref(), outputs, &reporter);
        let rounded = outputs.iter().map(|&(_, format)| perturb::rounded(&prepared, format)).max();
        if let Some(rounded) = rounded.filter(|&rounded| rounded > 0) {
            reporter.say(&format!(
                "note: rounded values: {rounded}; they are kept as 32-bit numbers, with about 7 digits"
            ));
        }
        let started = Instant::now();
        let total = entries(nnz);
        let steps = Steps::new(&reporter, &total);
        let done = work(source.as_ref(), &prepared, &|name, n| steps.advance(name, n), started);
        // The last step ends before anything else is said.
        drop(steps);
        let (event, report, text) = done?;
        let told = reporter.result(event, &report, &text);
        reporter.say(&memory::peak());
        Ok::<_, Error>(told)
    })??
}

/// Says what the formats have no place for.
fn note_losses(source: &dyn Source, outputs: &[(&Path, Format)], reporter: &Reporter) {
    fn names(axis: &Axis) -> impl Iterator<Item = &str> {
        axis.columns.iter().map(|(name, _)| name.as_str())
    }
    let mut told = Vec::new();
    for kept in outputs.iter().map(|(_, format)| format.keeps()) {
        if told.contains(&kept.name) {
            continue;
        }
        told.push(kept.name);
        let cells: Vec<&str> = names(source.cells()).filter(|_| !kept.cell_columns).collect();
        let is_lost = |name: &&str| kept.gene_columns.is_some_and(|known| !known.contains(name));
        let genes: Vec<&str> = names(source.genes()).filter(is_lost).collect();
        for (columns, noun) in [(cells, "cells"), (genes, "genes")] {
            if !columns.is_empty() {
                let (name, columns) = (kept.name, columns.join(", "));
                let line = format!(
                    "note: {name} files have no place for columns of {noun} ({columns}): .h5ad keeps them"
                );
                reporter.say(&line);
            }
        }
    }
}

/// Time since `started`, and entries a second.
pub(super) fn rate(entries: u64, started: Instant) -> String {
    let seconds = started.elapsed().as_secs_f64();
    format!("{seconds:.1} s, {:.1} million/s", entries as f64 / 1e6 / seconds.max(1e-3))
}

/// The file, and what has become empty.
pub(super) fn describe(written: &Written) -> String {
    let mut text = format!("{} ({})", written.path.display(), human_bytes(written.bytes));
    if written.emptied_cells + written.emptied_genes > 0 {
        text += &format!(
            ": {} cells and {} genes have no entry left; they stay on the axes",
            written.emptied_cells, written.emptied_genes
        );
    }
    text
}
