//! `late-fast impute`

use std::path::Path;

use late_fast_kernels::Isa;

use super::args::{Common, ImputeArgs, OutputArgs};
use super::input::{Input, read_gene_list};
use super::kernels::chosen_isa;
use super::report::Reporter;
use crate::CAUTION;
use crate::atomic::{parent, refuse_existing};
use crate::impute::{ImputeOptions, impute};
use crate::io::Source;
use crate::matrix::Major;
use crate::model::ModelFile;
use crate::parallel;
use crate::store::Prepared;
use crate::train::{MODEL_FILE, human_bytes};

/// Samples that go through the network at a time: a power of two, so that batches fill chunks of the output.
const BATCH_SIZE: usize = 256;

pub(super) fn run(args: &ImputeArgs, common: &Common) -> anyhow::Result<()> {
    let reporter = Reporter::new(common);
    let isa = chosen_isa()?;
    refuse_existing(&args.out, common.force)?;
    let model_path = if args.model.is_dir() { args.model.join(MODEL_FILE) } else { args.model.clone() };
    let model = ModelFile::read(&model_path)?;
    reporter.say(&format!(
        "model: {} {}, {}; trained on {}, validation error {:.5}",
        model.features.len(),
        model.info.config.features_name(),
        model.info.architecture.describe(),
        model.info.trained_on,
        model.info.best_validation_loss
    ));
    parallel::with_threads(common.threads, || {
        let input = Input::open(&args.input.path, &args.input.matrix, &reporter)?;
        input.check_scale(model.info.config.transform, &reporter);
        let genes = match &args.output.genes {
            Some(path) => Some(read_gene_list(path, input.source.genes())?),
            None => None,
        };
        let cache = args.cache.clone().unwrap_or_else(|| parent(&args.out).to_owned());
        let wanted = [model.info.config.samples, Major::Cells];
        let (source, prepared) = input.prepare(&wanted, &cache, &reporter)?;
        let options = impute_options(&args.output, genes, isa, common);
        write_imputed(source.as_ref(), &prepared, &model, &options, &args.out, &reporter)
    })?
}

/// The options of imputing, as meant.
pub(super) fn impute_options(
    args: &OutputArgs,
    genes: Option<Vec<u32>>,
    isa: Isa,
    common: &Common,
) -> ImputeOptions {
    ImputeOptions {
        isa,
        policy: args.policy,
        scale: args.output_scale,
        dtype: args.dtype,
        genes,
        batch_size: BATCH_SIZE,
        force: common.force,
    }
}

/// Imputes, and says what was written.
pub(super) fn write_imputed(
    source: &dyn Source,
    prepared: &Prepared,
    model: &ModelFile,
    options: &ImputeOptions,
    path: &Path,
    reporter: &Reporter,
) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let n_genes = options.genes.as_ref().map_or(source.genes().len(), Vec::len);
    let report = {
        let total = source.cells().len() as u64 * n_genes as u64;
        let step = reporter.step("imputing", total, "values");
        impute(source, prepared, model, options, path, &|n| step.advance(n))?
    };
    let seconds = started.elapsed().as_secs_f64();
    let text = format!(
        "imputed {} of {} cells and {} of {} genes in {seconds:.1} s; the others had no observed entry and stay 0\n\
         {} ({}): counts in X, imputed values in layers/late\n\
         caution: {CAUTION}",
        report.imputed_cells,
        report.n_cells,
        report.imputed_genes,
        report.n_genes,
        path.display(),
        human_bytes(report.bytes),
    );
    reporter.result("imputed", &report, &text)
}
