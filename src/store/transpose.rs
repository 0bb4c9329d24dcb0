//! The other orientation of a store, in bounded memory.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::open::{Store, integer_at, value_at};
use super::write::{create, encode_indices, encode_values, open_for_filling};
use crate::error::{Error, Result};
use crate::hdf::to_usize;
use crate::io::InPlace;
use crate::matrix::Axis;
use crate::parallel;

/// Columns are gathered in panels of about this many bytes of entries.
const PANEL_BYTES: u64 = 256 << 20;
/// Each panel is gathered in this many parts at a time, one task each.
const PARTS: usize = 8;

/// Writes the transpose of `store` at `path`: its columns become rows.
///
/// Each panel of columns takes one pass over the store's rows; within it every part is gathered by one
/// task, which finds its columns in each (sorted) row by binary search.
pub(super) fn transpose(
    store: &Store,
    cells: &Axis,
    genes: &Axis,
    path: &Path,
    progress: &dyn Fn(u64),
) -> Result<InPlace> {
    let summary = store.summary().transposed();
    let place = create(path, store.major().other(), cells, genes, &summary.layout())?;
    let file = open_for_filling(path)?;
    let write_at = |bytes: &[u8], array: crate::io::RawArray, element: u64| {
        file.write_all_at(bytes, array.offset + element * array.dtype.size() as u64)
            .map_err(|e| Error::io(path, "write the transposed store", e))
    };
    let mut ends = Vec::with_capacity(summary.row_nnz.len() + 1);
    ends.push(0_u64);
    for nnz in &summary.row_nnz {
        ends.push(ends[ends.len() - 1] + nnz);
    }
    let indptr_bytes: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
    write_at(&indptr_bytes, place.indptr, 0)?;

    let entry_bytes = (size_of::<u32>() + size_of::<f64>()) as u64;
    let parts = split_columns(&ends, PANEL_BYTES / PARTS as u64 / entry_bytes);
    for panel in parts.chunks(PARTS) {
        let gathered: Vec<Part> = parallel::map(panel.to_vec(), |columns| gather(store, columns, &ends))
            .into_iter()
            .collect::<Result<_>>()?;
        for part in gathered {
            let first = ends[part.columns.start];
            let mut bytes = Vec::new();
            encode_indices(&part.indices, place.indices.dtype, &mut bytes);
            write_at(&bytes, place.indices, first)?;
            bytes.clear();
            encode_values(&part.values, place.data.dtype, &mut bytes);
            write_at(&bytes, place.data, first)?;
            progress(part.indices.len() as u64);
        }
    }
    Ok(place)
}

/// The entries of some columns, column by column.
struct Part {
    columns: Range<usize>,
    indices: Vec<u32>,
    values: Vec<f64>,
}

/// Cuts the columns into runs of at most `max_entries` entries (a longer column is a run of its own).
fn split_columns(ends: &[u64], max_entries: u64) -> Vec<Range<usize>> {
    let n_cols = ends.len() - 1;
    let mut parts = Vec::new();
    let mut start = 0;
    while start < n_cols {
        let mut stop = start + 1;
        while stop < n_cols && ends[stop + 1] - ends[start] <= max_entries {
            stop += 1;
        }
        parts.push(start..stop);
        start = stop;
    }
    parts
}

fn gather(store: &Store, columns: Range<usize>, ends: &[u64]) -> Result<Part> {
    let first = ends[columns.start];
    let n_entries = to_usize(ends[columns.end] - first);
    let mut cursor: Vec<usize> = ends[columns.clone()].iter().map(|end| to_usize(end - first)).collect();
    let mut part =
        Part { columns: columns.clone(), indices: vec![0; n_entries], values: vec![0.0; n_entries] };
    for row in 0..store.n_rows() {
        let changed = || Error::changed(store.path(), format!("row {row}"));
        let span = store.row_span(row)?;
        let (index_bytes, dtype) = store.index_bytes(span.clone());
        let column = |k: usize| integer_at(index_bytes, dtype, k);
        let begin = partition_point(span.len(), |k| column(k) < columns.start as u64);
        let (data, data_dtype) = store.data_bytes(span.clone());
        for k in begin..span.len() {
            let col = column(k);
            if col >= columns.end as u64 {
                break;
            }
            let column = to_usize(col).checked_sub(columns.start).ok_or_else(changed)?;
            let slot = &mut cursor[column];
            if *slot >= n_entries {
                return Err(changed());
            }
            part.indices[*slot] = u32::try_from(row).map_err(|_| changed())?;
            part.values[*slot] = value_at(data, data_dtype, k);
            *slot += 1;
        }
    }
    Ok(part)
}

/// `slice::partition_point` for positions `0..len`.
fn partition_point(len: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low.midpoint(high);
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
