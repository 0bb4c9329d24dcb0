//! `late-fast convert`: the same matrix in another format.

use super::args::{Common, ConvertArgs, KindArg};
use super::perturb::{Task, describe, rate, run};
use crate::error::Error;
use crate::output::Format;
use crate::perturb::{self, ConvertOptions};

pub(super) fn run_convert(args: &ConvertArgs, common: &Common) -> anyhow::Result<()> {
    let format = args.to.map_or_else(|| Format::of(&args.output), |kind| Ok(kind.format()))?;
    if args.dense && format != Format::H5ad {
        let problem = format!("--dense is for h5ad files, which {} is not to be", args.output.display());
        return Err(Error::Usage { problem, remedy: "leave out --dense".into() }.into());
    }
    let options =
        ConvertOptions { format, dense: args.dense, selection: args.matrix.as_typed(), force: common.force };
    let task = Task { path: &args.input, matrix: &args.matrix, cache: args.cache.as_deref() };
    run(&task, &[(&args.output, format)], 1, common, |source, prepared, progress, started| {
        let report = perturb::convert(source, prepared, &options, &args.output, progress)?;
        let text = format!(
            "converted {} entries of {} cells x {} genes ({})\n{}",
            report.output.nnz,
            report.n_cells,
            report.n_genes,
            rate(report.output.nnz, started),
            describe(&report.output),
        );
        Ok(("converted", report, text))
    })
}

impl KindArg {
    fn format(self) -> Format {
        let table = |delimiter, gzip| Format::Table { delimiter, gzip };
        match self {
            Self::H5 => Format::TenX,
            Self::H5ad => Format::H5ad,
            Self::Hd5 => Format::Hd5,
            Self::Mtx => Format::Mtx,
            Self::Csv => table(b',', false),
            Self::Tsv => table(b'\t', false),
            Self::CsvGz => table(b',', true),
            Self::TsvGz => table(b'\t', true),
        }
    }
}
