//! Text files: blocks of whole lines in, inflated on a thread of their own; lines out, compressed on all threads.

mod lines;
mod mtx;
mod number;
mod sink;
mod table;

pub(crate) use lines::{Lines, is_gzip, open_text, read_lines, read_problem};
pub use mtx::{MTX_FILES, MtxWriter};
pub(crate) use number::parse_number;
pub use table::TableWriter;
