//! The file of a store: its types, its arrays and their bytes.

use std::fs::{File, OpenOptions};
use std::path::Path;

use super::halves;
use crate::error::{Error, Result};
use crate::h5ad::{self, SparseSpec};
use crate::hdf;
use crate::io::{Dtype, InPlace, RawArray, Tally};
use crate::matrix::{Axis, Major, Number};

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
    /// Values that f32 does not hold exactly, whether or not they are kept in it.
    pub rounded: u64,
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

    /// The layout of a store of this matrix.
    pub(super) fn layout(&self) -> Layout {
        Layout::new(
            (self.row_nnz.len(), self.col_nnz.len()),
            self.tally.nnz,
            data_dtype(self.integer, self.max, self.real_dtype),
        )
    }

    /// Bytes of a store's arrays on disk.
    pub fn store_bytes(&self) -> u64 {
        self.layout().bytes()
    }
}

/// What the arrays of a store are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) n_rows: usize,
    pub(super) nnz: u64,
    pub(super) indices: Dtype,
    pub(super) data: Dtype,
}

impl Layout {
    /// The layout of `nnz` entries in a matrix of `shape` (rows, columns).
    pub(super) fn new(shape: (usize, usize), nnz: u64, data: Dtype) -> Self {
        let indices = if shape.1 <= 1 << 16 { Dtype::U16 } else { Dtype::U32 };
        Self { n_rows: shape.0, nnz, indices, data }
    }

    /// Bytes of the arrays.
    pub(super) fn bytes(&self) -> u64 {
        let entry_bytes = (self.indices.size() + self.data.size()) as u64;
        (self.nnz.saturating_mul(entry_bytes))
            .saturating_add((self.n_rows as u64 + 1) * Dtype::I64.size() as u64)
    }
}

/// The smallest type that holds values up to `max`, whole numbers or not.
pub(super) fn data_dtype(whole: bool, max: f64, real_dtype: StoreDtype) -> Dtype {
    let counts_up_to = |limit: u32| whole && max <= f64::from(limit);
    match () {
        () if counts_up_to(u8::MAX.into()) => Dtype::U8,
        () if counts_up_to(u16::MAX.into()) => Dtype::U16,
        () if counts_up_to(u32::MAX) => Dtype::U32,
        () if real_dtype == StoreDtype::F16 => Dtype::F16,
        () => Dtype::F32,
    }
}

/// Creates the `.h5ad` with its axes and its three arrays, still without content, and says where they lie.
pub(super) fn create(
    path: &Path,
    major: Major,
    cells: &Axis,
    genes: &Axis,
    layout: &Layout,
) -> Result<InPlace> {
    let &Layout { n_rows, nnz, indices, data } = layout;
    let spec = SparseSpec {
        shape: (cells.len() as u64, genes.len() as u64),
        major,
        nnz,
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
        indptr: raw(&matrix.indptr, n_rows as u64 + 1, Dtype::I64)?,
        indices: raw(&matrix.indices, spec.nnz, indices)?,
        data: raw(&matrix.data, spec.nnz, data)?,
    };
    drop(matrix);
    hdf::close(file, path)?;
    Ok(place)
}

/// Opens a store made by [`create`] for positioned writes.
pub(super) fn open_for_filling(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).open(path).map_err(|e| Error::io(path, "open for writing", e))
}

/// Appends the bytes of every element.
fn encode<T: Copy, const N: usize>(elements: &[T], bytes: &mut Vec<u8>, convert: impl Fn(T) -> [u8; N]) {
    let begin = bytes.len();
    bytes.resize(begin + elements.len() * N, 0);
    for (to, &element) in bytes[begin..].as_chunks_mut().0.iter_mut().zip(elements) {
        *to = convert(element);
    }
}

/// Appends little-endian indices; `dtype` is U16 or U32, as chosen by [`create`].
#[expect(clippy::cast_possible_truncation, reason = "`create` chose a type that holds every index")]
pub(super) fn encode_indices(indices: &[u32], dtype: Dtype, bytes: &mut Vec<u8>) {
    if dtype == Dtype::U16 {
        encode(indices, bytes, |index| (index as u16).to_le_bytes());
    } else {
        encode(indices, bytes, u32::to_le_bytes);
    }
}

/// Values that can be written to a store.
pub(super) trait Value: Number {
    /// The low bits of a whole number below 2^32.
    fn low_bits(self) -> u32;
}

impl Value for u32 {
    #[inline]
    fn low_bits(self) -> u32 {
        self
    }
}

impl Value for f32 {
    #[inline]
    fn low_bits(self) -> u32 {
        f64::from(self).low_bits()
    }
}

impl Value for f64 {
    /// By an addition that moves the number into the low bits of the mantissa: unlike a conversion, two at a time
    /// on any CPU.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the upper half holds sign and exponent")]
    fn low_bits(self) -> u32 {
        (self + TWO_52).to_bits() as u32
    }
}

/// Where f32 has no fractions any more.
pub(super) const TWO_23: f32 = 8_388_608.0;
/// Where f64 has no fractions any more.
pub(super) const TWO_52: f64 = 4_503_599_627_370_496.0;

/// Appends little-endian values as `dtype`, one of those of [`data_dtype`], which holds all of them.
#[expect(clippy::cast_possible_truncation, reason = "`data_dtype` chose a type that fits")]
pub(super) fn encode_values<V: Value>(values: &[V], dtype: Dtype, bytes: &mut Vec<u8>) {
    match dtype {
        Dtype::U8 => encode(values, bytes, |value| [value.low_bits() as u8]),
        Dtype::U16 => encode(values, bytes, |value| (value.low_bits() as u16).to_le_bytes()),
        Dtype::U32 => encode(values, bytes, |value| value.low_bits().to_le_bytes()),
        Dtype::F16 => encode(values, bytes, |value| halves::round(value.to_f64()).to_le_bytes()),
        _ => encode(values, bytes, |value| (value.to_f64() as f32).to_le_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atlas_has_more_bytes_than_32_bits_count() {
        let layout = Layout::new((1_306_127, 27_998), 2_624_828_308, Dtype::U16);
        assert_eq!(layout.bytes(), 2_624_828_308 * 4 + 1_306_128 * 8);
        let transposed = Layout::new((27_998, 1_306_127), 2_624_828_308, Dtype::U16);
        assert_eq!(transposed.bytes(), 2_624_828_308 * 6 + 27_999 * 8);
        assert_eq!(Layout::new((1, 1), u64::MAX, Dtype::F32).bytes(), u64::MAX, "saturates");
    }

    #[test]
    fn values_are_narrowed_without_loss() {
        let mut bytes = Vec::new();
        for (dtype, max) in [(Dtype::U8, 255_u32), (Dtype::U16, 65_535), (Dtype::U32, u32::MAX)] {
            for value in [1, 2, max - 1, max] {
                bytes.clear();
                encode_values(&[value], dtype, &mut bytes);
                encode_values(&[f64::from(value)], dtype, &mut bytes);
                let expected = &value.to_le_bytes()[..dtype.size()];
                assert_eq!(bytes, [expected, expected].concat(), "{dtype} {value}");
            }
        }
    }
}
