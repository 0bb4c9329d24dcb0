//! Numeric datasets of any width and byte order.

use std::ops::Range;
use std::path::Path;

use hdf5::datatype::{ByteOrder, Datatype};
use hdf5::types::{DynValue, FloatSize, IntSize, TypeDescriptor};

use super::chunk_index;
use super::element::{self, FromElement};
use super::file::HdfFile;
use super::storage::ByteArray;
use crate::error::{Error, Result};
use crate::io::{Dtype, RawArray};

/// A 1-D or 2-D dataset of numbers (or truth values), read by ranges of rows.
pub struct NumericArray {
    bytes: ByteArray,
    dtype: Dtype,
    big_endian: bool,
}

impl NumericArray {
    /// Opens the dataset `name`.
    pub fn open(file: &HdfFile, name: &str) -> Result<Self> {
        let dataset = file.dataset(name)?;
        let failed = |source| Error::hdf5(file.path(), name, "read its type", source);
        let datatype = dataset.dtype().map_err(failed)?;
        let descriptor = datatype.to_descriptor().map_err(failed)?;
        let Some(mut dtype) = numeric_dtype(&descriptor) else {
            return Err(Error::input(
                file.path(),
                name,
                "numbers (integers of 1 to 8 bytes or reals of 2, 4 or 8)",
                descriptor.to_string(),
                "convert the dataset to such a type",
            ));
        };
        let mut big_endian = match datatype.byte_order() {
            ByteOrder::BigEndian => true,
            ByteOrder::LittleEndian | ByteOrder::None => false,
            order => {
                let found = format!("{order:?}");
                let remedy = "convert the dataset to little-endian numbers";
                return Err(Error::input(file.path(), name, "little- or big-endian numbers", found, remedy));
            }
        };
        let fill = fill_bytes(&dataset, dtype, big_endian);
        let compact = dataset.layout() == hdf5::dataset::Layout::Compact;
        let bytes = if compact {
            // libhdf5 converts these few values, so their type in memory is ours to choose.
            (dtype, big_endian) = (widest(dtype), false);
            ByteArray::open(file, &dataset, name, 8, vec![0; 8], || {
                compact_bytes(&dataset, dtype)
                    .map_err(|source| Error::hdf5(file.path(), name, "read it", source))
            })?
        } else {
            if !has_usual_layout(file, &dataset, &datatype, &descriptor) {
                return Err(Error::input(
                    file.path(),
                    name,
                    "IEEE reals (half, single or double) or integers that use all their bits",
                    format!("another layout of the bits of {descriptor} (bfloat16 is one)"),
                    "convert the dataset to such a type",
                ));
            }
            ByteArray::open(file, &dataset, name, dtype.size(), fill, || Ok(Vec::new()))?
        };
        Ok(Self { bytes, dtype, big_endian })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.bytes.path()
    }

    /// The dataset's path inside the file.
    pub fn name(&self) -> &str {
        self.bytes.name()
    }

    /// The shape: one or two dimensions.
    pub fn dims(&self) -> &[usize] {
        self.bytes.dims()
    }

    /// The first dimension.
    pub fn n_rows(&self) -> usize {
        self.bytes.n_rows()
    }

    /// The second dimension; 1 for a 1-D dataset.
    pub fn n_columns(&self) -> usize {
        self.bytes.n_columns()
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Whether the elements are stored most significant byte first.
    pub fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// Rows of a chunk, when the dataset has chunks.
    pub fn chunk_rows(&self) -> Option<usize> {
        self.bytes.chunk_rows()
    }

    /// Columns of a chunk, when the dataset has chunks.
    pub fn chunk_columns(&self) -> Option<usize> {
        self.bytes.chunk_columns()
    }

    /// "int32, chunks of 65536, compression: shuffle + gzip".
    pub fn describe(&self) -> String {
        let order = if self.big_endian { " big-endian" } else { "" };
        format!("{}{order}, {}", self.dtype, self.bytes.describe())
    }

    /// Reads rows `rows`, row-major.
    pub fn read<T: FromElement>(&self, rows: Range<usize>) -> Result<Vec<T>> {
        let mut output = vec![T::default(); rows.len() * self.n_columns()];
        self.bytes.read(rows, &mut output, |bytes, part| {
            element::convert(bytes, self.dtype, self.big_endian, part);
        })?;
        Ok(output)
    }

    /// Reads columns `columns`, one after the other.
    pub fn read_columns<T: FromElement>(&self, columns: Range<usize>) -> Result<Vec<T>> {
        self.bytes.read_columns(columns, |bytes, part| {
            element::convert(bytes, self.dtype, self.big_endian, part);
        })
    }

    /// Reads everything.
    pub fn read_all<T: FromElement>(&self) -> Result<Vec<T>> {
        self.read(0..self.n_rows())
    }

    /// Where the elements lie, when they can be mapped as they are.
    pub fn in_place(&self) -> Option<RawArray> {
        let offset = self.bytes.contiguous_offset()?;
        let len = (self.n_rows() * self.n_columns()) as u64;
        (!self.big_endian || self.dtype.size() == 1).then_some(RawArray { offset, len, dtype: self.dtype })
    }

    /// The element at `row` of a 1-D dataset as its own type prints it, for messages.
    pub(crate) fn show(&self, row: usize) -> String {
        let text = if self.dtype.is_single() {
            self.read::<f32>(row..row + 1).map(|values| values.first().map(f32::to_string))
        } else if self.dtype.is_real() {
            self.read::<f64>(row..row + 1).map(|values| values.first().map(f64::to_string))
        } else if self.dtype == Dtype::U64 {
            self.read::<u64>(row..row + 1).map(|values| values.first().map(u64::to_string))
        } else {
            self.read::<i64>(row..row + 1).map(|values| values.first().map(i64::to_string))
        };
        text.ok().flatten().unwrap_or_else(|| "an unreadable value".to_owned())
    }

    pub(crate) fn problem(
        &self,
        expected: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Error {
        self.bytes.problem(expected, found, remedy)
    }
}

/// The element type of numbers, truth values and other enumerations.
pub(crate) fn numeric_dtype(descriptor: &TypeDescriptor) -> Option<Dtype> {
    Some(match descriptor {
        TypeDescriptor::Integer(size) => match size {
            IntSize::U1 => Dtype::I8,
            IntSize::U2 => Dtype::I16,
            IntSize::U4 => Dtype::I32,
            IntSize::U8 => Dtype::I64,
        },
        TypeDescriptor::Unsigned(size) => match size {
            IntSize::U1 => Dtype::U8,
            IntSize::U2 => Dtype::U16,
            IntSize::U4 => Dtype::U32,
            IntSize::U8 => Dtype::U64,
        },
        TypeDescriptor::Float(size) => match size {
            FloatSize::U2 => Dtype::F16,
            FloatSize::U4 => Dtype::F32,
            FloatSize::U8 => Dtype::F64,
        },
        TypeDescriptor::Boolean => Dtype::U8,
        TypeDescriptor::Enum(kind) => return numeric_dtype(&kind.base_type()),
        _ => return None,
    })
}

/// The opposite of [`numeric_dtype`]: HDF5's description of an element type, little-endian.
pub(crate) fn descriptor(dtype: Dtype) -> TypeDescriptor {
    match dtype {
        Dtype::I8 => TypeDescriptor::Integer(IntSize::U1),
        Dtype::I16 => TypeDescriptor::Integer(IntSize::U2),
        Dtype::I32 => TypeDescriptor::Integer(IntSize::U4),
        Dtype::I64 => TypeDescriptor::Integer(IntSize::U8),
        Dtype::U8 => TypeDescriptor::Unsigned(IntSize::U1),
        Dtype::U16 => TypeDescriptor::Unsigned(IntSize::U2),
        Dtype::U32 => TypeDescriptor::Unsigned(IntSize::U4),
        Dtype::U64 => TypeDescriptor::Unsigned(IntSize::U8),
        Dtype::F16 => TypeDescriptor::Float(FloatSize::U2),
        Dtype::F32 => TypeDescriptor::Float(FloatSize::U4),
        Dtype::F64 => TypeDescriptor::Float(FloatSize::U8),
    }
}

/// Whether the bits of an element mean what a number of this class and size usually means. The crate tells
/// no more than those, so that bfloat16 looks like a half.
fn has_usual_layout(
    file: &HdfFile,
    dataset: &hdf5::Dataset,
    datatype: &Datatype,
    descriptor: &TypeDescriptor,
) -> bool {
    if matches!(descriptor, TypeDescriptor::Boolean | TypeDescriptor::Enum(_))
        || Datatype::from_descriptor(descriptor).is_ok_and(|usual| usual == *datatype)
    {
        return true;
    }
    // Big-endian types come here: libhdf5 compares the byte order with the rest.
    chunk_index::datatype_message(file, dataset)
        .is_some_and(|message| message_is_usual(&message, descriptor).unwrap_or(false))
}

/// Compares a datatype message with the usual layout: bit offset and precision, and for reals the sign,
/// the leading one that is not stored, and where exponent and mantissa lie.
fn message_is_usual(message: &[u8], descriptor: &TypeDescriptor) -> Option<bool> {
    let size = u8::try_from(descriptor.size()).ok()?;
    let bits = size * 8;
    let (class, flags) = (message.first()? & 15, message.get(1)?);
    let whole = message.get(4..12)? == [size, 0, 0, 0, 0, 0, bits, 0];
    let (exponent, bias) = match descriptor {
        TypeDescriptor::Float(FloatSize::U2) => (5, 15_u32),
        TypeDescriptor::Float(FloatSize::U4) => (8, 127),
        TypeDescriptor::Float(FloatSize::U8) => (11, 1023),
        _ => return Some(class == 0 && whole),
    };
    let mantissa = bits - 1 - exponent;
    let sign = *message.get(2)? == bits - 1;
    let implied_one = (flags >> 4) & 3 == 2;
    let fields = message.get(12..16)? == [mantissa, exponent, 0, mantissa];
    let bias = message.get(16..20)? == bias.to_le_bytes();
    Some(class == 1 && whole && sign && implied_one && fields && bias)
}

fn fill_bytes(dataset: &hdf5::Dataset, dtype: Dtype, big_endian: bool) -> Vec<u8> {
    let value = dataset.fill_value().ok().flatten();
    match value.as_ref().map(hdf5::types::OwnedDynValue::get) {
        Some(DynValue::Scalar(scalar)) => {
            let bytes = element::encode(scalar, big_endian);
            if bytes.len() == dtype.size() { bytes } else { vec![0; dtype.size()] }
        }
        _ => vec![0; dtype.size()],
    }
}

fn widest(dtype: Dtype) -> Dtype {
    match dtype {
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => Dtype::I64,
        Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => Dtype::U64,
        Dtype::F16 | Dtype::F32 | Dtype::F64 => Dtype::F64,
    }
}

fn compact_bytes(dataset: &hdf5::Dataset, dtype: Dtype) -> hdf5::Result<Vec<u8>> {
    Ok(match dtype {
        Dtype::I64 => dataset.read_raw::<i64>()?.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Dtype::U64 => dataset.read_raw::<u64>()?.iter().flat_map(|x| x.to_le_bytes()).collect(),
        _ => dataset.read_raw::<f64>()?.iter().flat_map(|x| x.to_le_bytes()).collect(),
    })
}
