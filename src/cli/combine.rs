//! `late-fast combine`

use std::path::Path;

use late_fast_kernels::F32;

use super::args::{CombineArgs, Common};
use super::impute::{content, impute_options, imputed_format, read_model};
use super::input::{Input, Steps, read_gene_list};
use super::kernels::chosen_isa;
use super::memory;
use super::outputs::check_output;
use super::report::Reporter;
use crate::CAUTION;
use crate::atomic::parent;
use crate::budget::{self, human_bytes};
use crate::error::Result;
use crate::impute::{ImputeOptions, Models, combine};
use crate::io::{self, Source};
use crate::matrix::Major;
use crate::output::Format;
use crate::parallel;
use crate::store::{Prepared, Storing};
use crate::train::{entries_of_largest_batch, model_path};

pub(super) fn run(args: &CombineArgs, common: &Common) -> anyhow::Result<()> {
    let reporter = Reporter::new(common);
    let isa = chosen_isa()?;
    let mut read = io::files(&args.input.path, &args.input.matrix.options())?;
    read.extend([&args.genes_model, &args.cells_model].map(|path| model_path(path)));
    read.extend(args.output.genes.clone());
    let format = imputed_format(&args.file.out)?;
    check_output(&args.file.out, format, &read, common.force)?;
    let [genes_model, cells_model] =
        [&args.genes_model, &args.cells_model].map(|path| read_model(path, &reporter));
    let (genes_model, cells_model) = (genes_model?, cells_model?);
    let models = Models { genes: &genes_model, cells: &cells_model };
    models.check()?;
    let options = impute_options(&args.output, format, isa, common);
    parallel::with_threads(common.threads, || {
        let allowed = common.memory.unwrap_or_else(memory::available);
        let cache = args.file.cache.clone().unwrap_or_else(|| parent(&args.file.out).to_owned());
        let storing =
            Storing { dir: &cache, wanted: &[Major::Cells, Major::Genes], memory: allowed, cache: None };
        let (path, matrix, dtype) = (&args.input.path, &args.input.matrix, args.input.store_dtype);
        let keep = args.file.cache.is_some();
        let input = Input::open(path, matrix, dtype, Some(&storing), keep, allowed, &reporter)?;
        models.check_input(input.source.as_ref(), &input.summary)?;
        input.check_scale(genes_model.info.config.transform, &reporter);
        let genes = match &args.output.genes {
            Some(path) => Some(read_gene_list(path, input.source.genes())?),
            None => None,
        };
        let options = ImputeOptions { genes, ..options };
        check_memory(models, &options, &input, allowed)?;
        let (source, prepared) = input.prepare(&storing, &reporter)?;
        write_combined(source.as_ref(), &prepared, models, &options, &args.file.out, &reporter)
    })??
}

/// Makes sure that the models and what they write at a time fit into `allowed` bytes.
fn check_memory(models: Models<'_>, options: &ImputeOptions, input: &Input<'_>, allowed: u64) -> Result<()> {
    let n_genes = options.genes.as_ref().map_or(input.source.genes().len(), Vec::len);
    let batch_nnz = [Major::Cells, Major::Genes]
        .map(|rows| entries_of_largest_batch(&input.summary_by(rows).row_nnz, options.batch_size));
    let combining = models.memory_bytes(options, n_genes, batch_nnz)?;
    let networks = [models.genes, models.cells].map(|model| model.network.architecture.value_bytes::<F32>());
    let n_rewritten = if options.format == Format::H5ad { 0 } else { input.source.cells().len() * n_genes };
    let reading =
        networks.iter().sum::<u64>() + budget::block_bytes(input.summary.tally.nnz.max(n_rewritten as u64));
    let n_names = input.source.cells().len() + input.source.genes().len();
    let needed = budget::fixed_bytes(n_names) + combining.max(reading);
    budget::check(needed, allowed, || "write fewer genes (--genes), or allow more with --memory".into())
}

/// Imputes with both networks, and says what was written; the inner result is that of saying it.
pub(super) fn write_combined(
    source: &dyn Source,
    prepared: &Prepared,
    models: Models<'_>,
    options: &ImputeOptions,
    path: &Path,
    reporter: &Reporter,
) -> Result<anyhow::Result<()>> {
    let report = {
        let n_values = options.n_values(source, models.genes);
        let n_samples = (source.cells().len() + source.genes().len()) as u64;
        let total =
            |name: &str| if name == "scoring" { (n_samples, "samples") } else { (n_values, "values") };
        let steps = Steps::new(reporter, &total);
        combine(source, prepared, models, options, path, &|name, n| steps.advance(name, n))?
    };
    let written = &report.written;
    let text = format!(
        "combined {} genes from the network with genes as features and {} from that with cells as features, chosen by their \
         error on {} held-out entries: {:.5} and {:.5}, combined {:.5} (a little less than on others, for the choice was \
         made on these)\n\
         imputed {} of {} cells and {} of {} genes in {:.1} s\n\
         {} ({}): {}{}\n\
         caution: {CAUTION}",
        report.from_genes,
        report.from_cells,
        report.held_out_entries,
        report.error_genes,
        report.error_cells,
        report.error_combined,
        written.imputed_cells,
        written.n_cells,
        written.imputed_genes,
        written.n_genes,
        written.seconds,
        path.display(),
        human_bytes(written.bytes),
        content(options),
        if options.format == Format::H5ad { ", the choice and both errors of every gene in var" } else { "" },
    );
    reporter.say(&memory::peak());
    Ok(reporter.result("combined", &report, &text))
}
