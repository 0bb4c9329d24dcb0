//! The codecs behind HDF5's registered compression filters. Each expands into a buffer of the size the chunk must have,
//! checks every length it reads, and refuses what does not fill the buffer exactly.

pub(super) mod blosc;
mod blosclz;
pub(super) mod lz4;
pub(super) mod lzf;
pub(super) mod zstd;
