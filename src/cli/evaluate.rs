//! `late-fast evaluate`

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use clap::Args;

use super::args::{Common, MatrixArgs};
use super::input::Input;
use super::memory::{self, Watch};
use super::report::{Reporter, Step};
use crate::CAUTION;
use crate::atomic::{Pending, ResultDirectory, parent, refuse_existing};
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::evaluate::{
    Evaluation, Imputed, ImputedRows, Inputs, LabelSource, METRICS_FILE, Matrix, Metrics, Options, Scale,
    TrainedRun, evaluate,
};
use crate::hdf::HdfFile;
use crate::io::{self, ReadOptions, Source, Values};
use crate::matrix::Major;
use crate::parallel;
use crate::report;
use crate::store::{Prepared, StoreDtype, Storing};

/// The layer `late-fast impute` writes, and what it says of it.
const LAYER: &str = "late";
const RECORD: &str = "uns/late_fast";

#[derive(Debug, Args)]
pub(super) struct EvaluateArgs {
    /// The matrix that was imputed: 10x HDF5, AnnData h5ad, loom or pandas hd5
    #[arg(long = "input", visible_alias = "h5", short = 'i', value_name = "FILE")]
    pub(super) input: PathBuf,
    #[command(flatten)]
    pub(super) matrix: MatrixArgs,
    /// The truth, such as the matrix before entries were masked; it may be in the same file
    #[arg(long, value_name = "FILE")]
    pub(super) truth: Option<PathBuf>,
    /// h5ad: the truth is in layers/NAME instead of X
    #[arg(long, value_name = "NAME", requires = "truth")]
    pub(super) truth_layer: Option<String>,
    /// The imputed matrix: an h5ad of late-fast or of any other program
    #[arg(long, value_name = "FILE.h5ad")]
    pub(super) imputed: PathBuf,
    /// The imputed values are in layers/NAME [default: late, if there is one, else X]
    #[arg(long, value_name = "NAME")]
    pub(super) imputed_layer: Option<String>,
    /// Scale of the imputed values [default: what a file of late-fast says]
    #[arg(long, value_enum, value_name = "SCALE")]
    pub(super) imputed_scale: Option<Scale>,
    /// Labels of cells: CSV, barcodes in the first column, labels in `label`
    #[arg(long, value_name = "FILE.csv")]
    pub(super) labels: Option<PathBuf>,
    /// The column of --labels, or, without that, of the cells of input or truth
    #[arg(long, value_name = "NAME")]
    pub(super) labels_column: Option<String>,
    /// Directory of the training run: learning curve, and errors of what was trained on and what was not
    #[arg(long, value_name = "DIR")]
    pub(super) model: Option<PathBuf>,
    /// Other molecules of the same cells, as `split` sets them apart: losses of the Open Problems denoising task
    #[arg(long, value_name = "FILE")]
    pub(super) test: Option<PathBuf>,
    /// h5ad: they are in layers/NAME instead of X
    #[arg(long, value_name = "NAME", requires = "test")]
    pub(super) test_layer: Option<String>,
    /// Directory for metrics, tables and the report
    #[arg(long, short, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Directory in which unpacked matrices are kept for later runs [default: not kept; beside --out meanwhile]
    #[arg(long, value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,
    /// Pairs of genes to show, such as CD3D:CD3E,CD79A:MS4A1 [default: the most correlated ones]
    #[arg(long, value_name = "A:B,..", value_delimiter = ',', value_parser = parse_gene_pair)]
    pub(super) gene_pairs: Vec<(String, String)>,
    /// Genes whose correlations with each other are compared: those with the highest mean
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub(super) correlated_genes: usize,
    /// Principal components that cells are clustered by
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(super) components: usize,
    /// Cells that are clustered; of more, a drawn part
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(super) max_cells: usize,
    /// Make no tSNE maps
    #[arg(long)]
    pub(super) no_tsne: bool,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().seed)]
    pub(super) seed: u64,
}

/// Parses "CD3D:CD3E".
fn parse_gene_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((a, b)) if !a.is_empty() && !b.is_empty() => Ok((a.to_owned(), b.to_owned())),
        _ => Err("give two genes, such as CD3D:CD3E".into()),
    }
}

pub(super) fn run(args: &EvaluateArgs, common: &Common) -> anyhow::Result<()> {
    let reporter = Reporter::new(common);
    if args.max_cells == 0 || args.components == 0 {
        return Err(Error::Usage {
            problem: "--max-cells 0 or --components 0 leave nothing to compare".into(),
            remedy: "give numbers above 0".into(),
        }
        .into());
    }
    refuse_existing(&args.out.join(METRICS_FILE), common.force)?;
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
            let genome = if is_h5ad(path)? { None } else { args.matrix.genome.clone() };
            self.open(path, MatrixArgs { genome, layer: layer.clone(), ..MatrixArgs::default() })
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
        };
        let evaluation = {
            let steps = Steps { reporter: self.reporter, current: RefCell::new(None) };
            evaluate(&inputs, &options, &|name, n, all| steps.advance(name, n, all))?
        };
        self.tell_notes(&evaluation);
        let report = report::prepare(&evaluation.report, &args.out)?;
        let tables = evaluation.prepare(&args.out, self.common.force)?;
        report.publish()?;
        // The metrics come last: with them, everything is there.
        tables.into_iter().try_for_each(Pending::publish)?;
        drop(directory);
        self.reporter.say(&Watch::default().resident().text());
        let text = format!(
            "{}\n{}: the report, to be opened in a browser; beside it metrics, tables of all genes and cells, figures and their data\ncaution: {CAUTION}",
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
        if !is_h5ad(path)? {
            let remedy = "write the imputed values as an AnnData h5ad file, as `late-fast impute` does";
            return Err(Error::input(path, "file", "an AnnData h5ad file", "a 10x file", remedy));
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
            source.layout(),
            source.cells().len(),
            source.genes().len(),
            scale.formula()
        ));
        // Genes side by side have to be turned into cells; stores hold no negative values.
        let stored = match source.major() {
            Major::Cells => None,
            Major::Genes => Some(self.open(path, MatrixArgs { layer, ..MatrixArgs::default() })?),
        };
        Ok(OpenedImputed { source, stored, scale, record })
    }

    fn tell_notes(&self, evaluation: &Evaluation) {
        let Metrics { files, negative_values, clustering, cells, .. } = &evaluation.metrics;
        for note in &evaluation.notes {
            self.reporter.warn(note);
        }
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
            self.reporter.say(&format!("note: {negative_values} imputed values are negative"));
        }
        if let Some(unlabelled) = clustering.map(|found| found.unlabelled).filter(|&n| n > 0) {
            self.reporter.say(&format!(
                "note: {unlabelled} of {cells} cells have no label: they are shown as unlabelled, and do not count in \
                 agreement with labels"
            ));
        }
    }
}

fn is_h5ad(path: &Path) -> Result<bool> {
    // What it is else, opening it will tell.
    let file = HdfFile::open(path)?;
    Ok(!matches!(io::detect(&file)?, io::Layout::TenXV2(_) | io::Layout::TenXV3))
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
            *current = Some((name, self.reporter.step(name, total, "cells")));
        }
        if let Some((_, step)) = current.as_ref() {
            step.advance(n);
        }
    }
}
