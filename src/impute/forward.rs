//! The dense output of a batch, in the orientation of the file: cells x genes.

use std::ops::Range;

use late_fast_kernels::Isa;

use super::value::Finish;
use crate::config::KernelForm;
use crate::error::Result;
use crate::matrix::Major;
use crate::minibatch::{Builder, Minibatch, Purpose};
use crate::model::{ModelFile, OutputInput, OutputLayer, Products, Workspace};
use crate::parallel::{self, split_rows, tiles};
use crate::store::{RowEntries, Store};

/// Outputs are formed for this many features at a time by one task.
const FEATURE_BLOCK: usize = 256;
/// At most this many values are in memory at a time.
const PANEL_VALUES: usize = 16 << 20;
/// Bytes of the imputed values in memory: as the network gives them, and as they are written.
pub(super) const PANEL_BYTES: u64 = 2 * (PANEL_VALUES * size_of::<f32>()) as u64;
/// Rows of the file are put together in tiles of this many.
const ROW_TILE: usize = 16;

/// A rectangle of imputed values, row-major, at its place in the output.
#[derive(Debug, Default)]
pub(super) struct Panel {
    pub(super) cells: Range<usize>,
    /// Positions among the genes that are written.
    pub(super) genes: Range<usize>,
    pub(super) values: Vec<f32>,
}

/// What is written, in terms of the input.
pub(super) struct Request<'a> {
    /// Rows are the model's samples.
    pub(super) store: &'a Store,
    pub(super) model: &'a ModelFile,
    /// For every column of the store its feature, or [`Builder::NO_FEATURE`].
    pub(super) features: &'a [u32],
    /// Genes that are written, as positions in the input, increasing.
    pub(super) genes: &'a [u32],
    /// For every row of the store whether it has an entry the network knows. Without one its output would
    /// be the same generic profile for every such sample: those stay 0.
    pub(super) observed: &'a [bool],
    pub(super) finish: Finish,
    pub(super) isa: Isa,
    pub(super) products: Products,
    pub(super) batch_size: usize,
}

/// Whatever receives the results, in order.
pub(super) trait Sink {
    /// The latent code of consecutive samples, `samples.len() x n_latent`. With cells as features
    /// only the genes that are written come, as positions among them.
    fn latent(&mut self, samples: Range<usize>, code: &[f32]) -> Result<()>;
    /// Imputed values.
    fn panel(&mut self, panel: &Panel) -> Result<()>;
}

/// Runs every sample through the network.
pub(super) fn run(request: &Request<'_>, sink: &mut dyn Sink) -> Result<()> {
    let samples: Vec<u32> = match request.store.major() {
        Major::Cells => (0..u32::try_from(request.store.n_rows()).unwrap_or(u32::MAX)).collect(),
        Major::Genes => request.genes.to_vec(),
    };
    let mut builder = Builder::new(
        request.store,
        request.features,
        request.model.features.len(),
        request.model.info.config.transform,
        None,
        request.isa,
    );
    let mut workspace = Workspace::default();
    let mut batch = Minibatch::default();
    let network = &request.model.network;
    let layer = OutputLayer::new(network, request.isa, request.products)?;
    for range in tiles(samples.len(), request.batch_size) {
        builder.build(&samples[range.clone()], Purpose::Impute, &mut batch)?;
        network.encode(&mut workspace, &batch, request.isa, KernelForm::Auto, None)?;
        let mut code = network.latent(&workspace, range.len()).to_vec();
        let observed: Vec<bool> = batch.samples.iter().map(|&row| request.observed[row as usize]).collect();
        for (row, observed) in code.chunks_exact_mut(network.architecture.n_latent()).zip(&observed) {
            if !observed {
                row.fill(0.0);
            }
        }
        sink.latent(range.clone(), &code)?;
        let d = &layer.input(network.last_hidden(&workspace, range.len()));
        match request.store.major() {
            Major::Cells => cells_as_samples(request, &layer, d, &batch, range, &observed, sink)?,
            Major::Genes => genes_as_samples(request, &layer, d, &batch, range, &observed, sink)?,
        }
    }
    Ok(())
}

/// The dense output of some features, block by block, each `n_samples x block` row-major.
struct DenseOutput {
    features: Range<usize>,
    blocks: Vec<Vec<f32>>,
}

impl DenseOutput {
    fn new(layer: &OutputLayer<'_>, d: &OutputInput<'_>, features: Range<usize>) -> Self {
        let start = features.start - features.start % OutputLayer::ALIGNMENT;
        let features = start..features.end;
        let blocks = parallel::map(tiles(features.len(), FEATURE_BLOCK), |local| {
            layer.output(d, features.start + local.start..features.start + local.end)
        });
        Self { features, blocks }
    }

    /// The output of `sample` at `feature`.
    fn at(&self, sample: usize, feature: usize) -> f32 {
        let local = feature - self.features.start;
        let block = local / FEATURE_BLOCK;
        let width = (self.features.len() - block * FEATURE_BLOCK).min(FEATURE_BLOCK);
        self.blocks[block][sample * width + local % FEATURE_BLOCK]
    }
}

/// Genes are features: a batch is a run of rows of the file, written in panels of genes.
fn cells_as_samples(
    request: &Request<'_>,
    layer: &OutputLayer<'_>,
    d: &OutputInput<'_>,
    batch: &Minibatch,
    cells: Range<usize>,
    observed: &[bool],
    sink: &mut dyn Sink,
) -> Result<()> {
    let width = (PANEL_VALUES / cells.len()).max(1);
    let totals = &request.store.summary().cell_sums;
    for genes in tiles(request.genes.len(), width) {
        let wanted = &request.genes[genes.clone()];
        let known =
            wanted.iter().map(|&g| request.features[g as usize]).filter(|&f| f != Builder::NO_FEATURE);
        let (first, last) = known.fold((u32::MAX, 0), |(low, high), f| (low.min(f), high.max(f)));
        let features = if first == u32::MAX { 0..0 } else { first as usize..last as usize + 1 };
        let output = DenseOutput::new(layer, d, features);
        let mut values = vec![0.0; cells.len() * wanted.len()];
        let row_tiles = tiles(cells.len(), ROW_TILE);
        let tasks =
            row_tiles.iter().cloned().zip(split_rows(&mut values, &row_tiles, wanted.len())).collect();
        let results = parallel::map(tasks, |(rows, values): (Range<usize>, &mut [f32])| {
            let mut entries = RowEntries::default();
            for (sample, values) in rows.zip(values.chunks_exact_mut(wanted.len())) {
                let cell = batch.samples[sample] as usize;
                for (value, &gene) in values.iter_mut().zip(wanted) {
                    let feature = request.features[gene as usize];
                    if observed[sample] && feature != Builder::NO_FEATURE {
                        let y = output.at(sample, feature as usize);
                        *value = request.finish.imputed(y, totals[cell]);
                    }
                }
                entries.clear();
                request.store.read_row(cell, &mut entries)?;
                for (&gene, &count) in entries.indices.iter().zip(&entries.values) {
                    if let Ok(column) = wanted.binary_search(&gene) {
                        values[column] = request.finish.observed(values[column], count, totals[cell]);
                    }
                }
            }
            Ok(())
        });
        results.into_iter().collect::<Result<()>>()?;
        sink.panel(&Panel { cells: cells.clone(), genes, values })?;
    }
    Ok(())
}

/// Cells are features: a batch is a run of columns of the file, written in panels of cells.
fn genes_as_samples(
    request: &Request<'_>,
    layer: &OutputLayer<'_>,
    d: &OutputInput<'_>,
    batch: &Minibatch,
    genes: Range<usize>,
    observed: &[bool],
    sink: &mut dyn Sink,
) -> Result<()> {
    let height = (PANEL_VALUES / genes.len()).max(1);
    let totals = &request.store.summary().cell_sums;
    let mut rows = Vec::with_capacity(genes.len());
    for &gene in &batch.samples {
        let mut entries = RowEntries::default();
        request.store.read_row(gene as usize, &mut entries)?;
        rows.push(entries);
    }
    for cells in tiles(request.store.n_cols(), height) {
        let known = request.features[cells.clone()].iter().filter(|&&f| f != Builder::NO_FEATURE).copied();
        let (first, last) = known.fold((u32::MAX, 0), |(low, high), f| (low.min(f), high.max(f)));
        let features = if first == u32::MAX { 0..0 } else { first as usize..last as usize + 1 };
        let output = DenseOutput::new(layer, d, features);
        let mut values = vec![0.0; cells.len() * genes.len()];
        let row_tiles = tiles(cells.len(), ROW_TILE);
        let tasks = row_tiles.iter().cloned().zip(split_rows(&mut values, &row_tiles, genes.len())).collect();
        parallel::map(tasks, |(local, values): (Range<usize>, &mut [f32])| {
            for (cell, values) in local.zip(values.chunks_exact_mut(genes.len())) {
                let cell = cells.start + cell;
                let feature = request.features[cell];
                if feature == Builder::NO_FEATURE {
                    continue;
                }
                for (sample, value) in values.iter_mut().enumerate().filter(|(sample, _)| observed[*sample]) {
                    *value = request.finish.imputed(output.at(sample, feature as usize), totals[cell]);
                }
            }
        });
        for (sample, entries) in rows.iter().enumerate() {
            let begin = entries.indices.partition_point(|&cell| (cell as usize) < cells.start);
            let end = entries.indices.partition_point(|&cell| (cell as usize) < cells.end);
            for entry in begin..end {
                let cell = entries.indices[entry] as usize;
                let value = &mut values[(cell - cells.start) * genes.len() + sample];
                *value = request.finish.observed(*value, entries.values[entry], totals[cell]);
            }
        }
        sink.panel(&Panel { cells, genes: genes.clone(), values })?;
    }
    Ok(())
}
