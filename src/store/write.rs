//! Writing a store: a first pass over the source counts, a second one writes.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::halves::{self, HalfFit};
use super::prepare::mappable;
use crate::error::{Error, Result};
use crate::h5ad::{self, SparseSpec};
use crate::io::{Dtype, InPlace, RawArray, Source, Tally};
use crate::matrix::{Axis, Major, RowBlock};

/// Element type of real values in a store that is written; counts get the smallest integer type that holds them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum StoreDtype {
    /// 32-bit
    #[default]
    F32,
    /// 16-bit: half the values' bytes; three decimal digits, at most 65504
    F16,
}

/// What one pass over all entries found.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Entries, and what was mended while reading them.
    pub tally: Tally,
    /// Whether every value is a whole number.
    pub integer: bool,
    /// The largest value.
    pub max: f64,
    /// How values are stored that are no counts.
    pub real_dtype: StoreDtype,
    /// Values too small for a half, which are raised to the smallest one.
    pub raised: u64,
    /// Entries of every row.
    pub row_nnz: Vec<u64>,
    /// Entries of every column.
    pub col_nnz: Vec<u64>,
    /// Sum of the entries of every cell (library size), whichever axis the cells are on.
    pub cell_sums: Vec<f64>,
}

impl Summary {
    /// The same facts seen from the other axis.
    pub fn transposed(&self) -> Self {
        Self { row_nnz: self.col_nnz.clone(), col_nnz: self.row_nnz.clone(), ..self.clone() }
    }

    /// The element types of a store of this matrix.
    fn dtypes(&self) -> ArrayDtypes {
        let counts_up_to = |max: u32| self.integer && self.max <= f64::from(max);
        ArrayDtypes {
            indices: if self.col_nnz.len() <= 1 << 16 { Dtype::U16 } else { Dtype::U32 },
            data: match () {
                () if counts_up_to(u8::MAX.into()) => Dtype::U8,
                () if counts_up_to(u16::MAX.into()) => Dtype::U16,
                () if counts_up_to(u32::MAX) => Dtype::U32,
                () if self.real_dtype == StoreDtype::F16 => Dtype::F16,
                () => Dtype::F32,
            },
        }
    }

    /// Bytes of a store's arrays on disk.
    pub fn store_bytes(&self) -> u64 {
        let ArrayDtypes { indices, data } = self.dtypes();
        self.tally.nnz * (indices.size() + data.size()) as u64
            + (self.row_nnz.len() as u64 + 1) * Dtype::I64.size() as u64
    }
}

/// The element types of a store's arrays.
struct ArrayDtypes {
    indices: Dtype,
    data: Dtype,
}

/// Streams the source once, checks every entry and sums it up. `progress` is told the entries of each block.
/// Real values are to be stored as `real_dtype`, unless the file itself can serve as the store: its transpose is
/// f32 then, since both orientations have to hold the same values.
///
/// # Errors
/// When the source is damaged, no entry is observed, or a value does not fit `real_dtype`.
pub fn scan(source: &dyn Source, real_dtype: StoreDtype, progress: &dyn Fn(u64)) -> Result<Summary> {
    let major = source.major();
    let n_cols = source.axis(major.other()).len();
    let mut summary = Summary { integer: true, col_nnz: vec![0; n_cols], ..Summary::default() };
    summary.cell_sums = vec![0.0; source.cells().len()];
    let mut half_fit = HalfFit::default();
    let mut n_rows = 0;
    summary.tally = source.for_each_block(&mut |block| {
        for row in 0..block.n_rows() {
            let (indices, values) = block.row(row);
            summary.row_nnz.push(indices.len() as u64);
            for (&index, &value) in indices.iter().zip(values) {
                summary.col_nnz[index as usize] += 1;
                let cell = if major == Major::Cells { n_rows + row } else { index as usize };
                summary.cell_sums[cell] += value;
                summary.integer &= value.fract() == 0.0;
                summary.max = summary.max.max(value);
                if real_dtype == StoreDtype::F16 {
                    half_fit.look_at(n_rows + row, index as usize, value);
                }
            }
        }
        n_rows += block.n_rows();
        progress(block.nnz() as u64);
        Ok(())
    })?;
    if summary.tally.nnz == 0 {
        return Err(Error::input(
            source.path(),
            source.layout(),
            "at least one observed (non-zero) entry",
            format!("{} cells x {} genes, all zero", source.cells().len(), source.genes().len()),
            "check that this is the right file, layer (--layer), genome (--genome) and feature type",
        ));
    }
    let is_mapped = mappable(source, &summary.tally).is_some();
    if real_dtype == StoreDtype::F16 && !summary.integer && !is_mapped {
        summary.real_dtype = StoreDtype::F16;
        summary.raised = half_fit.check(source)?;
    }
    Ok(summary)
}

/// Streams the source once more and writes it as a store at `path`.
pub(super) fn unpack(
    source: &dyn Source,
    summary: &Summary,
    path: &Path,
    progress: &dyn Fn(u64),
) -> Result<InPlace> {
    let place = create(path, source.major(), source.cells(), source.genes(), summary)?;
    let mut writer = EntryWriter::open(source.path(), &place)?;
    source.for_each_block(&mut |block| {
        writer.append(&block)?;
        progress(block.nnz() as u64);
        Ok(())
    })?;
    writer.finish()?;
    Ok(place)
}

/// Creates the `.h5ad` with its axes and its three arrays, still without content, and says where they lie.
pub(super) fn create(
    path: &Path,
    major: Major,
    cells: &Axis,
    genes: &Axis,
    summary: &Summary,
) -> Result<InPlace> {
    let ArrayDtypes { indices, data } = summary.dtypes();
    let spec = SparseSpec {
        shape: (cells.len() as u64, genes.len() as u64),
        major,
        nnz: summary.tally.nnz,
        data,
        indices,
        compressed: false,
    };
    let failed = |object: &str, e| Error::hdf5(path, object, "create the matrix store", e);
    let file = h5ad::create_file(path)?;
    h5ad::write_axis(&file, "obs", cells)?;
    h5ad::write_axis(&file, "var", genes)?;
    let matrix = h5ad::create_sparse(&file, "X", &spec)?;
    let raw = |dataset: &hdf5::Dataset, len: u64, dtype: Dtype| {
        // An array without elements has no place.
        let offset = if len == 0 { Some(0) } else { dataset.offset() };
        let offset = offset.ok_or_else(|| failed(&dataset.name(), "no space was allocated".into()))?;
        Ok::<_, Error>(RawArray { offset, len, dtype })
    };
    let place = InPlace {
        path: path.to_owned(),
        indptr: raw(&matrix.indptr, summary.row_nnz.len() as u64 + 1, Dtype::I64)?,
        indices: raw(&matrix.indices, spec.nnz, indices)?,
        data: raw(&matrix.data, spec.nnz, data)?,
    };
    drop(matrix);
    file.close().map_err(|e| failed("/", e))?;
    Ok(place)
}

/// Fills the arrays of a store in row order.
struct EntryWriter<'a> {
    input: &'a Path,
    place: &'a InPlace,
    file: File,
    rows: u64,
    entries: u64,
    bytes: Vec<u8>,
}

impl<'a> EntryWriter<'a> {
    fn open(input: &'a Path, place: &'a InPlace) -> Result<Self> {
        let file = open_for_filling(&place.path)?;
        let mut writer = Self { input, place, file, rows: 0, entries: 0, bytes: Vec::new() };
        writer.bytes.extend(0_i64.to_le_bytes());
        writer.flush(place.indptr, 0)?;
        Ok(writer)
    }

    fn append(&mut self, block: &RowBlock) -> Result<()> {
        let too_many = self.entries + block.nnz() as u64 > self.place.data.len
            || self.rows + block.n_rows() as u64 >= self.place.indptr.len;
        if too_many {
            return Err(Error::changed(self.input, "entries"));
        }
        for &end in &block.indptr[1..] {
            self.bytes.extend((self.entries + end as u64).to_le_bytes());
        }
        self.flush(self.place.indptr, self.rows + 1)?;
        encode_indices(&block.indices, self.place.indices.dtype, &mut self.bytes);
        self.flush(self.place.indices, self.entries)?;
        encode_values(&block.values, self.place.data.dtype, &mut self.bytes);
        self.flush(self.place.data, self.entries)?;
        self.rows += block.n_rows() as u64;
        self.entries += block.nnz() as u64;
        Ok(())
    }

    fn finish(self) -> Result<()> {
        if self.entries == self.place.data.len && self.rows + 1 == self.place.indptr.len {
            return Ok(());
        }
        Err(Error::changed(self.input, "entries"))
    }

    fn flush(&mut self, array: RawArray, element: u64) -> Result<()> {
        let at = array.offset + element * array.dtype.size() as u64;
        let written = self.file.write_all_at(&self.bytes, at);
        self.bytes.clear();
        written.map_err(|e| Error::io(&self.place.path, "write the matrix store", e))
    }
}

/// Opens a store made by [`create`] for positioned writes.
pub(super) fn open_for_filling(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).open(path).map_err(|e| Error::io(path, "open for writing", e))
}

/// Appends little-endian indices; `dtype` is U16 or U32, as chosen by [`create`].
#[expect(clippy::cast_possible_truncation, reason = "`create` chose a type that holds every index")]
pub(super) fn encode_indices(indices: &[u32], dtype: Dtype, bytes: &mut Vec<u8>) {
    if dtype == Dtype::U16 {
        bytes.extend(indices.iter().flat_map(|&index| (index as u16).to_le_bytes()));
    } else {
        bytes.extend(indices.iter().flat_map(|&index| index.to_le_bytes()));
    }
}

/// Appends little-endian values as `dtype`, one of the types chosen by [`create`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`create` chose a type that fits"
)]
pub(super) fn encode_values(values: &[f64], dtype: Dtype, bytes: &mut Vec<u8>) {
    match dtype {
        Dtype::U8 => bytes.extend(values.iter().map(|&value| value as u8)),
        Dtype::U16 => bytes.extend(values.iter().flat_map(|&value| (value as u16).to_le_bytes())),
        Dtype::U32 => bytes.extend(values.iter().flat_map(|&value| (value as u32).to_le_bytes())),
        Dtype::F16 => bytes.extend(values.iter().flat_map(|&value| halves::round(value).to_le_bytes())),
        _ => bytes.extend(values.iter().flat_map(|&value| (value as f32).to_le_bytes())),
    }
}
