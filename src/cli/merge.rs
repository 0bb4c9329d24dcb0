//! `late-fast merge`

use super::args::{Common, MergeArgs};
use super::memory;
use super::outputs::check_output;
use super::report::Reporter;
use crate::budget::{self, human_bytes};
use crate::impute::{MERGE_BYTES, Shards};
use crate::output::Format;

pub(super) fn run(args: &MergeArgs, common: &Common) -> anyhow::Result<()> {
    let reporter = Reporter::new(common);
    check_output(&args.out, Format::H5ad, &args.shards, common.force)?;
    let started = std::time::Instant::now();
    let shards = Shards::open(&args.shards)?;
    let needed = budget::fixed_bytes(shards.n_names()) + MERGE_BYTES;
    let allowed = common.memory.unwrap_or_else(memory::available);
    budget::check(needed, allowed, || "allow more with --memory".into())?;
    let report = {
        let step = reporter.step("merging", shards.n_values(), "values");
        shards.merge(&args.out, common.force, &|n| step.advance(n))?
    };
    let seconds = started.elapsed().as_secs_f64();
    let text = format!(
        "merged {} shards into {} ({}): {} cells x {} genes in {seconds:.1} s ({:.2} GB/s)",
        report.n_shards,
        args.out.display(),
        human_bytes(report.bytes),
        report.n_cells,
        report.n_genes,
        report.bytes as f64 / 1e9 / seconds.max(1e-3),
    );
    reporter.say(&memory::peak());
    reporter.result("merged", &report, &text)
}
