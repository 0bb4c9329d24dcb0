//! The imputed `.h5ad`: counts in `X`, imputed values in `layers/late`, latent code in `obsm/X_late`.

use std::ops::Range;
use std::path::Path;
use std::sync::mpsc;

use super::file::{Layout, OutputFile, Values};
use super::forward::{self, Panel, Piece, Request, Sink};
use super::manifest::Manifest;
use super::publish::Target;
use super::record::Record;
use super::{ImputeOptions, OutputDtype};
use crate::atomic;
use crate::error::{Error, Result};
use crate::hdf;
use crate::io::Source;
use crate::matrix::{Axis, Column, Major};
use crate::minibatch::Builder;
use crate::model::{ModelFile, OutputLayer, is_enough};
use crate::output::Format;
use crate::parallel::{self, tiles};
use crate::store::{Prepared, RowEntries, Store};

/// Rows of a store that are looked at in one go.
const ROWS: usize = 1 << 12;
/// Columns of `obs` and `var` that say for which cells and genes values were imputed.
const FLAG: &str = "late_imputed";
/// Columns of `var`, where two networks are combined: the one a gene's values are from, and the error of either on the
/// gene's held-out entries.
pub(super) const SOURCE: &str = "late_source";
pub(super) const ERRORS: [&str; 2] = ["late_error_genes", "late_error_cells"];

/// What was written.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ImputeReport {
    /// Cells in the file.
    pub n_cells: usize,
    /// Genes in the file.
    pub n_genes: usize,
    /// Cells that got imputed values; the others are 0.
    pub imputed_cells: usize,
    /// Genes that got imputed values; the others are 0.
    pub imputed_genes: usize,
    /// Features of the model that the input has.
    pub matched_features: usize,
    /// Features of the model.
    pub n_features: usize,
    /// Size of the file.
    pub bytes: u64,
    /// Time it took.
    pub seconds: f64,
}

/// Imputes the matrix of `source` (made available by `prepared` with rows of the model's samples and of
/// cells), or the shard that `options` name, and writes it to `path`. `progress` is told the name of the step and the
/// values it has written since it was called last.
///
/// # Errors
/// When the model does not fit the matrix or the file cannot be written.
pub fn impute(
    source: &dyn Source,
    prepared: &Prepared,
    model: &ModelFile,
    options: &ImputeOptions,
    path: &Path,
    progress: &dyn Fn(&'static str, u64),
) -> Result<ImputeReport> {
    let started = std::time::Instant::now();
    let major = model.info.config.samples;
    let (Some(store), Some(cell_store)) = (prepared.with_rows(major), prepared.with_rows(Major::Cells))
    else {
        unreachable!("both orientations were prepared")
    };
    let features = find_features(source, model);
    let matched = check_overlap(source, model, &features, options.force)?;
    let genes = options.written_genes(source.genes().len());
    let shard = options.shard.as_deref();
    let cells = shard.map_or(0..source.cells().len(), |shard| shard.cells.clone());
    let genes = shard.map_or(&genes[..], |shard| &genes[shard.genes.clone()]);
    let samples: Vec<u32> = match major {
        Major::Cells => cells.clone().map(|cell| u32::try_from(cell).unwrap_or(u32::MAX)).collect(),
        Major::Genes => genes.to_vec(),
    };
    let observed = observed_rows(store, &features, &samples)?;
    let request = Request {
        store,
        model,
        features: &features,
        cells: cells.clone(),
        genes,
        samples: &samples,
        observed: &observed,
        finish: options.finish(model.info.config.transform),
        isa: options.isa,
        products: options.products_for(model.info.config.param_dtype)?,
        batch_size: options.batch_size,
        latent_only: options.latent_only,
    };
    let layout = options.layout(source, model);
    check_free_space(path, &layout, options.format)?;
    let [(obs, imputed_cells), (var, imputed_genes)] = flagged_axes(source, &request);
    let written = Written { cell_store, cells: cells.clone(), genes, latent_only: options.latent_only };
    let record = Record::new(model, options)?;
    let (format, force, axes) = (options.format, options.force, [&obs, &var]);
    let target = Target { path, format, force, axes, record: &record.of_output("impute", source) };
    let bytes = target.publish(&|n| progress("writing", n), |temporary| {
        let file = OutputFile::create(temporary, layout, [&obs, &var], &record, shard.is_some())?;
        let (file, contents) = compute_and_write(&written, file, &|n| progress("imputing", n), |sink| {
            forward::run(&request, sink)
        })?;
        if let Some(shard) = shard {
            Manifest { contents, ..shard.clone() }.write(&file, temporary)?;
        }
        hdf::close(file, temporary)
    })?;
    Ok(ImputeReport {
        n_cells: cells.len(),
        n_genes: genes.len(),
        imputed_cells,
        imputed_genes,
        matched_features: matched,
        n_features: model.features.len(),
        bytes,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// For every feature's axis element of the input the model's feature, or [`Builder::NO_FEATURE`].
pub(super) fn find_features(source: &dyn Source, model: &ModelFile) -> Vec<u32> {
    let axis = source.axis(model.info.config.samples.other());
    let found = model.features.find_in(axis).into_iter();
    found.map(|feature| feature.unwrap_or(Builder::NO_FEATURE)).collect()
}

/// How many rows of the output's weights have to be put together for `options`: none where they lie side by side.
pub fn gathered_features(source: &dyn Source, model: &ModelFile, options: &ImputeOptions) -> usize {
    let features = find_features(source, model);
    let (written, _) = match model.info.config.samples {
        Major::Cells => {
            let genes = options.written_genes(source.genes().len());
            forward::written_features(genes.iter().map(|&gene| gene as usize), &features)
        }
        Major::Genes => forward::written_features(0..features.len(), &features),
    };
    if options.latent_only || OutputLayer::is_in_place(&written) { 0 } else { written.len() }
}

pub(super) fn check_overlap(
    source: &dyn Source,
    model: &ModelFile,
    features: &[u32],
    force: bool,
) -> Result<usize> {
    let matched = features.iter().filter(|&&f| f != Builder::NO_FEATURE).count();
    let (noun, nouns) = match model.info.config.samples {
        Major::Cells => ("gene", "genes"),
        Major::Genes => ("cell", "cells"),
    };
    if is_enough(matched as u64, model.features.len() as u64, force) {
        return Ok(matched);
    }
    let first = |names: &[String]| names.first().cloned().unwrap_or_default();
    let axis = if noun == "gene" { source.genes() } else { source.cells() };
    Err(Error::input(
        source.path(),
        format!("{noun} names"),
        format!("the model's {nouns}, such as {}", first(&model.features.names.texts)),
        format!(
            "{matched} of its {} (the first {noun} here is {})",
            model.features.len(),
            first(&axis.names)
        ),
        if matched > 0 {
            "use a model trained on this kind of data, or --force".to_owned()
        } else {
            format!("use a model trained on these {nouns}")
        },
    ))
}

/// Whether each of some rows has an entry in a column that is a feature.
pub(super) fn observed_rows(store: &Store, features: &[u32], rows: &[u32]) -> Result<Vec<bool>> {
    let parts = parallel::map(rows.chunks(ROWS).collect(), |rows: &[u32]| {
        let mut entries = RowEntries::default();
        let observed = rows.iter().map(|&row| {
            entries.clear();
            store.read_row(row as usize, &mut entries)?;
            Ok(entries.indices.iter().any(|&column| features[column as usize] != Builder::NO_FEATURE))
        });
        let observed = observed.collect::<Result<Vec<bool>>>();
        if let [first, .., last] = *rows {
            store.release(first as usize..last as usize + 1);
        }
        observed
    });
    Ok(parts.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

/// Cells and genes that are written, each with a flag where values are imputed, and how many have it.
fn flagged_axes(source: &dyn Source, request: &Request<'_>) -> [(Axis, usize); 2] {
    let known = |column: usize| request.features[column] != Builder::NO_FEATURE;
    let cells: Vec<usize> = request.cells.clone().collect();
    let genes: Vec<usize> = request.genes.iter().map(|&gene| gene as usize).collect();
    let observed = request.observed.to_vec();
    let (cell_flags, gene_flags): (Vec<bool>, Vec<bool>) = match request.store.major() {
        Major::Cells => (observed, genes.iter().map(|&gene| known(gene)).collect()),
        Major::Genes => (cells.iter().map(|&cell| known(cell)).collect(), observed),
    };
    [(source.cells(), cells, cell_flags), (source.genes(), genes, gene_flags)]
        .map(|(axis, chosen, flags)| flag(axis.select(&chosen), flags))
}

/// The axis with `flags` where values are imputed, and how many have it.
pub(super) fn flag(mut axis: Axis, flags: Vec<bool>) -> (Axis, usize) {
    let count = flags.iter().filter(|&&flag| flag).count();
    // Of an input that was itself imputed they would tell of other values.
    axis.columns.retain(|(name, _)| ![FLAG, SOURCE].contains(&&**name) && !ERRORS.contains(&&**name));
    axis.columns.push((FLAG.into(), Column::Booleans(flags)));
    (axis, count)
}

/// Bytes on disk of an output in `format`, with the AnnData file that comes before any other.
pub(super) fn disk_bytes(layout: &Layout, format: Format) -> u64 {
    let rewritten = if format == Format::H5ad { 0 } else { layout.n_values() * format.value_bytes() };
    layout.dense_bytes() + rewritten
}

pub(super) fn check_free_space(path: &Path, layout: &Layout, format: Format) -> Result<()> {
    let needed = disk_bytes(layout, format);
    let [n_cells, n_genes] = layout.shape;
    let what = if layout.dtype.is_some() { "the imputed layer" } else { "the latent code" };
    atomic::check_free_space(
        atomic::parent(path),
        needed,
        || format!("{what} of {n_cells} cells x {n_genes} genes in {}", path.display()),
        "free space, write elsewhere (--out), or write fewer genes (--genes), --dtype f16 or shards (--shard)",
    )
}

/// What of the input is written.
pub(super) struct Written<'a> {
    /// The input, a row a cell.
    pub(super) cell_store: &'a Store,
    pub(super) cells: Range<usize>,
    /// Positions in the input, increasing.
    pub(super) genes: &'a [u32],
    /// The latent code is all that is written.
    pub(super) latent_only: bool,
}

/// Computes on this thread and its pool, writes on another; returns what [`OutputFile::finish`] does.
pub(super) fn compute_and_write(
    written: &Written<'_>,
    file: OutputFile<'_>,
    progress: &dyn Fn(u64),
    compute: impl FnOnce(Sink<'_>) -> Result<()>,
) -> Result<(hdf5::File, Vec<(String, String)>)> {
    // A rendezvous: one piece is written while the next is computed, and no third one is in memory.
    let (sender, receiver) = mpsc::sync_channel::<Piece>(0);
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let mut writer = Writer::new(written, file)?;
            receiver.iter().try_for_each(|piece| writer.write(piece))?;
            writer.file.finish()
        });
        let computed = compute(&mut |piece| {
            let n_values = match &piece {
                Piece::Values(panel) => panel.values.len(),
                Piece::Latent { code, .. } if written.latent_only => code.len(),
                Piece::Latent { .. } => 0,
            };
            sender.send(piece).map_err(|_| Error::Resources {
                problem: "writing has ended".into(),
                remedy: "see why it has".into(),
            })?;
            progress(n_values as u64);
            Ok(())
        });
        drop(sender);
        match writing.join() {
            // Where writing failed, computing was stopped by that.
            Ok(written) => written.and_then(|written| computed.map(|()| written)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Receives the results and writes them to their place.
struct Writer<'a> {
    written: &'a Written<'a>,
    file: OutputFile<'a>,
    /// For every gene of the input its place among those that are written.
    places: Vec<u32>,
    row: RowEntries,
}

impl<'a> Writer<'a> {
    fn new(written: &'a Written<'a>, file: OutputFile<'a>) -> Result<Self> {
        let places = forward::positions(written.genes, written.cell_store.n_cols());
        let mut writer = Self { written, file, places, row: RowEntries::default() };
        if writer.file.layout().samples == Major::Genes {
            // In runs, so that no more than one is mapped: elsewhere the gatherer sees to that.
            for run in tiles(written.cells.len(), ROWS) {
                let cells = written.cells.start + run.start..written.cells.start + run.end;
                writer.write_counts(cells.clone())?;
                written.cell_store.release(cells);
            }
        }
        Ok(writer)
    }

    fn write(&mut self, piece: Piece) -> Result<()> {
        match piece {
            Piece::Latent { of, samples, code } => {
                if of == Major::Cells {
                    let first = self.written.cells.start;
                    self.write_counts(first + samples.start..first + samples.end)?;
                }
                self.file.write_latent(of, samples, &code)
            }
            Piece::Values(panel) => self.write_values(panel),
        }
    }

    /// Appends the counts of some cells of the input to `X`, those of the genes that are written.
    fn write_counts(&mut self, cells: Range<usize>) -> Result<()> {
        if self.written.latent_only {
            return Ok(());
        }
        let Self { written, row, places, file } = self;
        for cell in cells {
            row.clear();
            written.cell_store.read_row(cell, row)?;
            let entries =
                row.indices.iter().map(|&gene| places[gene as usize]).zip(row.values.iter().copied());
            let entries = entries.filter(|&(place, _)| place != forward::NOT_WRITTEN);
            file.append_counts(entries)?;
        }
        Ok(())
    }

    fn write_values(&mut self, panel: Panel) -> Result<()> {
        let Panel { cells, genes, values } = panel;
        let dtype = self.file.layout().dtype.unwrap_or_default();
        let largest = match dtype {
            OutputDtype::F32 => f32::MAX,
            OutputDtype::F16 => half::f16::MAX.to_f32(),
        };
        // Looks at every value, which vectorises.
        if values.iter().fold(false, |bad, value| bad | value.is_nan() | (value.abs() > largest)) {
            return Err(self.beyond(&cells, &genes, &values, largest));
        }
        let values = match dtype {
            OutputDtype::F32 => Values::F32(values),
            OutputDtype::F16 => Values::F16(values.iter().map(|&value| half::f16::from_f32(value)).collect()),
        };
        self.file.write_layer(cells, genes, &values)
    }

    fn beyond(&self, cells: &Range<usize>, genes: &Range<usize>, values: &[f32], largest: f32) -> Error {
        let at = values.iter().position(|value| value.is_nan() || value.abs() > largest).unwrap_or_default();
        let cell = self.written.cells.start + cells.start + at / genes.len().max(1) + 1;
        let gene = genes.start + at % genes.len().max(1) + 1;
        Error::Resources {
            problem: format!(
                "the imputed value of cell {cell} and gene {gene} (counted from 1) is {}, beyond {largest}, the largest \
                 number of the output's type",
                values[at],
            ),
            remedy: "write --dtype f32, or --output-scale log10".into(),
        }
    }
}
