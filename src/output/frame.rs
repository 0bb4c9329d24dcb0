//! Rows of cells in, a pandas HDFStore out: the original LATE's `.hd5`, in memory that does not grow with the cells.
//!
//! What pandas needs to read a frame is written and no more. PyTables takes attributes for text only if they are fixed-length
//! UTF-8 strings, and takes all of that length.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use hdf5::types::{FixedUnicode, TypeDescriptor, VarLenUnicode};
use hdf5::{Dataset, File, Group, Location};

use crate::error::{Error, Result};
use crate::hdf::{self, DenseWriter, descriptor};
use crate::io::Dtype;
use crate::matrix::RowBlock;

/// The original's key.
const KEY: &str = "null";
/// The dataset of the one block that a frame of one type has.
const VALUES: &str = "block0_values";
/// Objects follow each other closely.
const UNALIGNED: u64 = 1;
/// The longest label.
const MAX_LABEL: usize = 1024;
/// Labels are converted this many at a time.
const LABELS: usize = 1024;

/// A frame that is being written: a row for each cell and a column for each gene.
pub(super) struct FrameWriter {
    path: PathBuf,
    file: File,
    /// Not there when there is no value.
    values: Option<DenseWriter>,
}

impl FrameWriter {
    /// Creates the file with its labels; values are converted to `dtype`, f32 or f64. `description` says how it was made.
    ///
    /// # Errors
    /// When a name is longer than 1024 bytes, or writing fails.
    pub(super) fn create(
        path: &Path,
        cells: &[String],
        genes: &[String],
        dtype: Dtype,
        description: &str,
    ) -> Result<Self> {
        let file = hdf::create(path, UNALIGNED)?;
        let failed = |action: &'static str| move |e| Error::hdf5(path, KEY, action, e);
        let group = file.create_group(KEY).map_err(failed("create the group"))?;
        write_attributes(&group, description).map_err(failed("write the attributes of"))?;
        for (name, labels) in [("axis0", genes), ("axis1", cells), ("block0_items", genes)] {
            write_labels(path, &group, name, labels)?;
        }
        let shape = [cells.len(), genes.len()];
        let values = if shape.contains(&0) {
            write_no_values(&group, shape, dtype).map_err(failed("create the values of"))?;
            None
        } else {
            let values = DenseWriter::create(path, &group, VALUES, shape, dtype)?;
            write_transposed(values.dataset()).map_err(failed("write the attributes of"))?;
            hdf::flush(values.dataset())?;
            Some(values)
        };
        Ok(Self { path: path.to_owned(), file, values })
    }

    /// Adds cells.
    ///
    /// # Errors
    /// When writing fails.
    pub(super) fn write_rows(&mut self, block: &RowBlock) -> Result<()> {
        self.values.as_mut().map_or(Ok(()), |values| values.write_rows(block))
    }

    /// Completes and closes the file.
    ///
    /// # Errors
    /// When writing fails.
    ///
    /// # Panics
    /// When there are not as many rows as cells, and there are genes.
    pub(super) fn finish(self) -> Result<()> {
        let Self { path, file, values } = self;
        values.map_or(Ok(()), DenseWriter::finish)?;
        hdf::close(file, &path)
    }
}

/// Writes what stands for values where there are none.
fn write_no_values(group: &Group, shape: [usize; 2], dtype: Dtype) -> hdf5::Result<()> {
    let builder = group.new_dataset_builder();
    let values = builder.empty_as(descriptor(dtype)).shape([1, 1]).create(VALUES)?;
    write_shape(&values, &shape, if dtype == Dtype::F32 { b"float32" } else { b"float64" })?;
    write_transposed(&values)
}

fn write_text<const N: usize>(object: &Location, name: &str, value: &[u8; N]) -> hdf5::Result<()> {
    let value = String::from_utf8_lossy(value);
    let value = FixedUnicode::<N>::from_str(&value).map_err(|e| hdf5::Error::Internal(e.to_string()))?;
    object.new_attr::<FixedUnicode<N>>().create(name)?.write_scalar(&value)
}

fn write_attributes(group: &Group, description: &str) -> hdf5::Result<()> {
    write_text(group, "pandas_type", b"frame")?;
    write_text(group, "pandas_version", b"0.15.2")?;
    write_text(group, "encoding", b"UTF-8")?;
    write_text(group, "errors", b"strict")?;
    for labels in ["axis0", "axis1", "block0_items"] {
        write_text(group, &format!("{labels}_variety"), b"regular")?;
    }
    group.new_attr::<i64>().create("ndim")?.write_scalar(&2_i64)?;
    group.new_attr::<i64>().create("nblocks")?.write_scalar(&1_i64)?;
    let description: VarLenUnicode = description.replace('\0', "").parse().unwrap_or_default();
    group.new_attr::<VarLenUnicode>().create("late_fast")?.write_scalar(&description)
}

/// Says that rows are rows.
fn write_transposed(dataset: &Dataset) -> hdf5::Result<()> {
    dataset.new_attr::<u8>().create("transposed")?.write_scalar(&1_u8)
}

/// Says that an array of one element stands for one of none.
fn write_shape<const N: usize>(dataset: &Dataset, shape: &[usize], dtype: &[u8; N]) -> hdf5::Result<()> {
    let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    dataset.new_attr::<i64>().shape([shape.len()]).create("shape")?.write_raw(&shape)?;
    write_text(dataset, "value_type", dtype)
}

/// Writes labels as strings as long as the longest of them, never held all at once.
fn write_labels(path: &Path, group: &Group, name: &str, labels: &[String]) -> Result<()> {
    let object = || format!("{KEY}/{name}");
    let plain = |label: &String| label.replace('\0', "");
    let width = labels.iter().map(|label| plain(label).len()).max().unwrap_or(0).max(1);
    if width > MAX_LABEL {
        let longest = labels.iter().find(|label| label.len() > MAX_LABEL);
        let found = format!("{width} bytes, as {:?}", longest.map_or("", |label| label.as_str()));
        let expected = format!("names of at most {MAX_LABEL} bytes");
        return Err(Error::input(path, object(), expected, found, "shorten them"));
    }
    let failed = |e| Error::hdf5(path, object(), "write", e);
    let builder = group.new_dataset_builder().empty_as(TypeDescriptor::FixedUnicode(width));
    let dataset = builder.shape([labels.len().max(1)]).create(name).map_err(failed)?;
    if labels.is_empty() {
        write_shape(&dataset, &[0], b"S1").map_err(failed)?;
    }
    for (number, part) in labels.chunks(LABELS).enumerate() {
        let texts: std::result::Result<Vec<FixedUnicode<MAX_LABEL>>, _> =
            part.iter().map(|label| FixedUnicode::from_str(&plain(label))).collect();
        let texts = texts.map_err(|e| failed(hdf5::Error::Internal(e.to_string())))?;
        let begin = number * LABELS;
        dataset.write_slice(&texts[..], begin..begin + texts.len()).map_err(failed)?;
    }
    write_text(&dataset, "kind", b"string").and_then(|()| write_transposed(&dataset)).map_err(failed)?;
    hdf::flush(&dataset)
}
