//! The store: the matrix as an uncompressed, memory-mapped `.h5ad`, one compressed row per sample.
//!
//! See `README.md` beside this file for the layout and the promise.

mod cache;
mod fingerprint;
mod halves;
mod mmap;
mod open;
mod prepare;
mod sum;
mod transpose;
mod unpack;
mod write;

pub use cache::{Cache, Listener};
pub use fingerprint::Fingerprint;
pub(crate) use mmap::{Map, map_unnamed};
pub use open::{RowEntries, Store};
pub use prepare::{Prepared, Storing, prepare};
pub use unpack::{scan, unpack};
pub use write::{StoreDtype, Summary};
