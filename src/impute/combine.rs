//! Two networks, one with genes and one with cells as features, into one file: every gene from the better one.
//!
//! The file is written cell by cell. The network with cells as features gives a gene's values for all cells at once, so
//! its last hidden activation is computed first, for every gene that is taken from it, and multiplied with the output
//! weights of those cells that are written next.

use std::ops::Range;
use std::path::Path;

use late_fast_kernels::Isa;

use super::choice::{Chosen, Comparison, GeneErrors, Sum, check_pair, held_out_errors};
use super::file::OutputFile;
use super::forward::{self, PANEL_BYTES, Panel, Piece, Request, Sink};
use super::output::{
    ERRORS, ImputeReport, SOURCE, Written, check_free_space, check_overlap, compute_and_write, find_features,
    flag, observed_rows,
};
use super::publish::Target;
use super::record::Record;
use super::value::{Finish, Policy};
use super::{ImputeOptions, memory_bytes};
use crate::error::{Error, Result};
use crate::hdf;
use crate::io::Source;
use crate::matrix::{Axis, Column, Major};
use crate::minibatch::{Builder, Holdout};
use crate::model::{Architecture, Features, ModelFile, OutputInput, OutputLayer, Products};
use crate::parallel::{self, split_rows, tiles};
use crate::store::{Fingerprint, Prepared, RowEntries, Store, Summary};

/// Rows of the file are put together in tiles of this many.
const ROW_TILE: usize = 16;

/// The two networks.
#[derive(Clone, Copy, Debug)]
pub struct Models<'a> {
    /// With genes as features.
    pub genes: &'a ModelFile,
    /// With cells as features.
    pub cells: &'a ModelFile,
}

/// What was chosen and written.
#[derive(Clone, Debug, serde::Serialize)]
pub struct CombineReport {
    /// What was written; features are those of the network with genes as features.
    #[serde(flatten)]
    pub written: ImputeReport,
    /// Genes whose values are from the network with genes as features.
    pub from_genes: usize,
    /// Genes whose values are from the network with cells as features.
    pub from_cells: usize,
    /// Held-out entries of the genes that are written.
    pub held_out_entries: u64,
    /// Mean squared error of the network with genes as features on them; null where there are none.
    pub error_genes: f64,
    /// That of the one with cells as features.
    pub error_cells: f64,
    /// That of every gene's own choice, which was made on the same entries: a little too small.
    pub error_combined: f64,
}

impl Models<'_> {
    /// Makes sure that the two can be combined.
    ///
    /// # Errors
    /// When they have the same features, learned different scales, or different entries were hidden from them.
    pub fn check(&self) -> Result<()> {
        for (model, samples, option) in
            [(self.genes, Major::Cells, "--genes-model"), (self.cells, Major::Genes, "--cells-model")]
        {
            if model.info.config.samples != samples {
                return Err(Error::Usage {
                    problem: format!("{option} has {} as features", model.info.config.features_name()),
                    remedy: "give one model of either kind: late-fast train --features both makes them"
                        .into(),
                });
            }
        }
        check_pair(&self.genes.info.config, &self.cells.info.config).map(drop)
    }

    /// Makes sure that both were trained on the matrix of `source`, whose entries `summary` describes: what was hidden
    /// from them is told by the places of cells and genes, and another matrix has other entries there.
    ///
    /// # Errors
    /// When one was trained on another matrix. Of a model that does not say, the features' names have to be the same.
    pub fn check_input(&self, source: &dyn Source, summary: &Summary) -> Result<()> {
        let input = Fingerprint::of(source, summary);
        for model in [self.genes, self.cells] {
            let info = &model.info;
            let samples = info.config.samples;
            let is_same = match &info.input {
                Some(own) => *own == input,
                None => {
                    let nnz = if source.major() == samples { &summary.col_nnz } else { &summary.row_nnz };
                    let observed = (0_u32..).zip(nnz).filter(|(_, nnz)| **nnz > 0).map(|(place, _)| place);
                    let axis = source.axis(samples.other());
                    Features::of_axis(axis, &observed.collect::<Vec<_>>()).hash() == info.features_hash
                }
            };
            if !is_same {
                return Err(Error::input(
                    source.path(),
                    "matrix",
                    format!(
                        "the one the model with {} as features was trained on",
                        info.config.features_name()
                    ),
                    format!("another one (that was {})", info.trained_on),
                    "give the matrix both were trained on, read with the same options (--layer, --store-dtype, ...): which \
                     entries were hidden in training is not known of another",
                ));
            }
        }
        Ok(())
    }

    /// See [`combining_bytes`]. `batch_nnz`: entries of the largest batches of cells and of genes.
    ///
    /// # Errors
    /// When 16-bit factors are asked for and the CPU has no AMX.
    pub fn memory_bytes(&self, options: &ImputeOptions, n_genes: usize, batch_nnz: [u64; 2]) -> Result<u64> {
        let networks = [
            (&self.genes.network.architecture, products(options, self.genes)?, batch_nnz[0]),
            (&self.cells.network.architecture, products(options, self.cells)?, batch_nnz[1]),
        ];
        Ok(combining_bytes(options.isa, networks, options.batch_size, n_genes))
    }
}

/// Bytes that combining `n_genes` genes takes beside names and the program: for either network what [`memory_bytes`]
/// says of it, its products and the entries of its largest batch, and the rows that are put together.
pub fn combining_bytes(
    isa: Isa,
    networks: [(&Architecture, Products, u64); 2],
    batch_size: usize,
    n_genes: usize,
) -> u64 {
    // The outputs may have to be put together.
    let one = |(architecture, products, batch_nnz): (&Architecture, _, _)| {
        memory_bytes(isa, architecture, products, batch_size, batch_nnz, architecture.n_features)
    };
    // Hidden activations, also in 16 bits; rows that are put together, those that are written, and the outputs.
    let rows = n_genes * (2 * networks[1].0.wide() + 3 * batch_size);
    networks.map(one).iter().sum::<u64>() - PANEL_BYTES + (rows * size_of::<f32>()) as u64
}

fn products(options: &ImputeOptions, model: &ModelFile) -> Result<Products> {
    options.products_for(model.info.config.param_dtype)
}

/// Imputes the matrix of `source` (made available by `prepared` with rows of both axes) with every gene's better
/// network, and writes it to `path`. `progress` is told the name of the step and what was done in it since it was called
/// last: samples scored, then values imputed, and rewritten where the format is not h5ad.
///
/// # Errors
/// When the models do not fit each other or the matrix, or the file cannot be written.
pub fn combine(
    source: &dyn Source,
    prepared: &Prepared,
    models: Models<'_>,
    options: &ImputeOptions,
    path: &Path,
    progress: &dyn Fn(&'static str, u64),
) -> Result<CombineReport> {
    let started = std::time::Instant::now();
    models.check()?;
    let holdout = check_pair(&models.genes.info.config, &models.cells.info.config)?;
    let (Some(cell_store), Some(gene_store)) =
        (prepared.with_rows(Major::Cells), prepared.with_rows(Major::Genes))
    else {
        unreachable!("both orientations were prepared")
    };
    let genes = &options.written_genes(source.genes().len())[..];
    let found = [models.genes, models.cells].map(|model| {
        let features = find_features(source, model);
        check_overlap(source, model, &features, options.force).map(|matched| (features, matched))
    });
    let [by_genes, by_cells] = found;
    let (by_genes, by_cells) = (by_genes?, by_cells?);
    let mut layout = options.layout(source, models.genes);
    layout.n_other_latent = Some(models.cells.network.architecture.n_latent());
    check_free_space(path, &layout, options.format)?;
    let score = |model, store, found| {
        Side::score(model, store, found, genes, holdout, options, &|n| progress("scoring", n))
    };
    let sides = [score(models.genes, cell_store, by_genes)?, score(models.cells, gene_store, by_cells)?];
    let chosen = choices(&sides, genes);
    let from_genes: Vec<u32> = taken_from(Chosen::Genes, &chosen).map(|place| genes[place]).collect();
    let requests = [sides[0].request(&from_genes, options)?, sides[1].request(genes, options)?];
    let work = Combination { requests, genes, chosen: &chosen, cell_store };
    let (obs, imputed_cells) = work.obs(source);
    let (var, imputed_genes) = work.var(source, sides.each_ref().map(|side| &side.errors));
    let record = Record::of_both(models, options)?;
    let cells = 0..source.cells().len();
    let written = Written { cell_store, cells: cells.clone(), genes, latent_only: false };
    let (format, force, axes) = (options.format, options.force, [&obs, &var]);
    let target = Target { path, format, force, axes, record: &record.of_output("combine", source) };
    let bytes = target.publish(&|n| progress("writing", n), |temporary| {
        let file = OutputFile::create(temporary, layout, [&obs, &var], &record, false)?;
        let advance = |n| progress("imputing", n);
        let (file, _) = compute_and_write(&written, file, &advance, |sink| work.run(sink))?;
        hdf::close(file, temporary)
    })?;
    let [of_genes, of_cells] =
        sides.each_ref().map(|side| Sum::of(genes.iter().map(|&gene| side.error(gene))));
    let own = |(&gene, chosen): (&u32, &Chosen)| sides[usize::from(*chosen == Chosen::Cells)].error(gene);
    Ok(CombineReport {
        written: ImputeReport {
            n_cells: cells.len(),
            n_genes: genes.len(),
            imputed_cells,
            imputed_genes,
            matched_features: sides[0].matched,
            n_features: models.genes.features.len(),
            bytes,
            seconds: started.elapsed().as_secs_f64(),
        },
        from_genes: from_genes.len(),
        from_cells: taken_from(Chosen::Cells, &chosen).count(),
        held_out_entries: of_genes.count(),
        error_genes: of_genes.mean(),
        error_cells: of_cells.mean(),
        error_combined: Sum::of(genes.iter().zip(&chosen).map(own)).mean(),
    })
}

/// One of the networks and what it makes of the matrix.
struct Side<'a> {
    model: &'a ModelFile,
    /// A row a sample of the model.
    store: &'a Store,
    /// For every column of the store its feature, or [`Builder::NO_FEATURE`].
    features: Vec<u32>,
    /// Features of the model that the matrix has.
    matched: usize,
    errors: GeneErrors,
    /// Rows that go through the network: the genes that are written, or all cells.
    samples: Vec<u32>,
    /// For each of them whether it has an entry the network knows.
    observed: Vec<bool>,
}

impl<'a> Side<'a> {
    fn score(
        model: &'a ModelFile,
        store: &'a Store,
        (features, matched): (Vec<u32>, usize),
        genes: &[u32],
        holdout: Holdout,
        options: &ImputeOptions,
        progress: &dyn Fn(u64),
    ) -> Result<Self> {
        let how = (options.isa, options.batch_size);
        let errors = held_out_errors(store, model, &features, holdout, how, progress)?;
        let samples = match store.major() {
            Major::Cells => (0..u32::try_from(store.n_rows()).unwrap_or(u32::MAX)).collect(),
            Major::Genes => genes.to_vec(),
        };
        let observed = observed_rows(store, &features, &samples)?;
        Ok(Self { model, store, features, matched, errors, samples, observed })
    }

    /// Asks for the values of `genes` in every cell.
    fn request<'r>(&'r self, genes: &'r [u32], options: &ImputeOptions) -> Result<Request<'r>> {
        let n_cells =
            if self.store.major() == Major::Cells { self.store.n_rows() } else { self.store.n_cols() };
        Ok(Request {
            store: self.store,
            model: self.model,
            features: &self.features,
            cells: 0..n_cells,
            genes,
            samples: &self.samples,
            observed: &self.observed,
            finish: options.finish(self.model.info.config.transform),
            isa: options.isa,
            products: products(options, self.model)?,
            batch_size: options.batch_size,
            latent_only: false,
        })
    }

    /// The squared errors of a gene's held-out entries.
    fn error(&self, gene: u32) -> Sum {
        self.errors.of(gene as usize)
    }
}

/// The network for each of some genes.
fn choices([by_genes, by_cells]: &[Side<'_>; 2], genes: &[u32]) -> Vec<Chosen> {
    let comparison = Comparison::new([&by_genes.errors, &by_cells.errors]);
    let choice = |(&gene, &in_cells): (&u32, &bool)| {
        let in_genes = by_genes.features[gene as usize] != Builder::NO_FEATURE;
        comparison.choose(gene as usize, [in_genes, in_cells])
    };
    genes.iter().zip(&by_cells.observed).map(choice).collect()
}

/// Places among the genes that are written.
fn taken_from(source: Chosen, chosen: &[Chosen]) -> impl Iterator<Item = usize> {
    chosen.iter().enumerate().filter(move |(_, chosen)| **chosen == source).map(|(place, _)| place)
}

/// Everything that is combined.
struct Combination<'a> {
    /// To the network with genes as features, for the genes taken from it, and to the one with cells as features, for all.
    requests: [Request<'a>; 2],
    /// Genes that are written.
    genes: &'a [u32],
    /// For each of them its network.
    chosen: &'a [Chosen],
    cell_store: &'a Store,
}

impl Combination<'_> {
    /// The cells, flagged where either network imputes, and how many are.
    fn obs(&self, source: &dyn Source) -> (Axis, usize) {
        let [by_genes, by_cells] = &self.requests;
        let known = by_cells.features.iter().map(|&feature| feature != Builder::NO_FEATURE);
        let flags = by_genes.observed.iter().zip(known).map(|(&a, b)| a || b).collect();
        flag(source.cells().clone(), flags)
    }

    /// The genes with their choice and its reasons, and how many are imputed.
    fn var(&self, source: &dyn Source, errors: [&GeneErrors; 2]) -> (Axis, usize) {
        let positions: Vec<usize> = self.genes.iter().map(|&gene| gene as usize).collect();
        let flags = self.chosen.iter().map(|&chosen| chosen != Chosen::Neither).collect();
        let (mut var, count) = flag(source.genes().select(&positions), flags);
        let names = self.chosen.iter().map(|chosen| chosen.name().to_owned()).collect();
        var.columns.push((SOURCE.into(), Column::Strings(names)));
        for (name, errors) in ERRORS.into_iter().zip(errors) {
            let means = positions.iter().map(|&gene| errors.of(gene).mean()).collect();
            var.columns.push((name.into(), Column::Floats(means)));
        }
        (var, count)
    }

    fn run(&self, sink: Sink<'_>) -> Result<()> {
        let [by_genes, by_cells] = &self.requests;
        let wide = by_cells.model.network.architecture.wide();
        let n_taken = taken_from(Chosen::Cells, self.chosen).count();
        let mut hidden = Vec::with_capacity(n_taken * wide);
        forward::encode(by_cells, sink, &mut |_, places, rows, _| {
            for (place, row) in places.zip(rows.chunks_exact(wide)) {
                if self.chosen[place] == Chosen::Cells {
                    hidden.extend_from_slice(row);
                }
            }
            Ok(())
        })?;
        let columns = Columns::new(self, &hidden)?;
        let mut rows = Rows {
            from_genes: taken_from(Chosen::Genes, self.chosen).collect(),
            width: self.genes.len(),
            panel: Panel::default(),
            columns,
        };
        forward::run(by_genes, &mut |piece| match piece {
            Piece::Values(panel) => {
                rows.fill(&panel);
                Ok(())
            }
            Piece::Latent { of, samples, code } => {
                rows.finish(sink)?;
                rows.start(samples.clone());
                sink(Piece::Latent { of, samples, code })
            }
        })?;
        rows.finish(sink)
    }
}

/// The rows of the file that are being put together.
struct Rows<'a> {
    /// Places of the genes from the network with genes as features.
    from_genes: Vec<usize>,
    /// Genes that are written.
    width: usize,
    panel: Panel,
    columns: Columns<'a>,
}

impl Rows<'_> {
    fn start(&mut self, cells: Range<usize>) {
        let values = vec![0.0; cells.len() * self.width];
        self.panel = Panel { cells, genes: 0..self.width, values };
    }

    /// Takes values of genes from the network with genes as features.
    fn fill(&mut self, part: &Panel) {
        let places = &self.from_genes[part.genes.clone()];
        let rows = self.panel.values.chunks_exact_mut(self.width);
        for (row, values) in rows.zip(part.values.chunks_exact(places.len())) {
            for (&place, &value) in places.iter().zip(values) {
                row[place] = value;
            }
        }
    }

    /// Adds the others and hands the rows on.
    fn finish(&mut self, sink: Sink<'_>) -> Result<()> {
        let mut panel = std::mem::take(&mut self.panel);
        if panel.values.is_empty() {
            return Ok(());
        }
        self.columns.fill(&mut panel)?;
        sink(Piece::Values(panel))
    }
}

/// The genes from the network with cells as features.
struct Columns<'a> {
    layer: OutputLayer<'a>,
    /// For every output of the layer its cell.
    cells: Vec<usize>,
    /// The last hidden activations, for some genes each.
    inputs: Vec<OutputInput<'a>>,
    batch_size: usize,
    /// Places of the genes among those that are written.
    genes: Vec<usize>,
    /// For every gene of the input its place, if its values are not from the other network, else
    /// [`forward::NOT_WRITTEN`]; empty where observed entries need no look.
    places: Vec<u32>,
    finish: Finish,
    cell_store: &'a Store,
}

impl<'a> Columns<'a> {
    fn new(work: &'a Combination<'_>, hidden: &'a [f32]) -> Result<Self> {
        let request = &work.requests[1];
        let (features, cells) = forward::written_features(request.cells.clone(), request.features);
        let network = &request.model.network;
        let layer = OutputLayer::new(network, &features, request.isa, request.products)?;
        let rows = request.batch_size * network.architecture.wide();
        let genes: Vec<usize> = taken_from(Chosen::Cells, work.chosen).collect();
        let mut places = Vec::new();
        if request.finish.policy != Policy::Replace {
            // Also of genes that neither network knows: what was observed of them stays.
            places = forward::positions(work.genes, work.cell_store.n_cols());
            for place in taken_from(Chosen::Genes, work.chosen) {
                places[work.genes[place] as usize] = forward::NOT_WRITTEN;
            }
        }
        let inputs = hidden.chunks(rows).map(|rows| layer.input(rows)).collect();
        let (batch_size, finish, cell_store) = (request.batch_size, request.finish, work.cell_store);
        Ok(Self { layer, cells, inputs, batch_size, genes, places, finish, cell_store })
    }

    /// Writes the values of these genes into rows of the file.
    fn fill(&self, panel: &mut Panel) -> Result<()> {
        let width = panel.genes.len();
        let totals = &self.cell_store.summary().cell_sums;
        let first = |end: usize| self.cells.partition_point(|&cell| cell < end);
        let wanted = first(panel.cells.start)..first(panel.cells.end);
        let start = wanted.start - wanted.start % OutputLayer::ALIGNMENT;
        let n_outputs = wanted.end - start;
        let outputs = parallel::map(self.inputs.iter().collect(), |input: &OutputInput<'_>| {
            self.layer.output(input, start..wanted.end)
        });
        let row_tiles = tiles(panel.cells.len(), ROW_TILE);
        let parts = split_rows(&mut panel.values, &row_tiles, width);
        let tasks = row_tiles.iter().cloned().zip(parts).collect();
        let (cells, places) = (&panel.cells, &self.places);
        let filled = parallel::map(tasks, |(rows, values): (Range<usize>, &mut [f32])| {
            let top = cells.start + rows.start;
            for output in first(top)..first(cells.start + rows.end) {
                let cell = self.cells[output];
                let row = &mut values[(cell - top) * width..][..width];
                let of_cell = |y: &'_ Vec<f32>, gene: usize| y[gene * n_outputs + output - start];
                for (y, genes) in outputs.iter().zip(self.genes.chunks(self.batch_size)) {
                    for (number, &place) in genes.iter().enumerate() {
                        row[place] = self.finish.imputed(of_cell(y, number), totals[cell]);
                    }
                }
            }
            if places.is_empty() {
                return Ok(());
            }
            let mut entries = RowEntries::default();
            for (cell, row) in (top..).zip(values.chunks_exact_mut(width)) {
                entries.clear();
                self.cell_store.read_row(cell, &mut entries)?;
                for (&gene, &count) in entries.indices.iter().zip(&entries.values) {
                    if let Some(value) = row.get_mut(places[gene as usize] as usize) {
                        *value = self.finish.observed(*value, count, totals[cell]);
                    }
                }
            }
            Ok(())
        });
        filled.into_iter().collect()
    }
}
