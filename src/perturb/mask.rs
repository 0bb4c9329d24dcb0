//! Hiding entries: the recipe for LATE's benchmark inputs.

use std::path::Path;

use super::rows::Rows;
use super::select::{Order, last_rank};
use super::written::{Counter, Written};
use super::{Setup, cell_store, check_format, check_share, content, record};
use crate::error::{Error, Result};
use crate::io::{Dtype, Source};
use crate::output::{Content, Format, MatrixFile, write_atomically};
use crate::store::Prepared;

/// The layer of all entries.
const TRUTH: &str = "truth";
/// The layer that is 1 where an entry is hidden.
const MASKED: &str = "masked";

/// How many entries stay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keep {
    /// So many that they are this share of cells x genes (`--density`).
    Density(f64),
    /// This share of the observed entries (`--keep`).
    Share(f64),
}

/// What to hide.
#[derive(Clone, Debug)]
pub struct MaskOptions {
    /// How many entries stay.
    pub keep: Keep,
    /// Whether an h5ad file gets the truth and the hidden entries as layers.
    pub truth: bool,
    /// Seed and output.
    pub setup: Setup,
}

/// What was hidden.
#[derive(Clone, Debug, serde::Serialize)]
pub struct MaskReport {
    /// Cells in the file.
    pub n_cells: usize,
    /// Genes in the file.
    pub n_genes: usize,
    /// Entries of the input.
    pub input_nnz: u64,
    /// Their share of cells x genes.
    pub input_density: f64,
    /// Entries that were hidden.
    pub hidden: u64,
    /// Whether truth and hidden entries stand beside the matrix.
    pub truth: bool,
    /// The masked matrix.
    #[serde(flatten)]
    pub output: Written,
}

impl Default for MaskOptions {
    fn default() -> Self {
        Self { keep: Keep::Share(1.0), truth: true, setup: Setup::default() }
    }
}

impl Keep {
    /// Refuses a share that is none.
    ///
    /// # Errors
    /// Names the option.
    pub fn check(self) -> Result<()> {
        let (option, share) = match self {
            Self::Density(share) => ("--density", share),
            Self::Share(share) => ("--keep", share),
        };
        check_share(option, share, "from 0 to 1", |share| (0.0..=1.0).contains(&share))
    }

    /// The number of entries that stay of `nnz` in a matrix of so many `elements`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    fn entries(self, elements: f64, nnz: u64) -> Result<u64> {
        self.check()?;
        match self {
            Self::Share(share) => Ok(((share * nnz as f64).round() as u64).min(nnz)),
            Self::Density(density) => {
                let keep = (density * elements).round() as u64;
                if keep <= nnz {
                    return Ok(keep);
                }
                Err(Error::Usage {
                    problem: format!(
                        "--density {density} is {keep} entries, and the input has {nnz}, a density of {:.6}",
                        nnz as f64 / elements
                    ),
                    remedy: "give a lower density".into(),
                })
            }
        }
    }

    fn option(self) -> (&'static str, String) {
        match self {
            Self::Density(share) => ("density", share.to_string()),
            Self::Share(share) => ("keep", share.to_string()),
        }
    }
}

/// Writes the matrix of `source`, made available by `prepared` with rows of cells, to `path` without the hidden entries.
/// `progress` is told the step and the entries it has gone through since it was called last.
///
/// # Errors
/// When there are not as many entries as are to stay, the format has no place for a value, or writing fails.
pub fn mask(
    source: &dyn Source,
    prepared: &Prepared,
    options: &MaskOptions,
    path: &Path,
    progress: &dyn Fn(&'static str, u64),
) -> Result<MaskReport> {
    let format = Format::of(path)?;
    let store = cell_store(prepared);
    let summary = store.summary();
    let (n_cells, n_genes, input_nnz) = (store.n_rows(), store.n_cols(), summary.tally.nnz);
    let elements = n_cells as f64 * n_genes as f64;
    let keep = options.keep.entries(elements, input_nnz)?;
    check_format(source, store, format, "choose a name for --out that ends in .h5ad")?;
    let order = Order::new(options.setup.seed);
    let rows = Rows { store, block_entries: options.setup.block_entries };
    let last = last_rank(rows, order, keep, progress)?;
    let truth = options.truth && format == Format::H5ad;
    let record = record("mask", source, vec![options.keep.option()], &options.setup);
    let content = content(source, summary, &record);
    let layers = [(TRUTH, content.values), (MASKED, Dtype::U8)];
    let content = if truth { Content { layers: &layers, ..content } } else { content };
    let stays = |cell: usize, gene: u32| last.is_some_and(|last| order.rank(cell, gene) <= last);
    let counter = write_atomically(path, format, options.setup.force, |temporary| {
        let file = MatrixFile::create(temporary, format, content)?;
        let counter = write(file, rows, content.layers.len(), stays, &|n| progress("masking", n))?;
        if counter.nnz() != keep {
            return Err(Error::changed(store.path(), "entries"));
        }
        Ok(counter)
    })?;
    Ok(MaskReport {
        n_cells,
        n_genes,
        input_nnz,
        input_density: input_nnz as f64 / elements.max(1.0),
        hidden: input_nnz - keep,
        truth,
        output: counter.finish(path, format, summary)?,
    })
}

/// Writes the entries that stay, and to the layers all entries and the hidden ones.
fn write(
    mut file: MatrixFile<'_>,
    rows: Rows<'_>,
    n_layers: usize,
    stays: impl Fn(usize, u32) -> bool + Sync,
    progress: &dyn Fn(u64),
) -> Result<Counter> {
    let mut counter = Counter::new(rows.store.n_cols());
    rows.rewrite(
        1 + n_layers,
        |cell, entries, matrices| {
            let [kept, layers @ ..] = matrices else { return };
            for (&gene, &value) in entries.indices.iter().zip(&entries.values) {
                if stays(cell, gene) {
                    kept.push(gene, value);
                } else if let [_, masked] = layers {
                    masked.push(gene, 1.0);
                }
            }
            if let [truth, _] = layers {
                truth.indices.extend_from_slice(&entries.indices);
                truth.values.extend_from_slice(&entries.values);
            }
        },
        |matrices| {
            counter.add(&matrices[0], rows.store.summary());
            matrices.iter().enumerate().try_for_each(|(number, rows)| file.write_rows(number, rows))
        },
        progress,
    )?;
    file.finish()?;
    Ok(counter)
}
