//! The file that imputing and merging write: `obs`, `var`, `uns/late_fast`, the latent code, and unless that is all
//! that is wanted, the counts in `X` and the imputed values in `layers/late`.

use std::ops::Range;
use std::path::Path;

use hdf5::{Dataset, File, H5Type};
use ndarray::ArrayView2;

use super::OutputDtype;
use super::axes::hash_axis;
use super::record::Record;
use crate::error::{Error, Result};
use crate::h5ad::{self, SparseWriter};
use crate::hdf;
use crate::io::Dtype;
use crate::matrix::{Axis, Major, RowBlock};
use crate::parallel::tiles;

/// Chunks of the imputed layer hold about this many bytes.
const CHUNK_BYTES: usize = 1 << 20;
/// Entries of `X` are handed on this many at a time.
const X_BLOCK: usize = 1 << 18;

pub(super) const LAYER: &str = "layers/late";
pub(super) const INDPTR: &str = "X/indptr";
pub(super) const INDICES: &str = "X/indices";
pub(super) const DATA: &str = "X/data";

/// The shape of a file's content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Cells and genes.
    pub(super) shape: [usize; 2],
    /// The axis of the model's samples.
    pub(super) samples: Major,
    pub(super) n_latent: usize,
    /// Width of the latent code of the other axis, where a second model has it.
    pub(super) n_other_latent: Option<usize>,
    /// Type of the imputed values; none where the latent code alone is written.
    pub(super) dtype: Option<OutputDtype>,
    pub(super) batch_size: usize,
}

impl Layout {
    /// Where the latent code stands.
    pub(super) fn latent_name(&self) -> &'static str {
        latent_name(self.samples)
    }

    /// Axis and width of every latent code.
    fn latents(&self) -> impl Iterator<Item = (Major, usize)> {
        let other = self.n_other_latent.map(|n| (self.samples.other(), n));
        std::iter::once((self.samples, self.n_latent)).chain(other)
    }

    /// What is hashed beside the axes.
    fn objects(&self) -> Vec<&'static str> {
        let values = if self.dtype.is_some() { &[INDPTR, INDICES, DATA, LAYER][..] } else { &[] };
        values.iter().copied().chain([self.latent_name()]).collect()
    }

    fn len_of(&self, axis: Major) -> usize {
        self.shape[usize::from(axis == Major::Genes)]
    }

    /// Values of the layer, or of the latent code where that is all.
    pub(super) fn n_values(&self) -> u64 {
        let [rows, columns] = match self.dtype {
            Some(_) => self.shape,
            None => [self.len_of(self.samples), self.n_latent],
        };
        rows as u64 * columns as u64
    }

    /// Bytes of the imputed values and of the latent code.
    pub(super) fn dense_bytes(&self) -> u64 {
        let latent =
            self.latents().map(|(axis, n)| (self.len_of(axis) * n * size_of::<f32>()) as u64).sum::<u64>();
        let [rows, columns] = self.shape.map(|n| n as u64);
        latent + self.dtype.map_or(0, |dtype| rows * columns * dtype.size() as u64)
    }

    /// Chunks of the layer: a batch, which is a run of rows or a run of columns, fills whole ones. An array without
    /// elements has none.
    fn chunk(&self, dtype: OutputDtype) -> Option<[usize; 2]> {
        let [n_cells, n_genes] = self.shape;
        let chunk_values = CHUNK_BYTES / dtype.size();
        let chunk = match self.samples {
            Major::Cells => {
                let rows = (chunk_values / n_genes.max(1)).clamp(1, self.batch_size);
                [1 << rows.ilog2(), n_genes]
            }
            Major::Genes => [chunk_values / self.batch_size, self.batch_size],
        };
        (n_cells > 0 && n_genes > 0).then(|| [chunk[0].clamp(1, n_cells), chunk[1].clamp(1, n_genes)])
    }
}

/// Where the latent code of cells or genes stands.
fn latent_name(axis: Major) -> &'static str {
    match axis {
        Major::Cells => "obsm/X_late",
        Major::Genes => "varm/X_late",
    }
}

/// Rectangles of at most `tile` in the order in which a layer of this shape is written.
pub(super) fn rectangles(
    samples: Major,
    shape: [usize; 2],
    tile: [usize; 2],
) -> impl Iterator<Item = [Range<usize>; 2]> {
    let (outer, inner) = match samples {
        Major::Cells => (0, 1),
        Major::Genes => (1, 0),
    };
    tiles(shape[outer], tile[outer].max(1)).into_iter().flat_map(move |a| {
        tiles(shape[inner], tile[inner].max(1)).into_iter().map(move |b| match samples {
            Major::Cells => [a.clone(), b],
            Major::Genes => [b, a.clone()],
        })
    })
}

/// Imputed values in the element type of the file, row-major.
#[derive(Clone, Debug)]
pub(super) enum Values {
    F32(Vec<f32>),
    F16(Vec<half::f16>),
}

impl Values {
    /// Their bytes in the file.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::F16(values) => bytemuck::cast_slice(values),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
        }
    }
}

/// Hashes of objects of a file, fed in the order in which they are written.
#[derive(Debug)]
pub(super) struct Hashes(Vec<(&'static str, blake3::Hasher)>);

impl Hashes {
    /// Of these objects, empty so far.
    pub(super) fn of(objects: &[&'static str]) -> Self {
        Self(objects.iter().map(|&object| (object, blake3::Hasher::new())).collect())
    }

    pub(super) fn update<T: bytemuck::NoUninit>(&mut self, object: &'static str, values: &[T]) {
        for (_, hasher) in self.0.iter_mut().filter(|(name, _)| *name == object) {
            hasher.update(bytemuck::cast_slice(values));
        }
    }

    pub(super) fn finish(self) -> Vec<(String, String)> {
        let hex = |hasher: blake3::Hasher| hasher.finalize().to_hex().to_string();
        self.0.into_iter().map(|(name, hasher)| (name.to_owned(), hex(hasher))).collect()
    }
}

/// A file that is being written.
pub(super) struct OutputFile<'a> {
    path: &'a Path,
    file: File,
    layout: Layout,
    counts: Option<Counts>,
    layer: Option<Dataset>,
    latents: Vec<(Major, Dataset)>,
    hashes: Option<Hashes>,
    axes: Vec<(String, String)>,
}

/// `X`, appended to row by row.
struct Counts {
    writer: SparseWriter,
    /// Rows that are waiting.
    rows: RowBlock,
    /// Entries before them.
    end: i64,
}

impl<'a> OutputFile<'a> {
    /// Creates the file with its axes and its record. With `hashed` everything is hashed as it is written.
    pub(super) fn create(
        path: &'a Path,
        layout: Layout,
        [obs, var]: [&Axis; 2],
        record: &Record,
        hashed: bool,
    ) -> Result<Self> {
        let file = h5ad::create_file(path)?;
        h5ad::write_axis(&file, "obs", obs)?;
        h5ad::write_axis(&file, "var", var)?;
        record.write(&file)?;
        let (mut counts, mut layer) = (None, None);
        if let Some(dtype) = layout.dtype {
            counts = Some(Counts::create(path, &file, layout.shape)?);
            let element = match dtype {
                OutputDtype::F32 => Dtype::F32,
                OutputDtype::F16 => Dtype::F16,
            };
            let layers = h5ad::create_dict(&file, "layers")?;
            layer = Some(h5ad::create_array(&layers, "late", element, layout.shape, layout.chunk(dtype))?);
        }
        let mut latents = Vec::new();
        for (axis, width) in layout.latents() {
            let (group, name) = latent_name(axis).split_once('/').unwrap_or_default();
            let group = h5ad::create_dict(&file, group)?;
            let shape = [layout.len_of(axis), width];
            latents.push((axis, h5ad::create_array(&group, name, Dtype::F32, shape, None)?));
        }
        let axes = if hashed {
            vec![("obs".into(), hash_axis(obs)), ("var".into(), hash_axis(var))]
        } else {
            vec![]
        };
        let hashes = hashed.then(|| Hashes::of(&layout.objects()));
        Ok(Self { path, file, layout, counts, layer, latents, hashes, axes })
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Appends one row to `X`.
    pub(super) fn append_counts(&mut self, entries: impl Iterator<Item = (u32, f32)>) -> Result<()> {
        let Some(counts) = &mut self.counts else { return Ok(()) };
        for (index, value) in entries {
            counts.rows.push(index, f64::from(value));
        }
        counts.rows.end_row();
        let waiting = counts.rows.nnz().max(counts.rows.n_rows());
        if waiting >= X_BLOCK { counts.flush(&mut self.hashes) } else { Ok(()) }
    }

    /// Writes imputed values, row-major, to some cells and genes.
    pub(super) fn write_layer(
        &mut self,
        cells: Range<usize>,
        genes: Range<usize>,
        values: &Values,
    ) -> Result<()> {
        let Some(layer) = &self.layer else { return Ok(()) };
        if let Some(hashes) = &mut self.hashes {
            hashes.update(LAYER, values.bytes());
        }
        let written = match values {
            Values::F32(values) => write_rectangle(layer, values, cells, genes),
            Values::F16(values) => write_rectangle(layer, values, cells, genes),
        };
        written.map_err(|e| Error::hdf5(self.path, LAYER, "write", e))
    }

    /// Writes the latent code of some cells or genes, `samples.len() x n_latent`.
    pub(super) fn write_latent(&mut self, axis: Major, samples: Range<usize>, code: &[f32]) -> Result<()> {
        let name = latent_name(axis);
        if let Some(hashes) = &mut self.hashes {
            hashes.update(name, code);
        }
        let Some((_, latent)) = self.latents.iter().find(|(of, _)| *of == axis) else { return Ok(()) };
        let width = code.len() / samples.len().max(1);
        write_rectangle(latent, code, samples, 0..width).map_err(|e| Error::hdf5(self.path, name, "write", e))
    }

    /// Completes `X`. Returns the file, still open, and the hashes of its content.
    pub(super) fn finish(self) -> Result<(File, Vec<(String, String)>)> {
        let Self { file, counts, mut hashes, mut axes, layer: _layer, latents: _latents, .. } = self;
        if let Some(counts) = counts {
            counts.finish(&mut hashes)?;
        }
        axes.extend(hashes.into_iter().flat_map(Hashes::finish));
        // Layer and latent code are still open.
        hdf::flush(&file)?;
        Ok((file, axes))
    }
}

impl Counts {
    fn create(path: &Path, file: &File, shape: [usize; 2]) -> Result<Self> {
        let writer = SparseWriter::create(path, file, "X", shape, Dtype::F32)?;
        Ok(Self { writer, rows: no_rows(), end: 0 })
    }

    /// Hands the rows that are waiting on.
    fn flush(&mut self, hashes: &mut Option<Hashes>) -> Result<()> {
        let rows = std::mem::replace(&mut self.rows, no_rows());
        if let Some(hashes) = hashes {
            hashes.update(INDICES, &rows.indices);
            #[expect(clippy::cast_possible_truncation, reason = "they were 32-bit numbers")]
            let values: Vec<f32> = rows.values.iter().map(|&value| value as f32).collect();
            hashes.update(DATA, &values);
            let starts: Vec<i64> =
                rows.indptr[..rows.n_rows()].iter().map(|&start| self.end + start as i64).collect();
            hashes.update(INDPTR, &starts);
        }
        self.end += rows.nnz() as i64;
        self.writer.write_rows(&rows)
    }

    fn finish(mut self, hashes: &mut Option<Hashes>) -> Result<()> {
        self.flush(hashes)?;
        if let Some(hashes) = hashes {
            hashes.update(INDPTR, &[self.end]);
        }
        self.writer.finish().map(drop)
    }
}

fn no_rows() -> RowBlock {
    RowBlock { indptr: vec![0], ..RowBlock::default() }
}

/// Writes row-major values to some rows and columns of a dataset.
fn write_rectangle<T: H5Type>(
    dataset: &Dataset,
    values: &[T],
    rows: Range<usize>,
    columns: Range<usize>,
) -> hdf5::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let view = ArrayView2::from_shape((rows.len(), columns.len()), values)
        .map_err(|e| hdf5::Error::Internal(e.to_string()))?;
    dataset.write_slice(view, (rows, columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atlas(dtype: Option<OutputDtype>) -> Layout {
        let (samples, n_latent, batch_size) = (Major::Cells, 400, 256);
        Layout { shape: [1_306_127, 27_998], samples, n_latent, n_other_latent: None, dtype, batch_size }
    }

    #[test]
    fn sizes_beyond_32_bits_are_counted() {
        let latent = 1_306_127 * 400;
        assert_eq!(atlas(Some(OutputDtype::F32)).n_values(), 36_568_943_746);
        assert_eq!(atlas(Some(OutputDtype::F16)).dense_bytes(), 2 * 36_568_943_746 + 4 * latent);
        assert_eq!((atlas(None).n_values(), atlas(None).dense_bytes()), (latent, 4 * latent));
    }

    /// The last rectangle of an atlas lies 146 GB into the layer, of which only the chunks that are written take disk.
    #[test]
    fn values_beyond_32_bits_are_written_to_their_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.h5ad");
        let layout = atlas(Some(OutputDtype::F32));
        let [n_cells, n_genes] = layout.shape;
        let file = h5ad::create_file(&path).unwrap();
        let layer =
            h5ad::create_array(&file, "late", Dtype::F32, layout.shape, layout.chunk(OutputDtype::F32));
        let layer = layer.unwrap();
        let values = [1.0_f32, 2.0, 3.0, 4.0];
        write_rectangle(&layer, &values, n_cells - 2..n_cells, n_genes - 2..n_genes).unwrap();
        let read = layer.read_slice_2d::<f32, _>((n_cells - 2..n_cells, n_genes - 2..n_genes)).unwrap();
        assert_eq!(read.as_slice().unwrap(), values);
        drop((layer, file));
        assert!(path.metadata().unwrap().len() < 1 << 24);
    }

    #[test]
    fn rectangles_cover_a_layer_in_the_order_of_its_batches() {
        let all = |samples, tile| rectangles(samples, [5, 4], tile).collect::<Vec<_>>();
        assert_eq!(all(Major::Cells, [3, 9]), [[0..3, 0..4], [3..5, 0..4]]);
        assert_eq!(all(Major::Genes, [3, 2]), [[0..3, 0..2], [3..5, 0..2], [0..3, 2..4], [3..5, 2..4]]);
        assert_eq!(rectangles(Major::Cells, [0, 4], [3, 9]).count(), 0);
    }
}
