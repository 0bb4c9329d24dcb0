//! Input files: told apart by content, validated while streaming, read as compressed rows plus axes.

mod csv;
mod dense;
mod detect;
mod entry;
mod features;
mod h5ad;
mod head;
mod loom;
mod mtx;
mod names;
mod pandas;
mod spill;
mod stream;
mod tenx;

use std::path::{Path, PathBuf};

pub use detect::{Layout, detect, files, open, open_with};
pub use head::Head;

use crate::budget::NameRoom;
use crate::error::Result;
use crate::hdf::to_usize;
use crate::matrix::{Axis, Block, Major};

/// What to read out of a file that holds more than one matrix.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// 10x: keep only this genome's genes (`--genome`); for a v2 file with several groups, `all` merges them.
    pub genome: Option<String>,
    /// h5ad, loom: read `layers/<name>` instead of `X` or `matrix` (`--layer`).
    pub layer: Option<String>,
    /// h5ad: read `raw/X` with `raw/var` (`--use-raw`).
    pub use_raw: bool,
    /// h5ad: which values are allowed.
    pub values: Values,
    /// csv, tsv, hd5: what a line or row stands for (`--orientation`); cells if not given.
    pub orientation: Option<Major>,
    /// hd5: read missing values as zeros (`--nan-as-zero`).
    pub nan_as_zero: bool,
    /// loom: the attribute of rows that names the genes (`--gene-attr`).
    pub gene_attr: Option<String>,
    /// loom: the attribute of columns that names the cells (`--cell-attr`).
    pub cell_attr: Option<String>,
    /// Matrix Market: what the names of the three files begin with, where a directory has several (`--prefix`).
    pub prefix: Option<String>,
    /// Directory for unnamed temporary files, which text needs that does not fit in memory; the system's own if not given.
    pub scratch: Option<PathBuf>,
    /// Bytes that the whole run may take: bounds names and lines of text while they are read; no bound if not given.
    pub memory: Option<u64>,
}

/// The longest line of text: a name and a number for each of some hundred million cells.
const MOST_LINE_BYTES: usize = 1 << 30;
/// Lines up to here are read whatever the memory.
const FEWEST_LINE_BYTES: usize = 16 << 20;
/// A line is gathered in a buffer that grows, and parsed while the next ones are read.
const LINES_IN_MEMORY: u64 = 8;

impl ReadOptions {
    fn names(&self) -> NameRoom {
        NameRoom::new(self.memory)
    }

    /// Bytes of the longest line of text.
    fn longest_line(&self) -> usize {
        let share = self.memory.map_or(MOST_LINE_BYTES, |bytes| to_usize(bytes / LINES_IN_MEMORY));
        share.clamp(FEWEST_LINE_BYTES, MOST_LINE_BYTES)
    }

    fn scratch(&self) -> PathBuf {
        self.scratch.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// Which values a matrix may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Values {
    /// Those that training computes with: zero or more, in the range of 32-bit reals.
    #[default]
    Expression,
    /// Any finite number, such as other programs impute. Blocks then may hold negative values, and no store can be
    /// made of the source.
    Finite,
}

/// A matrix in a file, ready to be streamed.
///
/// Opening reads the axes and checks everything that can be checked without reading the entries;
/// [`Source::for_each_block`] checks the entries.
pub trait Source: Send + Sync {
    /// What opening told.
    fn head(&self) -> &Head;
    /// The file.
    fn path(&self) -> &Path {
        &self.head().path
    }
    /// Which axis a compressed row of the file stands for.
    fn major(&self) -> Major {
        self.head().major
    }
    /// The cells.
    fn cells(&self) -> &Axis {
        &self.head().cells
    }
    /// The genes, after feature-type and genome filtering.
    fn genes(&self) -> &Axis {
        &self.head().genes
    }
    /// The cells or the genes.
    fn axis(&self, major: Major) -> &Axis {
        self.head().axis(major)
    }
    /// Entries as declared by the file (an upper bound of what is streamed), exact after [`Source::load`] had to do
    /// something; for a dense matrix, of all cells.
    fn declared_nnz(&self) -> u64;
    /// The files that hold the matrix.
    fn files(&self) -> Vec<PathBuf> {
        vec![self.path().to_owned()]
    }
    /// Goes through a file that has to be read as a whole before its entries can be streamed, and counted; does nothing else,
    /// nor the second time. [`Source::for_each_block`] does it if it was not done. `progress` is told the entries
    /// gone through.
    ///
    /// # Errors
    /// What is wrong with the entries.
    fn load(&self, progress: &dyn Fn(u64)) -> Result<()> {
        let _ = progress;
        Ok(())
    }
    /// Streams the matrix once in major order, in blocks of bounded size, and counts what it met.
    /// Every row comes, also empty ones, with what was met in its block. Stops at the first error, of the file
    /// or of `consume`.
    fn for_each_block(&self, consume: &mut dyn FnMut(Block, &Tally) -> Result<()>) -> Result<Tally>;
    /// Some values from all over the matrix, unchecked, to guess their type by; `None` when reading is expected to
    /// leave out entries, so that their number is not known before.
    fn sample(&self) -> Option<Vec<f64>> {
        None
    }
    /// Where the entries lie in the file when they can be mapped as they are: contiguous,
    /// uncompressed, little-endian, and neither filtered nor merged on reading.
    fn in_place(&self) -> Option<InPlace> {
        None
    }
    /// What else `inspect` tells about the file: types, storage, compression, other matrices in it,
    /// as (label, value).
    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// What one pass over the entries met.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Entries streamed.
    pub nnz: u64,
    /// Stored zeros that were left out.
    pub explicit_zeros: u64,
    /// Repeated (row, column) entries that were summed.
    pub merged_duplicates: u64,
    /// Rows whose indices had to be sorted.
    pub unsorted_rows: u64,
    /// Missing values (NaN) that were read as zeros.
    #[serde(default)]
    pub missing: u64,
}

/// Byte ranges of a compressed matrix inside its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InPlace {
    /// The file to map.
    pub path: PathBuf,
    /// The row offsets.
    pub indptr: RawArray,
    /// The positions on the minor axis.
    pub indices: RawArray,
    /// The entries.
    pub data: RawArray,
}

/// A contiguous little-endian array in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawArray {
    /// Offset of the first byte.
    pub offset: u64,
    /// Number of elements.
    pub len: u64,
    /// Element type.
    pub dtype: Dtype,
}

/// Element types of numeric arrays in files, little-endian unless the reader swaps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dtype {
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F16,
    F32,
    F64,
}

impl Dtype {
    /// Whether the type holds real numbers.
    pub fn is_real(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    /// Whether the type holds real numbers, all of which f32 holds exactly.
    pub fn is_single(self) -> bool {
        matches!(self, Self::F16 | Self::F32)
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }
}

/// NumPy's name: "int32", "float64", ...
impl std::fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::F16 => "float16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        })
    }
}
