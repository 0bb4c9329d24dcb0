//! The imputed file under its own name, in its own format.
//!
//! Networks with cells as features make values gene by gene, and every other format than AnnData's is written cell by
//! cell: so an AnnData file comes first, and its imputed values are rewritten.

use std::path::Path;

use super::file::LAYER;
use crate::atomic;
use crate::error::{Error, Result};
use crate::io::{self, Dtype, ReadOptions};
use crate::matrix::Axis;
use crate::output::{self, Content, Format, MatrixFile, Record};

/// A file that is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) path: &'a Path,
    pub(super) format: Format,
    /// Whether what is there may be replaced.
    pub(super) force: bool,
    /// Cells and genes.
    pub(super) axes: [&'a Axis; 2],
    /// How it is made, for formats with a place for a line of that.
    pub(super) record: &'a Record,
}

impl Target<'_> {
    /// Lets `write` fill an AnnData file and publishes it, or its imputed values, of which `progress` is told those
    /// rewritten since it was called last. Returns the bytes of the output.
    pub(super) fn publish(
        &self,
        progress: &dyn Fn(u64),
        write: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<u64> {
        let Self { path, format, force, .. } = *self;
        if format == Format::H5ad {
            atomic::write_atomically(path, force, write)?;
        } else {
            output::write_atomically(path, format, force, |temporary| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let values = atomic::create_temporary(atomic::parent(path), &format!(".{name}.h5ad."))
                    .map_err(|e| Error::io(path, "create", e))?;
                write(values.path())
                    .and_then(|()| self.rewrite(values.path(), temporary, progress))
                    .map_err(|e| e.renamed(values.path(), path))
            })?;
        }
        output::size(path, format)
    }

    /// Writes the imputed values of an AnnData file to another one.
    fn rewrite(&self, from: &Path, to: &Path, progress: &dyn Fn(u64)) -> Result<()> {
        let [cells, genes] = self.axes;
        let content = Content {
            cells,
            genes,
            genome: None,
            values: Dtype::F32,
            whole: false,
            dense: true,
            layers: &[],
            record: self.record,
        };
        let layer = LAYER.split_once('/').map(|(_, name)| name.to_owned());
        let options = ReadOptions { layer, values: io::Values::Finite, ..ReadOptions::default() };
        let source = io::open(from, &options)?;
        let mut file = MatrixFile::create(to, self.format, content)?;
        source.for_each_block(&mut |block, _| {
            let block = block.into_reals();
            file.write_rows(0, &block)?;
            progress(block.n_rows() as u64 * genes.len() as u64);
            Ok(())
        })?;
        file.finish()
    }
}
