//! AnnData's conventions inside HDF5: axes (`obs`, `var`) of every generation read, the modern
//! encoding written.

mod columns;
mod compound;
mod read;
mod sparse;
mod write;

pub(crate) use columns::read_column;
pub use read::read_axis;
pub use sparse::SparseWriter;
pub use write::{
    SparseGroup, SparseSpec, create_array, create_dense, create_dict, create_file, create_sparse, write_axis,
    write_number_scalar, write_numbers, write_root, write_string_scalar,
};
