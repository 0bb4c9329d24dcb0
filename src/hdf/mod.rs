//! Reading HDF5: libhdf5 gives the metadata, this module reads the bytes. Writing it: libhdf5, without losing an error.
//!
//! libhdf5 decompresses on one thread under a global lock. Here it only says where a dataset lies and
//! how it is encoded; numbers and fixed-length strings come through positioned reads of the file and
//! are inflated in parallel. Declared sizes are held against what the file really stores before
//! anything of that size is allocated.

mod attributes;
mod chunk_index;
mod codec;
mod dense;
mod element;
mod file;
mod filters;
mod heap;
mod numeric;
mod shuffle;
mod storage;
mod strings;
mod write;

pub use dense::DenseWriter;
pub use element::FromElement;
pub(crate) use element::convert;
pub use file::{HdfFile, Kind, has_signature};
pub use filters::undo_filters;
pub use numeric::NumericArray;
pub(crate) use numeric::{descriptor, numeric_dtype};
pub(crate) use storage::{ByteArray, KEPT_BYTES};
pub(crate) use strings::{decode_latin, decode_text};
pub use write::{close, create, extend, flush};

/// `value` as an index; saturates where the address space is smaller than the file.
pub(crate) fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
