//! The model: a cell mixes gene programmes as its type does, and molecules choose their genes from that mixture.
//!
//! A cell of size s with weights theta has Poisson(s theta\[k\]) molecules of programme k, each of gene g with
//! probability beta\[k\]\[g\]. So its counts are independent Poisson variables with rates s theta beta.

use rand::RngExt;
use rand_distr::{Distribution, Gamma, Poisson, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::alias::AliasTable;
use crate::error::{Error, Result};
use crate::matrix::RowBlock;
use crate::parallel::{self, tiles};
use crate::random::{Purpose, generator};

/// Gene programmes; the first is shared by all cells.
pub(super) const N_PROGRAMMES: usize = 20;

/// Standard deviations of the logarithms of: a gene's abundance, that of the most abundant genes, a programme's
/// deviation from it, and a cell's size within its type and between types.
const GENE_SD: f64 = 2.2;
const ABUNDANT_SD: f64 = 0.8;
const PROGRAMME_SD: f64 = 0.25;
const CELL_SD: f64 = 0.45;
const TYPE_SD: f64 = 0.2;
/// One gene of so many is as abundant as mitochondrial ones are: this share of all molecules.
const GENES_PER_ABUNDANT: usize = 2000;
const ABUNDANT_SHARE: f64 = 0.008;
/// This share of the genes is hardly ever seen: their log abundance is lower by this much.
const SILENT_SHARE: f64 = 0.15;
const SILENT_SHIFT: f64 = -6.0;
/// This share of a programme's genes is raised; mean and standard deviation of the logarithm.
const MARKER_SHARE: f64 = 0.03;
const MARKER_SHIFT: (f64, f64) = (2.0, 0.7);
/// Weight of the shared programme in every type, and how evenly the others share the rest: gamma's shape.
const SHARED_WEIGHT: f64 = 0.5;
const TYPE_SHAPE: f64 = 0.4;
/// How closely cells keep to their type: the sum of the Dirichlet distribution's parameters.
const CONCENTRATION: f64 = 60.0;
/// Frequencies of the types: standard deviation of their logarithm.
const FREQUENCY_SD: f64 = 0.7;
/// Cells whose rates the scale of all sizes is found from.
const SAMPLE_CELLS: usize = 2048;
/// Cells of a sample that are worked on together.
const SAMPLE_TILE: usize = 64;
/// Cells have no more molecules than this, on average: at 10 ns each, a twentieth of a second.
const MOST_MOLECULES: f64 = (1_u64 << 22) as f64;

/// Everything that cells are drawn from.
#[derive(Debug)]
pub(super) struct Population {
    seed: u64,
    n_genes: usize,
    /// beta: `N_PROGRAMMES` x `n_genes`, row-major; rows add up to 1.
    programmes: Vec<f32>,
    tables: Vec<AliasTable>,
    types: Vec<CellType>,
    /// Expected molecules of a cell of relative size 1.
    scale: f64,
}

#[derive(Debug)]
struct CellType {
    /// Share of this type and those before it.
    cumulative: f64,
    /// Relative size of its cells.
    size: f64,
    profile: [f64; N_PROGRAMMES],
}

/// A cell without its counts.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) cell_type: usize,
    /// Expected molecules.
    pub(super) size: f64,
    theta: [f64; N_PROGRAMMES],
}

/// Buffers for counting a cell's molecules.
#[derive(Debug)]
pub(super) struct Counter {
    counts: Vec<u32>,
    /// A bit for each gene that has a count.
    seen: Vec<u64>,
}

impl Population {
    /// Bytes of a population of `n_genes` genes, with what making it takes.
    pub(super) fn bytes(n_genes: usize) -> u64 {
        // Weights, alias tables; then the abundances and one programme in the making for each.
        n_genes as u64 * N_PROGRAMMES as u64 * (4 + 8 + 8 + 8)
    }

    /// A population of which `n_cells` cells are expected to fill `density` of a matrix.
    ///
    /// # Errors
    /// When that density takes too many molecules.
    pub(super) fn new(
        seed: u64,
        n_cells: usize,
        n_genes: usize,
        n_types: usize,
        density: f64,
    ) -> Result<Self> {
        let abundance = abundances(seed, n_genes);
        let rows = parallel::map((0..N_PROGRAMMES as u64).collect(), |k| programme(seed, k, &abundance));
        let tables = parallel::map(rows.iter().collect(), |row: &Vec<f32>| AliasTable::new(row));
        let types = cell_types(seed, n_types);
        let mut population = Self { seed, n_genes, programmes: rows.concat(), tables, types, scale: 1.0 };
        if n_cells > 0 {
            population.scale = population.scale_for(density, n_cells)?;
        }
        Ok(population)
    }

    /// Draws all of a cell but its molecules, for which the returned generator is ready.
    pub(super) fn cell(&self, index: usize) -> (Cell, Xoshiro256PlusPlus) {
        let mut generator = generator(self.seed, Purpose::Cell, index as u64);
        let cell_type = self.draw_type(&mut generator);
        let CellType { size, profile, .. } = &self.types[cell_type];
        let size = self.scale * size * log_normal(&mut generator, CELL_SD);
        let theta = profile.map(|weight| gamma(&mut generator, CONCENTRATION * weight));
        let sum: f64 = theta.iter().sum();
        let theta = if sum > 0.0 { theta.map(|weight| weight / sum) } else { *profile };
        (Cell { cell_type, size, theta }, generator)
    }

    /// The type of a cell, without drawing the rest of it.
    pub(super) fn cell_type(&self, index: usize) -> usize {
        self.draw_type(&mut generator(self.seed, Purpose::Cell, index as u64))
    }

    fn draw_type(&self, generator: &mut Xoshiro256PlusPlus) -> usize {
        let random: f64 = generator.random();
        let found = self.types.partition_point(|cell_type| cell_type.cumulative <= random);
        found.min(self.types.len() - 1)
    }

    /// Expected counts of a cell, one per gene.
    pub(super) fn rates(&self, cell: &Cell, rates: &mut [f32]) {
        rates.fill(0.0);
        for (row, &weight) in self.programmes.chunks_exact(self.n_genes).zip(&cell.theta) {
            #[expect(clippy::cast_possible_truncation, reason = "a rate has no more digits than its factors")]
            let weight = (cell.size * weight) as f32;
            for (rate, &share) in rates.iter_mut().zip(row) {
                *rate += weight * share;
            }
        }
    }

    /// Draws the counts of a cell and adds them to `block` as a row.
    pub(super) fn draw(&self, index: usize, counter: &mut Counter, block: &mut RowBlock) {
        let (cell, mut generator) = self.cell(index);
        // One programme at a time, so that its table stays in the cache.
        for (table, &weight) in self.tables.iter().zip(&cell.theta) {
            let Ok(molecules) = Poisson::new(cell.size * weight) else { continue }; // a weight of 0
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes are limited")]
            for _ in 0..molecules.sample(&mut generator) as u64 {
                counter.add(table.sample(&mut generator));
            }
        }
        counter.take(block);
    }

    /// The scale of all sizes with which a sample of cells has that density: bisection.
    fn scale_for(&self, density: f64, n_cells: usize) -> Result<f64> {
        let histogram = self.rate_histogram(n_cells);
        let total: f64 = histogram.iter().map(|&(_, count)| count).sum();
        let expected = |scale: f64| {
            let filled = |&(rate, count): &(f64, f64)| -count * (-scale * rate).exp_m1();
            histogram.iter().map(filled).sum::<f64>() / total
        };
        let (mut low, mut high) = (0.0, MOST_MOLECULES);
        let reached = expected(high);
        if reached < density {
            return Err(Error::Usage {
                problem: format!(
                    "--density {density} cannot be reached: with {high} molecules a cell, the most there may be, it \
                     is {reached:.4}"
                ),
                remedy: "ask for less".into(),
            });
        }
        // Until no number lies between.
        loop {
            let middle = f64::midpoint(low, high);
            if middle <= low || middle >= high {
                return Ok(middle);
            }
            if expected(middle) < density { low = middle } else { high = middle }
        }
    }

    /// Rates of a sample of cells with how often they come, to seven binary digits: far fewer than there are rates.
    fn rate_histogram(&self, n_cells: usize) -> Vec<(f64, f64)> {
        const DROPPED_BITS: u32 = 16;
        let n_sample = n_cells.min(SAMPLE_CELLS);
        let parts = parallel::map(tiles(n_sample, SAMPLE_TILE), |cells| {
            let mut counts = vec![0_u64; 1 << (32 - DROPPED_BITS)];
            let mut rates = vec![0.0; self.n_genes];
            for cell in cells {
                let index = cell as u128 * n_cells as u128 / n_sample as u128;
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                self.rates(&self.cell(index).0, &mut rates);
                for rate in &rates {
                    counts[(rate.to_bits() >> DROPPED_BITS) as usize] += 1;
                }
            }
            counts
        });
        (0_u32..1 << (32 - DROPPED_BITS))
            .map(|bits| {
                let middle = f32::from_bits(bits << DROPPED_BITS | 1 << (DROPPED_BITS - 1));
                let count: u64 = parts.iter().map(|part| part[bits as usize]).sum();
                (f64::from(middle), count as f64)
            })
            .filter(|&(_, count)| count > 0.0)
            .collect()
    }
}

impl Counter {
    /// For cells of `n_genes` genes.
    pub(super) fn new(n_genes: usize) -> Self {
        Self { counts: vec![0; n_genes], seen: vec![0; n_genes.div_ceil(64)] }
    }

    #[inline]
    fn add(&mut self, gene: usize) {
        self.counts[gene] += 1;
        self.seen[gene / 64] |= 1 << (gene % 64);
    }

    /// Moves the counts to a new row of `block`; all are 0 after that.
    fn take(&mut self, block: &mut RowBlock) {
        for (first, word) in (0_u32..).step_by(64).zip(&mut self.seen) {
            let mut bits = std::mem::take(word);
            while bits != 0 {
                let gene = first + bits.trailing_zeros();
                block.indices.push(gene);
                block.values.push(f64::from(std::mem::take(&mut self.counts[gene as usize])));
                bits &= bits - 1;
            }
        }
        block.indptr.push(block.indices.len());
    }
}

/// Abundances of genes in no particular order; they add up to anything.
fn abundances(seed: u64, n_genes: usize) -> Vec<f64> {
    let mut generator = generator(seed, Purpose::Genes, 0);
    let mut abundance: Vec<f64> = (0..n_genes)
        .map(|_| {
            let silent = generator.random::<f64>() < SILENT_SHARE;
            (GENE_SD * normal(&mut generator) + if silent { SILENT_SHIFT } else { 0.0 }).exp()
        })
        .collect();
    let sum: f64 = abundance.iter().sum();
    for _ in 0..n_genes / GENES_PER_ABUNDANT {
        let gene = generator.random_range(0..n_genes);
        abundance[gene] = sum * ABUNDANT_SHARE * (ABUNDANT_SD * normal(&mut generator)).exp();
    }
    abundance
}

/// The genes' shares of a programme.
#[expect(clippy::cast_possible_truncation, reason = "shares are at most 1")]
fn programme(seed: u64, k: u64, abundance: &[f64]) -> Vec<f32> {
    let mut generator = generator(seed, Purpose::Programme, k);
    let weights: Vec<f64> = abundance
        .iter()
        .map(|&abundance| {
            if k == 0 {
                return abundance;
            }
            let marker = generator.random::<f64>() < MARKER_SHARE;
            let (mean, sd) = if marker { MARKER_SHIFT } else { (0.0, PROGRAMME_SD) };
            abundance * (mean + sd * normal(&mut generator)).exp()
        })
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum) as f32).collect()
}

fn cell_types(seed: u64, n_types: usize) -> Vec<CellType> {
    let mut types: Vec<CellType> = (0..n_types as u64)
        .map(|index| {
            let mut generator = generator(seed, Purpose::CellTypes, index);
            let mut profile = [0.0; N_PROGRAMMES].map(|_: f64| gamma(&mut generator, TYPE_SHAPE));
            profile[0] = 0.0;
            let sum: f64 = profile.iter().sum();
            let mut profile = profile.map(|weight| (1.0 - SHARED_WEIGHT) * weight / sum);
            profile[0] = SHARED_WEIGHT;
            let cumulative = (FREQUENCY_SD * normal(&mut generator)).exp();
            CellType { cumulative, size: log_normal(&mut generator, TYPE_SD), profile }
        })
        .collect();
    let sum: f64 = types.iter().map(|cell_type| cell_type.cumulative).sum();
    let mut before = 0.0;
    for cell_type in &mut types {
        before += cell_type.cumulative / sum;
        cell_type.cumulative = before;
    }
    types
}

fn normal(generator: &mut Xoshiro256PlusPlus) -> f64 {
    StandardNormal.sample(generator)
}

/// A log-normal factor with a mean of 1.
fn log_normal(generator: &mut Xoshiro256PlusPlus, sd: f64) -> f64 {
    (sd * normal(generator) - sd * sd / 2.0).exp()
}

/// A gamma variable of scale 1, 0 when the shape is.
fn gamma(generator: &mut Xoshiro256PlusPlus, shape: f64) -> f64 {
    Gamma::new(shape, 1.0).map_or(0.0, |gamma| gamma.sample(generator))
}
