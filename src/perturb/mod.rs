//! Matrices made from a matrix: entries hidden, molecules thinned out, molecules split in two; or the same in another format.
//!
//! What happens to an entry depends on the seed, its cell and its gene (or, for molecules, on the entries of its cell): not on
//! the file's layout, the threads, or how the work is cut.

mod convert;
mod downsample;
mod draw;
mod mask;
mod rows;
mod select;
mod split;
mod written;

pub use convert::{ConvertOptions, ConvertReport, convert};
pub use downsample::{Amount, DownsampleOptions, DownsampleReport, downsample};
pub use mask::{Keep, MaskOptions, MaskReport, mask};
pub use rows::BLOCK_ENTRIES;
pub use split::{SplitOptions, SplitReport, split};
pub use written::Written;

use crate::budget;
use crate::error::{Error, Result};
use crate::io::{Dtype, Source};
use crate::matrix::Major;
use crate::output::{Content, Format, Record};
use crate::store::{Prepared, RowEntries, Store, Summary};

/// Whole numbers up to here are 32-bit numbers, too.
const MOST_F32: f64 = 16_777_216.0;
/// A 10x file holds counts up to here.
const MOST_TENX: f64 = i32::MAX as f64;
/// Stores hold counts exactly up to here.
const MOST_COUNT: f64 = u32::MAX as f64;
/// Sums of molecules are exact up to here.
const MOST_MOLECULES: f64 = 9_007_199_254_740_992.0;

/// What the commands have in common.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Seed of the choice.
    pub seed: u64,
    /// How the matrix was chosen from the file, such as `--layer counts`, for the record.
    pub selection: String,
    /// Entries that are handled together; changes nothing in the result.
    pub block_entries: usize,
    /// Replace existing outputs.
    pub force: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { seed: 0, selection: String::new(), block_entries: BLOCK_ENTRIES, force: false }
    }
}

/// Bytes that a command takes which writes `n_matrices` of `nnz` entries in all, beside what its input takes.
pub fn memory_bytes(source: &dyn Source, nnz: u64, n_matrices: usize) -> u64 {
    // A block that is written, one that is made, and what waits for a chunk, in vectors that grew.
    const BYTES_PER_ENTRY: u64 = 5 * 12;
    // Its end in every matrix, in a vector that grew; what it keeps; what it has and had.
    const BYTES_PER_ROW: u64 = 16;
    let (cells, genes) = (source.cells().len() as u64, source.genes().len() as u64);
    let block = nnz.min(BLOCK_ENTRIES as u64).max(genes);
    [
        n_matrices as u64 * (block * BYTES_PER_ENTRY + cells * BYTES_PER_ROW),
        (cells + genes) * BYTES_PER_ROW,
        select::memory_bytes(nnz),
        budget::fixed_bytes(source.cells().len() + source.genes().len()),
    ]
    .into_iter()
    .fold(0, u64::saturating_add)
}

/// The store that has a row for every cell.
fn cell_store(prepared: &Prepared) -> &Store {
    let Some(store) = prepared.with_rows(Major::Cells) else { unreachable!("rows of cells were prepared") };
    store
}

/// The type of values in an h5ad file: counts are exact, real numbers are what the store holds.
fn value_dtype(summary: &Summary) -> Dtype {
    if summary.integer && summary.max > MOST_F32 { Dtype::F64 } else { Dtype::F32 }
}

/// How many values lose digits on their way through the store into a file of this format.
pub fn rounded(prepared: &Prepared, format: Format) -> u64 {
    let store = cell_store(prepared);
    let summary = store.summary();
    let is_typed = matches!(format, Format::H5ad | Format::Hd5);
    let is_single = store.dtype().is_single() || (is_typed && value_dtype(summary) == Dtype::F32);
    if is_single { summary.rounded } else { 0 }
}

/// Refuses values that `format` has no place for.
fn check_format(source: &dyn Source, store: &Store, format: Format, remedy: &str) -> Result<()> {
    if !format.is_counts_only() {
        return Ok(());
    }
    check_values(source, store, "whole numbers up to 2147483647, which is what 10x files hold", remedy, |x| {
        x.fract() == 0.0 && x <= MOST_TENX
    })
}

/// Refuses matrices of anything but molecules.
fn check_counts(source: &dyn Source, store: &Store) -> Result<()> {
    let remedy =
        "molecules are drawn from raw counts only: choose them (--layer, --use-raw), or another file";
    let expected = "a whole number of molecules, at most 4294967295";
    check_values(source, store, expected, remedy, |x| x.fract() == 0.0 && x <= MOST_COUNT)?;
    let molecules: f64 = store.summary().cell_sums.iter().sum();
    if molecules <= MOST_MOLECULES {
        return Ok(());
    }
    let expected = format!("at most {MOST_MOLECULES} molecules");
    Err(Error::input(
        source.path(),
        "sum of all counts",
        expected,
        molecules.to_string(),
        "choose other counts",
    ))
}

/// Refuses a matrix of which a value is not `right`, and names the first.
fn check_values(
    source: &dyn Source,
    store: &Store,
    expected: &str,
    remedy: &str,
    right: impl Fn(f64) -> bool,
) -> Result<()> {
    let summary = store.summary();
    if summary.integer && right(summary.max) {
        return Ok(());
    }
    let mut entries = RowEntries::<f64>::default();
    for row in 0..store.n_rows() {
        entries.clear();
        store.read_exact_row(row, &mut entries)?;
        if let Some(place) = entries.values.iter().position(|&value| !right(value)) {
            let gene = entries.indices[place] as usize;
            let cell = Major::Cells.describe_row(&source.cells().names, row);
            let gene = Major::Genes.describe_row(&source.genes().names, gene);
            let found = entries.values[place].to_string();
            return Err(Error::input(source.path(), format!("{cell}, {gene}"), expected, found, remedy));
        }
    }
    Ok(())
}

/// Refuses a share outside its range.
fn check_share(option: &str, share: f64, range: &str, is_inside: impl Fn(f64) -> bool) -> Result<()> {
    if is_inside(share) {
        return Ok(());
    }
    Err(Error::Usage {
        problem: format!("{option} {share} cannot be used"),
        remedy: format!("give a share {range}"),
    })
}

/// The record of a command.
fn record(
    command: &'static str,
    source: &dyn Source,
    mut options: Vec<(&'static str, String)>,
    setup: &Setup,
) -> Record {
    let selection = setup.selection.trim();
    if !selection.is_empty() {
        options.push(("selection", selection.to_owned()));
    }
    let seed = Some(setup.seed);
    Record { command, input: source.path().display().to_string(), options, seed }
}

/// What a file made from `source` holds beside the entries.
fn content<'a>(source: &'a dyn Source, summary: &Summary, record: &'a Record) -> Content<'a> {
    Content {
        cells: source.cells(),
        genes: source.genes(),
        genome: source.head().genome.as_deref(),
        values: value_dtype(summary),
        whole: summary.integer,
        dense: false,
        layers: &[],
        record,
    }
}
