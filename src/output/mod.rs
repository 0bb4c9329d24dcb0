//! Matrices as files: rows of cells in, a 10x, AnnData, pandas or text file out, in memory that does not grow with the
//! entries.

mod frame;
mod matrix;
mod publish;
mod record;

use std::path::Path;

pub use matrix::{Content, MatrixFile};
pub use publish::{Pending, prepare, publish_together, refuse_existing, size, write_atomically};
pub use record::Record;

use crate::error::{Error, Result};

/// The formats in which matrices are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 10x HDF5 in the layout of Cell Ranger 3 and later: counts only, one matrix, no columns of cells.
    TenX,
    /// AnnData.
    H5ad,
    /// A 10x Matrix Market directory of Cell Ranger 3 and later: one matrix, no columns of cells.
    Mtx,
    /// A table of text with a line for each cell: names and values only.
    Table {
        /// Stands between fields.
        delimiter: u8,
        /// Whether it is compressed.
        gzip: bool,
    },
    /// A frame of pandas in HDF5, as the original LATE reads it: dense, one matrix, names only.
    Hd5,
}

impl Format {
    /// The formats by what a file's name ends in.
    const NAMES: [(&str, Self); 7] = [
        (".h5", Self::TenX),
        (".h5ad", Self::H5ad),
        (".hd5", Self::Hd5),
        (".csv", Self::Table { delimiter: b',', gzip: false }),
        (".tsv", Self::Table { delimiter: b'\t', gzip: false }),
        (".csv.gz", Self::Table { delimiter: b',', gzip: true }),
        (".tsv.gz", Self::Table { delimiter: b'\t', gzip: true }),
    ];

    /// The format that the name of a file says; with a slash at its end, or when it is one already, a directory.
    ///
    /// # Errors
    /// When it says none.
    pub fn of(path: &Path) -> Result<Self> {
        check_name(path)?;
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir() {
            return Ok(Self::Mtx);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let is_it = |end: &str| name.len() > end.len() && name.ends_with(end);
        Self::NAMES.iter().find(|(end, _)| is_it(end)).map(|(_, format)| *format).ok_or_else(|| Error::Usage {
            problem: format!("{}: its name does not say in which format to write it", path.display()),
            remedy: "end it in .h5 (10x HDF5), .h5ad (AnnData), .hd5 (pandas), / (a 10x Matrix Market directory), .csv, .tsv, .csv.gz or \
                     .tsv.gz"
                .into(),
        })
    }

    /// Bytes that one of many real values takes in it, about.
    pub fn value_bytes(self) -> u64 {
        match self {
            Self::TenX | Self::H5ad | Self::Hd5 => 4,
            Self::Mtx => 8,
            Self::Table { gzip: true, .. } => 6,
            Self::Table { gzip: false, .. } => 11,
        }
    }

    /// Whether it holds whole numbers only.
    pub fn is_counts_only(self) -> bool {
        self == Self::TenX
    }

    /// What of a matrix the format has no place for, for people: columns of cells, and columns of genes beside those named.
    pub fn keeps(self) -> Kept {
        match self {
            Self::H5ad => Kept { name: "AnnData", cell_columns: true, gene_columns: None },
            Self::TenX => Kept {
                name: "10x HDF5",
                cell_columns: false,
                gene_columns: Some(&["gene_ids", "probe_ids", "genome", "feature_types"]),
            },
            Self::Mtx => Kept {
                name: "10x Matrix Market",
                cell_columns: false,
                gene_columns: Some(&["gene_ids", "probe_ids", "feature_types"]),
            },
            Self::Hd5 => Kept { name: "pandas", cell_columns: false, gene_columns: Some(&[]) },
            Self::Table { .. } => Kept { name: "csv and tsv", cell_columns: false, gene_columns: Some(&[]) },
        }
    }
}

/// Refuses what names no file or directory of its own: outputs get their names when they are whole.
fn check_name(path: &Path) -> Result<()> {
    if path.file_name().is_some() {
        return Ok(());
    }
    Err(Error::Usage {
        problem: format!("{} is no name for an output", path.display()),
        remedy: "give the directory a name of its own, such as out/".into(),
    })
}

/// What a format has a place for.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// What its files are called.
    pub name: &'static str,
    /// Whether columns of cells are kept.
    pub cell_columns: bool,
    /// The columns of genes that are kept; all of them if not given.
    pub gene_columns: Option<&'static [&'static str]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_format() {
        assert_eq!(Format::of(Path::new("a.b/c.h5")).unwrap(), Format::TenX);
        assert_eq!(Format::of(Path::new("c.x.H5AD")).unwrap(), Format::H5ad);
        assert_eq!(Format::of(Path::new("a.h5/")).unwrap(), Format::Mtx);
        assert_eq!(Format::of(Path::new("c.hd5")).unwrap(), Format::Hd5);
        let table = |delimiter, gzip| Format::Table { delimiter, gzip };
        assert_eq!(Format::of(Path::new("c.csv")).unwrap(), table(b',', false));
        assert_eq!(Format::of(Path::new("c.TSV.gz")).unwrap(), table(b'\t', true));
        for other in ["./", ".", "..", "a/..", "/", ""] {
            let message = Format::of(Path::new(other)).unwrap_err().to_string();
            assert!(message.contains("no name for an output"), "{other}: {message}");
        }
        for other in ["c", "h5", ".h5", "c.h5.gz", "c.mtx", "c.gz", "c.h5ad.tmp"] {
            let message = Format::of(Path::new(other)).unwrap_err().to_string();
            assert!(
                message.contains(".h5 ") && message.contains(".h5ad ") && message.contains(".hd5 "),
                "{message}"
            );
        }
    }
}
