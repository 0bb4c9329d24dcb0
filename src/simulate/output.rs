//! The files: the matrix, the cells' types, and the expected counts.

use std::io::{BufWriter, Write};
use std::path::Path;

use ndarray::ArrayView2;

use super::names::{barcode, cell_types, genes};
use super::population::{Counter, Population};
use super::{SimulateLayout, SimulateOptions};
use crate::atomic::prepare;
use crate::error::{Error, Result};
use crate::h5ad;
use crate::hdf;
use crate::io::Dtype;
use crate::matrix::{Axis, Column, RowBlock};
use crate::parallel::{self, tiles};
use crate::tenx::{TenxFeatures, TenxLayout, TenxWriter};

/// Values of the truth that are made and written together: 16 MB.
const TRUTH_BLOCK: usize = 4 << 20;
/// Labels are drawn for this many cells at a time.
const LABEL_BLOCK: usize = 1 << 16;

/// What was written.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SimulateReport {
    /// Cells in the file.
    pub n_cells: usize,
    /// Genes in the file.
    pub n_genes: usize,
    /// Entries that are not 0.
    pub nnz: u64,
    /// Their share; 0 without cells.
    pub density: f64,
    /// The sum of all counts.
    pub molecules: u64,
    /// The largest count.
    pub max_count: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// Makes the matrix that `options` describe, which [`SimulateOptions::check`] has found possible. `progress` is told
/// the cells written since it was called last.
///
/// # Errors
/// When the density takes too many molecules, or a file cannot be written.
pub fn simulate(options: &SimulateOptions, progress: &dyn Fn(u64)) -> Result<SimulateReport> {
    let SimulateOptions { seed, n_cells, n_genes, n_cell_types, density, force, .. } = *options;
    let population = Population::new(seed, n_cells, n_genes, n_cell_types, density)?;
    let (labels, ()) = prepare(&options.labels, force, |path| write_labels(path, options, &population))?;
    let truth = match &options.truth {
        Some(truth) => Some(prepare(truth, force, |path| write_truth(path, options, &population))?.0),
        None => None,
    };
    let (matrix, mut report) =
        prepare(&options.out, force, |path| write_matrix(path, options, &population, progress))?;
    labels.publish()?;
    truth.map_or(Ok(()), |truth| truth.publish())?;
    matrix.publish()?;
    report.bytes = options.out.metadata().map_err(|e| Error::io(&options.out, "read back", e))?.len();
    Ok(report)
}

fn write_matrix(
    path: &Path,
    options: &SimulateOptions,
    population: &Population,
    progress: &dyn Fn(u64),
) -> Result<SimulateReport> {
    let SimulateOptions { n_cells, n_genes, seed, .. } = *options;
    let layout = match options.layout {
        SimulateLayout::V2 => TenxLayout::V2 { genome: options.genome.clone() },
        SimulateLayout::V3 => TenxLayout::V3,
    };
    let mut writer = TenxWriter::create(path, layout, "simulated by late-fast")?;
    let (block_cells, task_cells) = options.cut();
    let (mut molecules, mut max_count) = (0.0, 0.0_f64);
    let draw = |cells: std::ops::Range<usize>| {
        let first = cells.start;
        parallel::map(tiles(cells.len(), task_cells), |task| {
            let mut counter = Counter::new(n_genes);
            let mut rows = RowBlock { indptr: vec![0], ..RowBlock::default() };
            for cell in task {
                population.draw(first + cell, &mut counter, &mut rows);
            }
            rows
        })
    };
    parallel::ahead(tiles(n_cells, block_cells), draw, |parts| {
        for rows in &parts {
            writer.write_rows(rows)?;
            // Exact: the sum of all counts stays far below 2^53.
            molecules += rows.values.iter().sum::<f64>();
            max_count = rows.values.iter().fold(max_count, |max, &count| max.max(count));
            progress(rows.n_rows() as u64);
        }
        Ok(())
    })?;
    let (ids, names) = genes(n_genes);
    let genomes = vec![options.genome.clone(); n_genes];
    let barcodes = (0..n_cells).map(|cell| barcode(seed, n_cells, cell));
    let features = TenxFeatures { ids: &ids, names: &names, genomes: &genomes, types: None };
    let nnz = writer.finish(barcodes, features)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers below 2^53")]
    Ok(SimulateReport {
        n_cells,
        n_genes,
        nnz,
        density: nnz as f64 / (n_cells as f64 * n_genes as f64).max(1.0),
        molecules: molecules as u64,
        max_count: max_count as u64,
        bytes: 0,
    })
}

fn write_labels(path: &Path, options: &SimulateOptions, population: &Population) -> Result<()> {
    let SimulateOptions { n_cells, seed, .. } = *options;
    let failed = |e| Error::io(path, "write", e);
    let types = cell_types(options.n_cell_types);
    let mut file = BufWriter::new(std::fs::File::create(path).map_err(failed)?);
    writeln!(file, "barcode,cell_type").map_err(failed)?;
    let line = |cell| format!("{},{}\n", barcode(seed, n_cells, cell), types[population.cell_type(cell)]);
    let lines = |cells: std::ops::Range<usize>| cells.map(line).collect::<String>();
    parallel::ahead(tiles(n_cells, LABEL_BLOCK), lines, |text| {
        file.write_all(text.as_bytes()).map_err(failed)
    })?;
    file.flush().map_err(failed)
}

/// `X`: the expected counts; `obs`: the cells' types and sizes.
fn write_truth(path: &Path, options: &SimulateOptions, population: &Population) -> Result<()> {
    let SimulateOptions { n_cells, n_genes, seed, .. } = *options;
    let file = h5ad::create_file(path)?;
    let (ids, names) = genes(n_genes);
    let types = cell_types(options.n_cell_types);
    let cells = parallel::map((0..n_cells).collect(), |index| population.cell(index).0);
    let obs = Axis {
        names: (0..n_cells).map(|cell| barcode(seed, n_cells, cell)).collect(),
        columns: vec![
            ("cell_type".into(), Column::Strings(cells.iter().map(|c| types[c.cell_type].clone()).collect())),
            ("expected_total".into(), Column::Floats(cells.iter().map(|cell| cell.size).collect())),
        ],
    };
    let var = Axis { names, columns: vec![("gene_ids".into(), Column::Strings(ids))] };
    h5ad::write_axis(&file, "obs", &obs)?;
    h5ad::write_axis(&file, "var", &var)?;
    let block = (TRUTH_BLOCK / n_genes).clamp(1, n_cells.max(1));
    let chunk = (n_cells > 0).then_some([block, n_genes]);
    let x = h5ad::create_array(&file, "X", Dtype::F32, [n_cells, n_genes], chunk)?;
    let rates = |rows: std::ops::Range<usize>| {
        let mut values = vec![0.0; rows.len() * n_genes];
        let tasks = cells[rows.clone()].iter().zip(values.chunks_mut(n_genes)).collect();
        parallel::map(tasks, |(cell, values): (_, &mut [f32])| population.rates(cell, values));
        (rows, values)
    };
    parallel::ahead(tiles(n_cells, block), rates, |(rows, values)| {
        ArrayView2::from_shape((rows.len(), n_genes), &values)
            .map_err(|e| hdf5::Error::Internal(e.to_string()))
            .and_then(|view| x.write_slice(view, (rows, ..)))
            .map_err(|e| Error::hdf5(path, "X", "write", e))
    })?;
    hdf::flush(&x)?;
    drop(x);
    hdf::close(file, path)
}
