//! The same matrix in another format.

use std::path::Path;

use super::rows::Rows;
use super::written::{Counter, Written};
use super::{BLOCK_ENTRIES, cell_store, check_format, content};
use crate::error::Result;
use crate::io::Source;
use crate::output::{Content, Format, MatrixFile, Record, write_atomically};
use crate::store::Prepared;

/// What was converted.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ConvertReport {
    /// Cells in the file.
    pub n_cells: usize,
    /// Genes in the file.
    pub n_genes: usize,
    /// The file.
    #[serde(flatten)]
    pub output: Written,
}

/// How a matrix is converted.
#[derive(Clone, Debug)]
pub struct ConvertOptions {
    /// The format to write.
    pub format: Format,
    /// h5ad: a dense matrix instead of a sparse one.
    pub dense: bool,
    /// How the matrix was chosen from the file, such as `--layer counts`, for the record.
    pub selection: String,
    /// Replace an existing output.
    pub force: bool,
}

/// Writes the matrix of `source`, made available by `prepared` with rows of cells, to `path`. `progress` is told the step and
/// the entries it has gone through since it was called last.
///
/// # Errors
/// When the format has no place for a value, or writing fails.
pub fn convert(
    source: &dyn Source,
    prepared: &Prepared,
    options: &ConvertOptions,
    path: &Path,
    progress: &dyn Fn(&'static str, u64),
) -> Result<ConvertReport> {
    let ConvertOptions { format, dense, ref selection, force } = *options;
    let store = cell_store(prepared);
    let summary = store.summary();
    check_format(source, store, format, "choose another format, such as h5ad")?;
    let selection = Some(("selection", selection.trim().to_owned())).filter(|(_, text)| !text.is_empty());
    let record = Record {
        command: "convert",
        input: source.path().display().to_string(),
        options: selection.into_iter().collect(),
        seed: None,
    };
    let content = Content { dense, ..content(source, summary, &record) };
    let rows = Rows { store, block_entries: BLOCK_ENTRIES };
    let counter = write_atomically(path, format, force, |temporary| {
        let mut file = MatrixFile::create(temporary, format, content)?;
        let mut counter = Counter::new(store.n_cols());
        rows.rewrite(
            1,
            |_, entries, matrices| {
                matrices[0].indices.extend_from_slice(&entries.indices);
                matrices[0].values.extend_from_slice(&entries.values);
            },
            |matrices| {
                counter.add(&matrices[0], summary);
                file.write_rows(0, &matrices[0])
            },
            &|n| progress("writing", n),
        )?;
        file.finish()?;
        Ok(counter)
    })?;
    Ok(ConvertReport {
        n_cells: store.n_rows(),
        n_genes: store.n_cols(),
        output: counter.finish(path, format, summary)?,
    })
}
