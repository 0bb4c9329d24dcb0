//! Matrices as files: rows of cells in, a 10x HDF5, AnnData or pandas file out, in memory that does not grow with the entries.

mod frame;
mod matrix;
mod record;

use std::path::Path;

pub use matrix::{Content, MatrixFile};
pub use record::Record;

use crate::error::{Error, Result};

/// The formats in which matrices are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 10x HDF5 in the layout of Cell Ranger 3 and later: counts only, one matrix, no columns of cells.
    TenX,
    /// AnnData.
    H5ad,
    /// A frame of pandas in HDF5, as the original LATE reads it: dense, one matrix, names only.
    Hd5,
}

impl Format {
    /// The format that the name of a file says.
    ///
    /// # Errors
    /// When it says none.
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match extension.as_str() {
            "h5" => Ok(Self::TenX),
            "h5ad" => Ok(Self::H5ad),
            "hd5" => Ok(Self::Hd5),
            _ => Err(Error::Usage {
                problem: format!("{}: its name does not say in which format to write it", path.display()),
                remedy: "end it in .h5 (10x HDF5), .h5ad (AnnData) or .hd5 (pandas)".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_format() {
        assert_eq!(Format::of(Path::new("a.b/c.h5")).unwrap(), Format::TenX);
        assert_eq!(Format::of(Path::new("c.x.H5AD")).unwrap(), Format::H5ad);
        assert_eq!(Format::of(Path::new("c.hd5")).unwrap(), Format::Hd5);
        for other in ["c", "h5", "c.h5.gz", "c.mtx", "c.h5ad.tmp"] {
            let message = Format::of(Path::new(other)).unwrap_err().to_string();
            assert!(
                message.contains(".h5 ") && message.contains(".h5ad ") && message.contains(".hd5 "),
                "{message}"
            );
        }
    }
}
