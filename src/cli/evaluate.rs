//! `late-fast evaluate`

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::args::{Common, EvaluateArgs, MatrixArgs};
use super::input::Input;
use super::memory;
use super::report::{Reporter, Step};
use crate::CAUTION;
use crate::atomic::{Pending, ResultDirectory, parent};
use crate::error::{Error, Result};
use crate::evaluate::{
    Evaluation, Imputed, ImputedRows, Inputs, LabelSource, Matrix, Metrics, Options, Scale, TrainedRun,
    evaluate, refuse_tables,
};
use crate::hdf::{HdfFile, has_signature};
use crate::io::{self, ReadOptions, Source, Values};
use crate::matrix::Major;
use crate::parallel;
use crate::report;
use crate::store::{Prepared, StoreDtype, Storing};

/// The layer `late-fast impute` writes, and what it says of it.
const LAYER: &str = "late";
const RECORD: &str = "uns/late_fast";

pub(super) fn run(args: &EvaluateArgs, common: &Common) -> anyhow::Result<()> {
    let reporter = Reporter::new(common);
    if args.max_cells == 0 || args.components == 0 {
        return Err(Error::Usage {
            problem: "--max-cells 0 or --components 0 leave nothing to compare".into(),
            remedy: "give numbers above 0".into(),
        }
        .into());
    }
    refuse_tables(&args.out, common.force)?;
    report::refuse_existing(&args.out, common.force)?;
    let budget = common.memory.unwrap_or_else(memory::available);
    parallel::with_threads(common.threads, || Job { args, common, budget, reporter: &reporter }.run())?
}

/// A command line as meant.
struct Job<'a> {
    args: &'a EvaluateArgs,
    common: &'a Common,
    /// Bytes of memory.
    budget: u64,
    reporter: &'a Reporter,
}

/// A matrix with its store.
struct Opened {
    source: Box<dyn Source>,
    prepared: Prepared,
}

impl Opened {
    fn matrix(&self) -> Matrix<'_> {
        let Some(store) = self.prepared.with_rows(Major::Cells) else {
            unreachable!("this orientation was asked for")
        };
        Matrix { source: self.source.as_ref(), store }
    }
}

/// The imputed matrix as opened.
struct OpenedImputed {
    source: Box<dyn Source>,
    /// Where the file is stored gene by gene.
    stored: Option<Opened>,
    scale: Scale,
    record: Vec<(String, String)>,
}

impl Job<'_> {
    fn run(&self) -> anyhow::Result<()> {
        let args = self.args;
        // The cheap records first: what is wrong with them is told at once.
        let run = args.model.as_deref().map(TrainedRun::read).transpose()?;
        let directory = ResultDirectory::open(&args.out)?;
        let imputed = self.open_imputed()?;
        let input = self.open(&args.input, args.matrix.clone())?;
        let open = |path: &PathBuf, layer: &Option<String>| {
            self.open(path, meant_for(path, &args.matrix, layer.clone())?)
        };
        let truth = args.truth.as_ref().map(|path| open(path, &args.truth_layer)).transpose()?;
        let test = args.test.as_ref().map(|path| open(path, &args.test_layer)).transpose()?;
        let labels = match (&args.labels, &args.labels_column) {
            (Some(path), column) => Some(LabelSource::Table(path, column.as_deref())),
            (None, Some(column)) => Some(LabelSource::Column(column)),
            (None, None) => None,
        };
        let inputs = Inputs {
            input: input.matrix(),
            truth: truth.as_ref().map(Opened::matrix),
            test: test.as_ref().map(Opened::matrix),
            imputed: Imputed {
                source: imputed.source.as_ref(),
                rows: match &imputed.stored {
                    Some(opened) => ImputedRows::Store(opened.matrix().store),
                    None => ImputedRows::Stream(imputed.source.as_ref()),
                },
                scale: imputed.scale,
                record: &imputed.record,
            },
            labels,
            run: run.as_ref(),
        };
        let options = Options {
            components: args.components,
            max_cells: args.max_cells,
            correlated_genes: args.correlated_genes,
            gene_pairs: args.gene_pairs.clone(),
            tsne: !args.no_tsne,
            memory: self.budget,
            seed: args.seed,
            ..Options::default()
        };
        let evaluation = {
            let steps = Steps { reporter: self.reporter, current: RefCell::new(None) };
            evaluate(&inputs, &options, &|name, n, all| steps.advance(name, n, all))?
        };
        self.tell_notes(&evaluation);
        let report = report::prepare(&evaluation.report, &args.out, self.common.force)?;
        let tables = evaluation.prepare(&args.out, self.common.force)?;
        report.publish()?;
        // The metrics come last: with them, everything is there.
        tables.into_iter().try_for_each(Pending::publish)?;
        drop(directory);
        self.reporter.say(&memory::peak());
        let text = format!(
            "{}\n{}: the report; beside it metrics.json, tables, figures and their data\ncaution: {CAUTION}",
            evaluation.metrics.screen().trim_end(),
            args.out.join(report::PAGE_FILE).display()
        );
        self.reporter.result("evaluated", &evaluation.metrics, &text)
    }

    /// Unpacks a matrix of counts cell by cell.
    fn open(&self, path: &Path, matrix: MatrixArgs) -> Result<Opened> {
        let args = self.args;
        let dir = args.cache.clone().unwrap_or_else(|| parent(&args.out).to_owned());
        let wanted = [Major::Cells];
        let storing = Storing { dir: &dir, wanted: &wanted, memory: self.budget, cache: None };
        let keep = args.cache.is_some();
        let dtype = StoreDtype::F32;
        let input = Input::open(path, &matrix, dtype, Some(&storing), keep, self.budget, self.reporter)?;
        let (source, prepared) = input.prepare(&storing, self.reporter)?;
        Ok(Opened { source, prepared })
    }

    fn open_imputed(&self) -> Result<OpenedImputed> {
        let args = self.args;
        let path = &args.imputed;
        if layout(path)? != Some(io::Layout::H5ad) {
            let remedy = "write the imputed values as an AnnData h5ad file, as `late-fast impute` does";
            return Err(Error::input(path, "file", "an AnnData h5ad file", "another kind", remedy));
        }
        let file = HdfFile::open(path)?;
        let has_layer = file.kind(&format!("layers/{LAYER}"))?.is_some();
        let layer = args.imputed_layer.clone().or_else(|| has_layer.then(|| LAYER.to_owned()));
        let record = read_record(&file)?;
        let said =
            record.iter().find(|(name, _)| name == "scale").filter(|_| layer.as_deref() == Some(LAYER));
        let scale = match (args.imputed_scale, said) {
            (Some(scale), _) => scale,
            (None, Some((_, text))) => Scale::of_record(text).ok_or_else(|| unknown_scale(path, text))?,
            (None, None) => return Err(unknown_scale(path, "nothing")),
        };
        let options = ReadOptions { layer: layer.clone(), values: Values::Finite, ..ReadOptions::default() };
        let source = io::open(path, &options)?;
        self.reporter.say(&format!(
            "{}: {}, {} cells x {} genes; imputed values, scale {}",
            path.display(),
            source.head().layout,
            source.cells().len(),
            source.genes().len(),
            scale.formula()
        ));
        // Genes side by side have to be turned into cells.
        let stored = match source.major() {
            Major::Cells => None,
            Major::Genes => {
                let opened = self.open(path, MatrixArgs { layer, ..MatrixArgs::default() });
                Some(opened.map_err(no_store_of_negatives)?)
            }
        };
        Ok(OpenedImputed { source, stored, scale, record })
    }

    fn tell_notes(&self, evaluation: &Evaluation) {
        let Metrics { files, negative_values, clustering, cells, .. } = &evaluation.metrics;
        evaluation.warnings.iter().for_each(|warning| self.reporter.warn(warning));
        for file in files {
            for (noun, n, out) in
                [("cells", file.cells, file.cells_left_out), ("genes", file.genes, file.genes_left_out)]
            {
                if out > 0 {
                    self.reporter.say(&format!(
                        "note: {out} of {n} {noun} of {} ({}) are left out: not all files have them",
                        file.path, file.role
                    ));
                }
            }
        }
        if *negative_values > 0 {
            self.reporter
                .say(&format!("note: {negative_values} imputed values are negative; they count as 0"));
        }
        if let Some(unlabelled) = clustering.map(|found| found.unlabelled).filter(|&n| n > 0) {
            self.reporter.say(&format!(
                "note: {unlabelled} of {cells} cells have no label: they are shown as unlabelled, and do not count in \
                 agreement with labels"
            ));
        }
        for missing in &evaluation.missing {
            self.reporter.say(&format!("note: {missing}"));
        }
    }
}

/// The layout of an HDF5 file; none of other files.
fn layout(path: &Path) -> Result<Option<io::Layout>> {
    let opened = std::fs::File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (file, metadata) = opened.map_err(|e| Error::io(path, "open", e))?;
    if !metadata.is_file() || !has_signature(&file, metadata.len()) {
        return Ok(None);
    }
    io::detect(&HdfFile::open(path)?).map(Some)
}

/// What of the options for the input is meant for the file at `path` as well, which may be of another kind.
fn meant_for(path: &Path, options: &MatrixArgs, layer: Option<String>) -> Result<MatrixArgs> {
    let MatrixArgs { genome, orientation, nan_as_zero, gene_attr, cell_attr, prefix, .. } = options.clone();
    let none = MatrixArgs { layer, ..MatrixArgs::default() };
    Ok(match layout(path)? {
        Some(io::Layout::H5ad) => none,
        Some(io::Layout::TenXV2(_) | io::Layout::TenXV3) => MatrixArgs { genome, ..none },
        Some(io::Layout::Loom) => MatrixArgs { gene_attr, cell_attr, ..none },
        Some(io::Layout::Pandas(_)) => MatrixArgs { orientation, nan_as_zero, ..none },
        None => MatrixArgs { orientation, prefix, ..none },
    })
}

/// Stores hold no negative values, which are fine where no store is needed.
fn no_store_of_negatives(error: Error) -> Error {
    match error {
        Error::Input(mut problem) if problem.found.parse::<f64>().is_ok_and(|value| value < 0.0) => {
            problem.expected = "a number, zero or more, in a matrix that is stored gene by gene (CSC)".into();
            problem.remedy = "save it as CSR (cells as rows), in which negative values are read".into();
            Error::Input(problem)
        }
        other => other,
    }
}

fn unknown_scale(path: &Path, found: &str) -> Error {
    Error::input(
        path,
        format!("{RECORD}/scale"),
        "the scale of the imputed values",
        found,
        "say with --imputed-scale log10, ln or counts what they are",
    )
}

/// The texts in which a file of late-fast says what it is.
fn read_record(file: &HdfFile) -> Result<Vec<(String, String)>> {
    if !file.has_group(RECORD)? {
        return Ok(Vec::new());
    }
    let mut record = Vec::new();
    for name in file.members(RECORD)? {
        let object = format!("{RECORD}/{name}");
        if file.has_dataset(&object)? && file.is_strings(&object)? {
            let mut notes = Vec::new();
            record.extend(file.strings(&object, &mut notes)?.into_iter().next().map(|text| (name, text)));
        }
    }
    Ok(record)
}

/// One step after the other, each over some cells.
struct Steps<'a> {
    reporter: &'a Reporter,
    current: RefCell<Option<(&'static str, Step)>>,
}

impl Steps<'_> {
    fn advance(&self, name: &'static str, n: u64, total: u64) {
        let mut current = self.current.borrow_mut();
        if current.as_ref().is_none_or(|(now, _)| *now != name) {
            // The bar of the step before has to be gone before there is another.
            drop(current.take());
            *current = Some((name, self.reporter.step(name, total, "cells")));
        }
        if let Some((_, step)) = current.as_ref() {
            step.advance(n);
        }
    }
}
