//! What an evaluation needs in memory.

use super::components::VARIABLE_GENES;
use super::join::Join;
use super::labels::Labels;
use super::maps::SHOWN_PAIRS;
use super::run::files;
use super::spearman::Pair;
use super::{Inputs, Matrix, Options, clusters, gram, neighbours, pass};
use crate::budget;
use crate::parallel::n_threads;

/// A pair, twice while they are put together, in a list of its own and as ranks of both sides.
const PAIR_BYTES: u64 = 3 * size_of::<Pair>() as u64 + 56;
const NUMBER_BYTES: usize = size_of::<f64>();
/// Components of input, truth, imputed and latent code; of one of them twice more while cells are compared.
const COMPONENTS: usize = 4 + 2;
/// Input, truth and imputed.
const MATRICES: usize = 3;

/// What is known of the sizes before the matrices are read.
pub(super) struct Plan<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) options: &'a Options,
    pub(super) cells: &'a Join,
    pub(super) genes: &'a Join,
    pub(super) labels: Option<&'a Labels>,
    /// Units of the latent code.
    pub(super) latent: usize,
}

/// The most joint entries that are not 0 in the input or the truth.
pub(super) fn most_entries(inputs: &Inputs<'_>, cells: &Join, genes: &Join) -> u64 {
    let nnz = |matrix: Matrix<'_>| matrix.store.summary().tally.nnz;
    let all = (cells.len() as u64).saturating_mul(genes.len() as u64);
    (nnz(inputs.input) + inputs.truth.map_or(0, nnz)).min(all)
}

impl Plan<'_> {
    /// An estimate of the bytes that are taken.
    pub(super) fn bytes(&self) -> u64 {
        let Self { inputs, options, cells, genes, .. } = self;
        let (n_cells, n_genes) = (cells.len(), genes.len());
        let names: usize =
            files(inputs).iter().map(|(_, file)| file.cells().len() + file.genes().len()).sum();
        let pairs = most_entries(inputs, cells, genes).min(options.ranked_entries) * PAIR_BYTES;
        let (variable, correlated) = (n_genes.min(VARIABLE_GENES), n_genes.min(options.correlated_genes));
        let widths = [variable, variable, variable, correlated, correlated, correlated];
        // Beside the products an eigenvalue problem at a time for each thread.
        let axes = n_threads().min(MATRICES) * variable * variable * 2 * NUMBER_BYTES;
        budget::fixed_bytes(names + n_cells)
            + inputs.imputed.rows.bytes()
            + pass::bytes(n_cells, n_genes)
            + pairs
            + gram::bytes(&widths)
            + (axes + self.sampled_bytes()) as u64
    }

    /// Of what is kept of the cells that are looked at.
    fn sampled_bytes(&self) -> usize {
        let Self { options, cells, genes, labels, .. } = self;
        let sampled = cells.len().min(options.max_cells);
        let width = options.components.min(genes.len());
        let shown = 2 * options.gene_pairs.len().max(SHOWN_PAIRS) * MATRICES;
        let clusters = labels.map_or(0, |labels| {
            clusters::bytes((sampled, width), labels.names.len(), n_threads())
                .max(n_threads() * neighbours::task_bytes(sampled))
        });
        sampled * (COMPONENTS * width + self.latent + shown) * NUMBER_BYTES + clusters
    }
}
