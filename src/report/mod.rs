//! What people look at: figures and tables as plain data, drawn into one self-contained page and written beside it as
//! SVG and CSV. Knows nothing of cells and genes.

mod figure;

pub use figure::{Chart, Field, Figure, Point, Report, Section, Series, Table, Tick, Violin};
