//! 10x Genomics' HDF5 feature-barcode matrices as Cell Ranger writes them, streamed to disk.

mod text;
mod write;

pub use write::{TenxFeatures, TenxLayout, TenxWriter};
