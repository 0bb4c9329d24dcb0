//! Text files: blocks of whole lines in, inflated on a thread of their own; lines out, compressed on all threads.

mod inflate;
mod lines;
mod mtx;
mod number;
mod sink;
mod table;

pub(crate) use inflate::{MAX_EXPANSION, is_compressed, is_gzip, open_text};
pub(crate) use lines::{Lines, parse_lines, read_lines, read_problem};
pub use mtx::{MTX_FILES, MtxWriter};
pub(crate) use number::parse_number;
pub use table::TableWriter;
