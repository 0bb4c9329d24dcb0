//! The imputed `.h5ad`: counts in `X`, imputed values in `layers/late`, latent code in `obsm/X_late`.

use std::ops::Range;
use std::path::Path;

use hdf5::{Dataset, File, H5Type};
use ndarray::ArrayView2;

use super::forward::{self, Panel, Request, Sink};
use super::value::Finish;
use super::{ImputeOptions, OutputDtype};
use crate::atomic::{check_free_space, parent, write_atomically};
use crate::error::{Error, Result};
use crate::h5ad::{self, SparseSpec};
use crate::io::{Dtype, Source};
use crate::matrix::{Axis, Column, Major};
use crate::minibatch::Builder;
use crate::model::ModelFile;
use crate::parallel::{self, tiles};
use crate::store::{Prepared, RowEntries, Store};

/// Chunks of the imputed layer hold about this many bytes.
const CHUNK_BYTES: usize = 1 << 20;
/// Entries of `X` are written this many at a time.
const X_BLOCK: usize = 1 << 20;
/// Columns of `obs` and `var` that say for which cells and genes values were imputed.
const FLAG: &str = "late_imputed";
/// A model is not applied to a matrix that has less than this share of its features, unless forced.
const LEAST_OVERLAP: f64 = 0.1;

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
}

/// Imputes the matrix of `source` (made available by `prepared` with rows of the model's samples and of
/// cells) and writes it to `path`. `progress` is told the imputed values written since it was called last.
///
/// # Errors
/// When the model does not fit the matrix or the file cannot be written.
pub fn impute(
    source: &dyn Source,
    prepared: &Prepared,
    model: &ModelFile,
    options: &ImputeOptions,
    path: &Path,
    progress: &dyn Fn(u64),
) -> Result<ImputeReport> {
    let samples = model.info.config.samples;
    let (Some(store), Some(cell_store)) = (prepared.with_rows(samples), prepared.with_rows(Major::Cells))
    else {
        unreachable!("both orientations were prepared")
    };
    let feature_axis = if samples == Major::Cells { source.genes() } else { source.cells() };
    let features: Vec<u32> = model
        .features
        .find_in(feature_axis)
        .into_iter()
        .map(|feature| feature.unwrap_or(Builder::NO_FEATURE))
        .collect();
    let matched = check_overlap(source, model, &features, options.force)?;
    let all_genes: Vec<u32> = (0..u32::try_from(source.genes().len()).unwrap_or(u32::MAX)).collect();
    let genes = options.genes.as_deref().unwrap_or(&all_genes);
    let observed = observed_rows(store, &features)?;
    let known: Vec<bool> = features.iter().map(|&f| f != Builder::NO_FEATURE).collect();
    let (cell_flags, gene_flags) = match samples {
        Major::Cells => (&observed, &known),
        Major::Genes => (&known, &observed),
    };
    let gene_flags: Vec<bool> = genes.iter().map(|&g| gene_flags[g as usize]).collect();
    let finish =
        Finish { transform: model.info.config.transform, scale: options.scale, policy: options.policy };
    let request = Request {
        store,
        model,
        features: &features,
        genes,
        observed: &observed,
        finish,
        isa: options.isa,
        products: options.products_for(model.info.config.param_dtype)?,
        batch_size: options.batch_size,
    };
    check_space(path, source.cells().len(), genes.len(), options)?;
    write_atomically(path, options.force, |temporary| {
        let failed = |object: &str, e| Error::hdf5(temporary, object, "write", e);
        let file = h5ad::create_file(temporary)?;
        let gene_positions: Vec<usize> = genes.iter().map(|&g| g as usize).collect();
        h5ad::write_axis(&file, "obs", &flagged(source.cells().clone(), cell_flags))?;
        h5ad::write_axis(&file, "var", &flagged(source.genes().select(&gene_positions), &gene_flags))?;
        write_counts(&file, temporary, cell_store, genes)?;
        write_record(&file, &request, options)?;
        let mut writer = Writer::create(&file, temporary, &request, options, progress)?;
        forward::run(&request, &mut writer)?;
        drop(writer);
        file.close().map_err(|e| failed("/", e))
    })?;
    let bytes = path.metadata().map_err(|e| Error::io(path, "read back", e))?.len();
    let count = |flags: &[bool]| flags.iter().filter(|&&flag| flag).count();
    Ok(ImputeReport {
        n_cells: source.cells().len(),
        n_genes: genes.len(),
        imputed_cells: count(cell_flags),
        imputed_genes: count(&gene_flags),
        matched_features: matched,
        n_features: model.features.len(),
        bytes,
    })
}

fn check_overlap(source: &dyn Source, model: &ModelFile, features: &[u32], force: bool) -> Result<usize> {
    let matched = features.iter().filter(|&&f| f != Builder::NO_FEATURE).count();
    let (noun, nouns) = match model.info.config.samples {
        Major::Cells => ("gene", "genes"),
        Major::Genes => ("cell", "cells"),
    };
    let enough = matched as f64 >= LEAST_OVERLAP * model.features.len() as f64;
    if matched > 0 && (enough || force) {
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

/// Whether each row has an entry in a column that is a feature.
fn observed_rows(store: &Store, features: &[u32]) -> Result<Vec<bool>> {
    const ROWS: usize = 1 << 12;
    let parts = parallel::map(tiles(store.n_rows(), ROWS), |rows| {
        let mut entries = RowEntries::default();
        rows.map(|row| {
            entries.clear();
            store.read_row(row, &mut entries)?;
            Ok(entries.indices.iter().any(|&column| features[column as usize] != Builder::NO_FEATURE))
        })
        .collect::<Result<Vec<bool>>>()
    });
    Ok(parts.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

fn flagged(mut axis: Axis, flags: &[bool]) -> Axis {
    axis.columns.retain(|(name, _)| name != FLAG);
    axis.columns.push((FLAG.into(), Column::Booleans(flags.to_vec())));
    axis
}

fn check_space(path: &Path, n_cells: usize, n_genes: usize, options: &ImputeOptions) -> Result<()> {
    check_free_space(
        parent(path),
        n_cells as u64 * n_genes as u64 * options.dtype.size() as u64,
        || format!("the imputed layer of {n_cells} cells x {n_genes} genes in {}", path.display()),
        "free space, write elsewhere (--out), or write fewer genes (--genes) or --dtype f16",
    )
}

/// `X`: the counts of the written genes, CSR.
fn write_counts(file: &File, path: &Path, store: &Store, genes: &[u32]) -> Result<()> {
    let mut position = vec![None; store.n_cols()];
    for (written, &gene) in (0_i32..).zip(genes) {
        position[gene as usize] = Some(written);
    }
    let spec = SparseSpec {
        shape: (store.n_rows() as u64, genes.len() as u64),
        major: Major::Cells,
        nnz: genes.iter().map(|&gene| store.summary().col_nnz[gene as usize]).sum(),
        data: Dtype::F32,
        indices: Dtype::I32,
        compressed: true,
    };
    let x = h5ad::create_sparse(file, "X", &spec)?;
    let failed = |e| Error::hdf5(path, "/X", "write", e);
    let mut ends = Vec::with_capacity(store.n_rows() + 1);
    ends.push(0_i64);
    let mut row = RowEntries::default();
    let (mut indices, mut data) = (Vec::new(), Vec::new());
    let mut done = 0;
    for cell in 0..store.n_rows() {
        row.clear();
        store.read_row(cell, &mut row)?;
        for (&gene, &count) in row.indices.iter().zip(&row.values) {
            if let Some(written) = position[gene as usize] {
                indices.push(written);
                data.push(count);
            }
        }
        ends.push(i64::try_from(done + indices.len()).unwrap_or(i64::MAX));
        let is_last = cell + 1 == store.n_rows();
        while indices.len() >= X_BLOCK || (is_last && !indices.is_empty()) {
            let n = indices.len().min(X_BLOCK);
            x.indices.write_slice(&indices[..n], done..done + n).map_err(failed)?;
            x.data.write_slice(&data[..n], done..done + n).map_err(failed)?;
            done += n;
            indices.drain(..n);
            data.drain(..n);
        }
    }
    x.indptr.write(&ends).map_err(failed)
}

/// `uns/late_fast`: what these values are and where they come from.
fn write_record(file: &File, request: &Request<'_>, options: &ImputeOptions) -> Result<()> {
    let (info, finish) = (&request.model.info, request.finish);
    let config = serde_json::to_string(&info.config).map_err(|e| {
        Error::io(Path::new(&file.filename()), "write the settings", std::io::Error::other(e))
    })?;
    let policy = clap::ValueEnum::to_possible_value(&options.policy);
    let record = h5ad::create_dict(&h5ad::create_dict(file, "uns")?, "late_fast")?;
    for (name, text) in [
        ("version", env!("CARGO_PKG_VERSION")),
        ("scale", finish.scale_name()),
        ("policy", policy.as_ref().map_or("", |p| p.get_name())),
        ("transform", info.config.transform.formula()),
        ("features", info.config.features_name()),
        ("products", request.products.name()),
        ("kernels", request.isa.name()),
        ("model_features_hash", &info.features_hash),
        ("trained_on", &info.trained_on),
        ("config", &config),
        ("caution", crate::CAUTION),
    ] {
        h5ad::write_string_scalar(&record, name, text)?;
    }
    h5ad::write_number_scalar(&record, "seed", info.config.seed)?;
    h5ad::write_number_scalar(&record, "best_epoch", info.best_epoch)?;
    h5ad::write_number_scalar(&record, "best_validation_loss", info.best_validation_loss)
}

/// Receives the results and writes them to their place.
struct Writer<'a> {
    path: &'a Path,
    layer: Dataset,
    latent: Dataset,
    dtype: OutputDtype,
    progress: &'a dyn Fn(u64),
}

impl<'a> Writer<'a> {
    fn create(
        file: &File,
        path: &'a Path,
        request: &Request<'_>,
        options: &ImputeOptions,
        progress: &'a dyn Fn(u64),
    ) -> Result<Self> {
        let shape = [request.store.n_cells(), request.genes.len()];
        let chunk_values = CHUNK_BYTES / options.dtype.size();
        // A batch fills whole chunks: it is a run of rows or a run of columns of the layer.
        let chunk = match request.store.major() {
            Major::Cells => {
                let rows = (chunk_values / shape[1].max(1)).clamp(1, request.batch_size);
                [1 << rows.ilog2(), shape[1]]
            }
            Major::Genes => [chunk_values / request.batch_size, request.batch_size],
        };
        let chunk = [chunk[0].clamp(1, shape[0].max(1)), chunk[1].clamp(1, shape[1].max(1))];
        let dtype = match options.dtype {
            OutputDtype::F32 => Dtype::F32,
            OutputDtype::F16 => Dtype::F16,
        };
        let layers = h5ad::create_dict(file, "layers")?;
        let layer = h5ad::create_array(&layers, "late", dtype, shape, Some(chunk))?;
        let (n_samples, latent_group) = match request.store.major() {
            Major::Cells => (shape[0], "obsm"),
            Major::Genes => (shape[1], "varm"),
        };
        let latent_shape = [n_samples, request.model.network.architecture.n_latent()];
        let group = h5ad::create_dict(file, latent_group)?;
        let latent = h5ad::create_array(&group, "X_late", Dtype::F32, latent_shape, None)?;
        Ok(Self { path, layer, latent, dtype: options.dtype, progress })
    }
}

impl Sink for Writer<'_> {
    fn latent(&mut self, samples: Range<usize>, code: &[f32]) -> Result<()> {
        let width = code.len() / samples.len().max(1);
        write_rectangle(&self.latent, code, samples, 0..width)
            .map_err(|e| Error::hdf5(self.path, "X_late", "write", e))
    }

    fn panel(&mut self, panel: &Panel) -> Result<()> {
        let (cells, genes) = (panel.cells.clone(), panel.genes.clone());
        let largest = match self.dtype {
            OutputDtype::F32 => f32::MAX,
            OutputDtype::F16 => half::f16::MAX.to_f32(),
        };
        if let Some(at) = panel.values.iter().position(|value| value.is_nan() || value.abs() > largest) {
            return Err(Error::Resources {
                problem: format!(
                    "the imputed value of cell {} and gene {} (counted from 1) is {}, beyond {largest}, the largest \
                     number of the output's type",
                    cells.start + at / genes.len() + 1,
                    genes.start + at % genes.len() + 1,
                    panel.values[at],
                ),
                remedy: "write --dtype f32, or --output-scale log10".into(),
            });
        }
        let written = match self.dtype {
            OutputDtype::F32 => write_rectangle(&self.layer, &panel.values, cells, genes),
            OutputDtype::F16 => {
                let halves: Vec<half::f16> =
                    panel.values.iter().map(|&value| half::f16::from_f32(value)).collect();
                write_rectangle(&self.layer, &halves, cells, genes)
            }
        };
        written.map_err(|e| Error::hdf5(self.path, "/layers/late", "write", e))?;
        (self.progress)(panel.values.len() as u64);
        Ok(())
    }
}

/// Writes row-major values to some rows and columns of a dataset.
fn write_rectangle<T: H5Type>(
    dataset: &Dataset,
    values: &[T],
    rows: Range<usize>,
    columns: Range<usize>,
) -> hdf5::Result<()> {
    let view = ArrayView2::from_shape((rows.len(), columns.len()), values)
        .map_err(|e| hdf5::Error::Internal(e.to_string()))?;
    dataset.write_slice(view, (rows, columns))
}
