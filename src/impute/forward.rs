//! The dense output of a batch, in the orientation of the file: cells x genes.

use std::ops::{ControlFlow, Range};

use late_fast_kernels::Isa;

use super::value::{Finish, Policy};
use crate::config::{DEFAULT_SHUFFLE_WINDOW, KernelForm};
use crate::error::Result;
use crate::matrix::Major;
use crate::minibatch::{Builder, Loader, Minibatch, Purpose, batches_in_order};
use crate::model::{ModelFile, OutputInput, OutputLayer, Products, Workspace};
use crate::parallel::{self, split_rows, tiles};
use crate::store::{RowEntries, Store};

/// Outputs are formed for this many features at a time by one task.
const FEATURE_BLOCK: usize = 256;
/// At most this many values are in memory at a time.
const PANEL_VALUES: usize = 8 << 20;
/// Bytes of the imputed values in memory: as the network gives them, as they are put together, and, while the next ones
/// are computed, as they are written, in 32 bits and in 16.
pub(super) const PANEL_BYTES: u64 = 4 * (PANEL_VALUES * size_of::<f32>()) as u64;
/// Rows of the file are put together in tiles of this many.
const ROW_TILE: usize = 16;
/// Marks what is not written.
pub(super) const NOT_WRITTEN: u32 = u32::MAX;

/// Cells and genes of the largest rectangle of values, where samples go through the network `batch_size` at a time.
pub(super) fn tile(samples: Major, batch_size: usize) -> [usize; 2] {
    let other = (PANEL_VALUES / batch_size.max(1)).max(1);
    match samples {
        Major::Cells => [batch_size, other],
        Major::Genes => [other, batch_size],
    }
}

/// A rectangle of imputed values, row-major, at its place in the output.
#[derive(Debug, Default)]
pub(super) struct Panel {
    pub(super) cells: Range<usize>,
    pub(super) genes: Range<usize>,
    pub(super) values: Vec<f32>,
}

/// What comes out, in order. Cells and genes are positions among those that are written.
#[derive(Debug)]
pub(super) enum Piece {
    /// The latent code of consecutive samples of this axis, `samples.len() x n_latent`.
    Latent { of: Major, samples: Range<usize>, code: Vec<f32> },
    /// Imputed values of these samples.
    Values(Panel),
}

/// What is written, in terms of the input.
pub(super) struct Request<'a> {
    /// Rows are the model's samples.
    pub(super) store: &'a Store,
    pub(super) model: &'a ModelFile,
    /// For every column of the store its feature, or [`Builder::NO_FEATURE`].
    pub(super) features: &'a [u32],
    /// Cells that are written.
    pub(super) cells: Range<usize>,
    /// Genes that are written, as positions in the input, increasing.
    pub(super) genes: &'a [u32],
    /// Rows of the store that go through the network.
    pub(super) samples: &'a [u32],
    /// For each of them whether it has an entry the network knows. Without one its output would
    /// be the same generic profile for every such sample: those stay 0.
    pub(super) observed: &'a [bool],
    pub(super) finish: Finish,
    pub(super) isa: Isa,
    pub(super) products: Products,
    pub(super) batch_size: usize,
    /// The latent code is all that is wanted.
    pub(super) latent_only: bool,
}

/// Whatever receives the results, in order.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Piece) -> Result<()>;

/// Runs the samples through the network.
pub(super) fn run(request: &Request<'_>, sink: Sink<'_>) -> Result<()> {
    let output = if request.latent_only { None } else { Some(Output::new(request)?) };
    encode(request, sink, &mut |batch, samples, hidden, sink| {
        let Some(output) = &output else { return Ok(()) };
        let d = output.layer.input(hidden);
        match request.store.major() {
            Major::Cells => output.cells_as_samples(&d, batch, samples, sink),
            Major::Genes => output.genes_as_samples(&d, batch, samples, sink),
        }
    })
}

/// What is done with a batch, the places of its samples among [`Request::samples`] and their last hidden activation,
/// `samples.len() x wide`.
pub(super) type WithHidden<'a> = &'a mut dyn FnMut(&Minibatch, Range<usize>, &[f32], Sink<'_>) -> Result<()>;

/// Runs the samples through all layers but the last.
pub(super) fn encode(request: &Request<'_>, sink: Sink<'_>, with_hidden: WithHidden<'_>) -> Result<()> {
    let builder = Builder::new(
        request.store,
        request.features,
        request.model.features.len(),
        request.model.info.config.transform,
        None,
        request.isa,
    );
    let mut loader = Loader::new(builder, parallel::n_threads() > 1);
    let mut workspace = Workspace::default();
    let network = &request.model.network;
    let row_nnz = &request.store.summary().row_nnz;
    let schedule = batches_in_order(request.samples, row_nnz, DEFAULT_SHUFFLE_WINDOW, request.batch_size);
    let mut done = 0;
    let _ = loader.for_each(&schedule, 0, Purpose::Impute, |batch| {
        let samples = done..done + batch.n_samples();
        done = samples.end;
        network.encode(&mut workspace, batch, request.isa, KernelForm::Auto, None)?;
        let mut code = network.latent(&workspace, samples.len()).to_vec();
        let observed = &request.observed[samples.clone()];
        for (row, observed) in code.chunks_exact_mut(network.architecture.n_latent()).zip(observed) {
            if !observed {
                row.fill(0.0);
            }
        }
        sink(Piece::Latent { of: request.store.major(), samples: samples.clone(), code })?;
        let hidden = network.last_hidden(&workspace, samples.len());
        with_hidden(batch, samples, hidden, sink)?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(())
}

/// The features whose output is written, in the order in which it is, and which of the `written` columns of the store
/// they are, by position.
pub(super) fn written_features(
    written: impl Iterator<Item = usize>,
    features: &[u32],
) -> (Vec<u32>, Vec<usize>) {
    let known = written.map(|column| features[column]).enumerate();
    known.filter(|&(_, feature)| feature != Builder::NO_FEATURE).map(|(at, feature)| (feature, at)).unzip()
}

/// The last layer and what its outputs become.
struct Output<'a> {
    request: &'a Request<'a>,
    layer: OutputLayer<'a>,
    /// For every output of the layer the gene (or cell, where cells are features) among those that are written.
    places: Vec<usize>,
    /// For every gene of the input its place among those that are written, or [`NOT_WRITTEN`]; empty where observed
    /// entries need no look.
    written: Vec<u32>,
}

/// The dense output of some features, block by block, each `n_samples x block` row-major.
struct DenseOutput {
    /// The first output of the first block.
    start: usize,
    /// Outputs that are wanted.
    range: Range<usize>,
    blocks: Vec<Vec<f32>>,
}

impl DenseOutput {
    fn new(layer: &OutputLayer<'_>, d: &OutputInput<'_>, range: Range<usize>) -> Self {
        let start = range.start - range.start % OutputLayer::ALIGNMENT;
        let blocks = parallel::map(tiles(range.end - start, FEATURE_BLOCK), |local| {
            layer.output(d, start + local.start..start + local.end)
        });
        Self { start, range, blocks }
    }

    fn width(&self, block: usize) -> usize {
        (self.range.end - self.start - block * FEATURE_BLOCK).min(FEATURE_BLOCK)
    }

    /// The wanted outputs of `sample`, a run at a time.
    fn runs(&self, sample: usize) -> impl Iterator<Item = &[f32]> {
        self.blocks.iter().enumerate().map(move |(number, block)| {
            let width = self.width(number);
            let skip = (self.range.start - self.start).saturating_sub(number * FEATURE_BLOCK).min(width);
            &block[sample * width + skip..(sample + 1) * width]
        })
    }

    /// The output of every sample at `output`.
    fn column(&self, output: usize) -> impl Iterator<Item = f32> {
        let local = output - self.start;
        let (block, at) = (local / FEATURE_BLOCK, local % FEATURE_BLOCK);
        self.blocks[block].iter().skip(at).step_by(self.width(block)).copied()
    }
}

impl<'a> Output<'a> {
    fn new(request: &'a Request<'a>) -> Result<Self> {
        let (features, places) = match request.store.major() {
            Major::Cells => written_features(request.genes.iter().map(|&g| g as usize), request.features),
            Major::Genes => written_features(request.cells.clone(), request.features),
        };
        let layer = OutputLayer::new(&request.model.network, &features, request.isa, request.products)?;
        let mut written = Vec::new();
        if request.finish.policy != Policy::Replace && request.store.major() == Major::Cells {
            written = positions(request.genes, request.store.n_cols());
        }
        Ok(Self { request, layer, places, written })
    }

    /// The outputs of some of the cells or genes that are written.
    fn outputs_of(&self, written: &Range<usize>) -> Range<usize> {
        let first = |end: usize| self.places.partition_point(|&place| place < end);
        first(written.start)..first(written.end)
    }

    /// Genes are features: a batch is a run of rows of the file, written in panels of genes.
    fn cells_as_samples(
        &self,
        d: &OutputInput<'_>,
        batch: &Minibatch,
        cells: Range<usize>,
        sink: Sink<'_>,
    ) -> Result<()> {
        let Self { request, layer, places, written } = self;
        let [_, width] = tile(Major::Cells, request.batch_size);
        let totals = &request.store.summary().cell_sums;
        for genes in tiles(request.genes.len(), width) {
            let outputs = self.outputs_of(&genes);
            let places = &places[outputs.clone()];
            let output = DenseOutput::new(layer, d, outputs);
            let mut values = vec![0.0; cells.len() * genes.len()];
            let row_tiles = tiles(cells.len(), ROW_TILE);
            let tasks =
                row_tiles.iter().cloned().zip(split_rows(&mut values, &row_tiles, genes.len())).collect();
            let results = parallel::map(tasks, |(rows, values): (Range<usize>, &mut [f32])| {
                let mut entries = RowEntries::default();
                for (sample, values) in rows.zip(values.chunks_exact_mut(genes.len())) {
                    let cell = batch.samples[sample] as usize;
                    if request.observed[cells.start + sample] {
                        let mut places = places.iter();
                        for y in output.runs(sample) {
                            for (&y, &place) in y.iter().zip(places.by_ref().take(y.len())) {
                                values[place - genes.start] = request.finish.imputed(y, totals[cell]);
                            }
                        }
                    }
                    if written.is_empty() {
                        continue;
                    }
                    entries.clear();
                    request.store.read_row(cell, &mut entries)?;
                    for (&gene, &count) in entries.indices.iter().zip(&entries.values) {
                        let place = written[gene as usize] as usize;
                        if genes.contains(&place) {
                            let value = &mut values[place - genes.start];
                            *value = request.finish.observed(*value, count, totals[cell]);
                        }
                    }
                }
                Ok(())
            });
            results.into_iter().collect::<Result<()>>()?;
            sink(Piece::Values(Panel { cells: cells.clone(), genes, values }))?;
        }
        Ok(())
    }

    /// Cells are features: a batch is a run of columns of the file, written in panels of cells.
    fn genes_as_samples(
        &self,
        d: &OutputInput<'_>,
        batch: &Minibatch,
        genes: Range<usize>,
        sink: Sink<'_>,
    ) -> Result<()> {
        let Self { request, layer, places, .. } = self;
        let [height, _] = tile(Major::Genes, request.batch_size);
        let totals = &request.store.summary().cell_sums[request.cells.clone()];
        let observed = &request.observed[genes.clone()];
        let rows = self.observed_entries(batch)?;
        for cells in tiles(request.cells.len(), height) {
            let outputs = self.outputs_of(&cells);
            let output = DenseOutput::new(layer, d, outputs.clone());
            let mut values = vec![0.0; cells.len() * genes.len()];
            let row_tiles = tiles(cells.len(), ROW_TILE);
            let tasks =
                row_tiles.iter().cloned().zip(split_rows(&mut values, &row_tiles, genes.len())).collect();
            parallel::map(tasks, |(local, values): (Range<usize>, &mut [f32])| {
                let first = cells.start + local.start;
                for output_at in self.outputs_of(&(first..cells.start + local.end)) {
                    let cell = places[output_at];
                    let values = &mut values[(cell - first) * genes.len()..][..genes.len()];
                    for ((value, y), &observed) in
                        values.iter_mut().zip(output.column(output_at)).zip(observed)
                    {
                        if observed {
                            *value = request.finish.imputed(y, totals[cell]);
                        }
                    }
                }
            });
            for (sample, entries) in rows.iter().enumerate() {
                let [begin, end] = [cells.start, cells.end]
                    .map(|end| entries.indices.partition_point(|&cell| (cell as usize) < end));
                for (&cell, &count) in entries.indices[begin..end].iter().zip(&entries.values[begin..end]) {
                    let cell = cell as usize;
                    let value = &mut values[(cell - cells.start) * genes.len() + sample];
                    *value = request.finish.observed(*value, count, totals[cell]);
                }
            }
            sink(Piece::Values(Panel { cells, genes: genes.clone(), values }))?;
        }
        Ok(())
    }

    /// The entries of a batch's genes, as far as they matter.
    fn observed_entries(&self, batch: &Minibatch) -> Result<Vec<RowEntries>> {
        if self.request.finish.policy == Policy::Replace {
            return Ok(Vec::new());
        }
        let read = |&gene: &u32| {
            let mut entries = RowEntries::default();
            self.request.store.read_row(gene as usize, &mut entries)?;
            Ok(entries)
        };
        batch.samples.iter().map(read).collect()
    }
}

/// For each of `len` elements its place in `chosen`, or [`NOT_WRITTEN`].
pub(super) fn positions(chosen: &[u32], len: usize) -> Vec<u32> {
    let mut positions = vec![NOT_WRITTEN; len];
    for (place, &element) in (0..).zip(chosen) {
        positions[element as usize] = place;
    }
    positions
}
