//! `late-fast impute`

use std::path::Path;

use late_fast_kernels::{F32, Isa};

use super::args::{Common, ImputeArgs, OutputArgs, ShardArg};
use super::input::{Input, Steps, read_gene_list};
use super::kernels::chosen_isa;
use super::memory;
use super::outputs::check_output;
use super::report::Reporter;
use crate::CAUTION;
use crate::atomic::parent;
use crate::budget::{self, human_bytes};
use crate::config::{MODEL_FILE, features_name};
use crate::error::{Error, Result};
use crate::impute::{ImputeOptions, Manifest, Shard, State, gathered_features, impute, memory_bytes};
use crate::io::{self, Source};
use crate::matrix::Major;
use crate::model::ModelFile;
use crate::output::Format;
use crate::parallel;
use crate::store::{Prepared, Storing};
use crate::train::{entries_of_largest_batch, model_path};

/// Samples that go through the network at a time: a power of two, so that batches fill chunks of the output.
const BATCH_SIZE: usize = 256;

pub(super) fn run(args: &ImputeArgs, common: &Common) -> anyhow::Result<()> {
    let reporter = Reporter::new(common);
    let isa = chosen_isa()?;
    let shard = match args.shard {
        Some(ShardArg::Given(shard)) => Some(shard),
        Some(ShardArg::Slurm) => Some(Shard::from_slurm(|name| std::env::var(name).ok())?),
        None => None,
    };
    let out = shard.map_or_else(|| args.file.out.clone(), |shard| shard.path(&args.file.out));
    // A shard may be there already, done.
    let mut read = io::files(&args.input.path, &args.input.matrix.options())?;
    read.extend(args.output.genes.clone());
    read.push(model_path(&args.model));
    let format = imputed_format(&args.file.out)?;
    if format != Format::H5ad && (args.latent_only || shard.is_some()) {
        let option = if args.latent_only { "--latent-only" } else { "--shard" };
        let problem = format!("{option} writes h5ad files, which {} is not to be", args.file.out.display());
        return Err(Error::Usage { problem, remedy: "end its name in .h5ad".into() }.into());
    }
    check_output(&out, format, &read, common.force || shard.is_some())?;
    let model = read_model(&args.model, &reporter)?;
    let options =
        ImputeOptions { latent_only: args.latent_only, ..impute_options(&args.output, format, isa, common) };
    let products = options.products_for(model.info.config.param_dtype)?;
    parallel::with_threads(common.threads, || {
        let allowed = common.memory.unwrap_or_else(memory::available);
        let cache = args.file.cache.clone().unwrap_or_else(|| parent(&args.file.out).to_owned());
        let mut wanted = vec![model.info.config.samples];
        if !options.latent_only {
            wanted.push(Major::Cells);
        }
        let storing = Storing { dir: &cache, wanted: &wanted, memory: allowed, cache: None };
        let (path, dtype) = (&args.input.path, args.input.store_dtype);
        let input = Input::open(
            path,
            &args.input.matrix,
            dtype,
            Some(&storing),
            args.file.cache.is_some(),
            allowed,
            &reporter,
        )?;
        input.check_scale(model.info.config.transform, &reporter);
        let genes = match &args.output.genes {
            Some(path) => Some(read_gene_list(path, input.source.genes())?),
            None => None,
        };
        let mut options = ImputeOptions { genes, ..options };
        if let Some(shard) = shard {
            let source = input.source.as_ref();
            let manifest = Manifest::plan(source, &input.summary, &model, &options, shard)?;
            if !common.force && manifest.state(&out)? == State::Done {
                let text = format!("{} is there already, done: nothing to do", out.display());
                return Ok(reporter.result("done", &manifest.shard, &text));
            }
            options.shard = Some(Box::new(manifest));
        }
        let gathered = gathered_features(input.source.as_ref(), &model, &options);
        let n_names = input.source.cells().len() + input.source.genes().len();
        let summary = input.summary_by(model.info.config.samples);
        let batch_nnz = entries_of_largest_batch(&summary.row_nnz, options.batch_size);
        let network = &model.network.architecture;
        let imputing = memory_bytes(isa, network, products, options.batch_size, batch_nnz, gathered);
        let n_rewritten =
            if format == Format::H5ad { 0 } else { options.n_values(input.source.as_ref(), &model) };
        let reading = network.value_bytes::<F32>() + budget::block_bytes(summary.tally.nnz.max(n_rewritten));
        let needed = budget::fixed_bytes(n_names) + imputing.max(reading);
        budget::check(needed, allowed, || "allow more with --memory".into())?;
        let (source, prepared) = input.prepare(&storing, &reporter)?;
        write_imputed(source.as_ref(), &prepared, &model, &options, &out, &reporter)
    })??
}

/// Reads the model at `path`, a file or a run's directory, and says what it is.
pub(super) fn read_model(path: &Path, reporter: &Reporter) -> Result<ModelFile> {
    let file = model_path(path);
    let [genes, cells] = [Major::Cells, Major::Genes].map(|samples| path.join(features_name(samples)));
    if !file.exists() && genes.join(MODEL_FILE).exists() && cells.join(MODEL_FILE).exists() {
        return Err(Error::Usage {
            problem: format!(
                "{} holds two models, one with genes and one with cells as features",
                path.display()
            ),
            remedy: format!(
                "use late-fast combine --genes-model {} --cells-model {}, or one of them",
                genes.display(),
                cells.display()
            ),
        });
    }
    let model = ModelFile::read(&file)?;
    reporter.say(&format!(
        "model: {} {}, {}; trained on {}, validation error {:.5}",
        model.features.len(),
        model.info.config.features_name(),
        model.info.architecture.describe(),
        model.info.trained_on,
        model.info.best_validation_loss
    ));
    Ok(model)
}

/// The format of imputed values that the name of a file says.
pub(super) fn imputed_format(path: &Path) -> Result<Format> {
    let problem = match Format::of(path) {
        Ok(format) if !format.is_counts_only() => return Ok(format),
        Ok(_) => "10x HDF5 files hold whole numbers, and imputed values are not",
        Err(_) => "its name does not say in which format to write it",
    };
    Err(Error::Usage {
        problem: format!("{}: {problem}", path.display()),
        remedy: "end it in .h5ad, or for the imputed values alone in .hd5, .csv, .tsv, .csv.gz, .tsv.gz or / (a Matrix Market \
                 directory)"
            .into(),
    })
}

/// The options of imputing, as meant.
pub(super) fn impute_options(args: &OutputArgs, format: Format, isa: Isa, common: &Common) -> ImputeOptions {
    ImputeOptions {
        isa,
        policy: args.policy.unwrap_or_default(),
        scale: args.output_scale.unwrap_or_default(),
        products: args.products.unwrap_or_default(),
        dtype: args.dtype.unwrap_or_default(),
        genes: None,
        batch_size: BATCH_SIZE,
        latent_only: false,
        shard: None,
        format,
        force: common.force,
    }
}

/// What an output holds, for people.
pub(super) fn content(options: &ImputeOptions) -> &'static str {
    match options.format {
        Format::H5ad if options.latent_only => "the latent code",
        Format::H5ad => "counts in X, imputed values in layers/late",
        _ => "imputed values",
    }
}

/// Imputes, and says what was written; the inner result is that of saying it.
pub(super) fn write_imputed(
    source: &dyn Source,
    prepared: &Prepared,
    model: &ModelFile,
    options: &ImputeOptions,
    path: &Path,
    reporter: &Reporter,
) -> Result<anyhow::Result<()>> {
    let report = {
        let n_values = options.n_values(source, model);
        let total = |_: &str| (n_values, "values");
        let steps = Steps::new(reporter, &total);
        impute(source, prepared, model, options, path, &|name, n| steps.advance(name, n))?
    };
    let (cells, genes) = (report.n_cells, report.n_genes);
    let content = content(options);
    let text = format!(
        "imputed {} of {cells} cells and {} of {genes} genes in {:.1} s: {:.0} cells/s, {:.3} GB/s ({} of the model's {} \
         features found); the others had no observed entry or are unknown to the model, and stay 0\n\
         {} ({}): {content}\n\
         caution: {CAUTION}",
        report.imputed_cells,
        report.imputed_genes,
        report.seconds,
        cells as f64 / report.seconds.max(1e-3),
        report.bytes as f64 / 1e9 / report.seconds.max(1e-3),
        report.matched_features,
        report.n_features,
        path.display(),
        human_bytes(report.bytes),
    );
    reporter.say(&memory::peak());
    Ok(reporter.result("imputed", &report, &text))
}
