//! Rows of counts in, a 10x file out, in memory that does not grow with the number of entries.

use std::path::{Path, PathBuf};

use hdf5::types::{FixedAscii, VarLenUnicode};
use hdf5::{Dataset, File, Group, H5Type, SimpleExtents};

use super::text::write_texts;
use crate::error::{Error, Result};
use crate::hdf;
use crate::matrix::RowBlock;

/// Elements of a chunk in Cell Ranger 1 and 2, whatever the dataset.
const CHUNK_V2: usize = 80_000;
/// Elements of a chunk in files of later versions.
const CHUNK_V3: usize = 65_536;
/// Objects follow each other closely, as in Cell Ranger's files.
const UNALIGNED: u64 = 1;
/// Cell Ranger's deflate level.
const LEVEL: u8 = 1;
/// The group of a v3 file.
const V3_GROUP: &str = "matrix";
/// The `version` attribute of a v3 file.
const V3_VERSION: i64 = 2;

/// The layouts of a 10x HDF5 file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenxLayout {
    /// Cell Ranger 1 and 2: a group that is named after the genome.
    V2 {
        /// The group.
        genome: String,
    },
    /// Cell Ranger 3 and later: the group `matrix`.
    V3,
}

impl TenxLayout {
    fn group(&self) -> &str {
        match self {
            Self::V2 { genome } => genome,
            Self::V3 => V3_GROUP,
        }
    }

    fn chunk(&self) -> usize {
        match self {
            Self::V2 { .. } => CHUNK_V2,
            Self::V3 => CHUNK_V3,
        }
    }
}

/// The feature type of genes.
const GENE_EXPRESSION: &str = "Gene Expression";

/// The genes of a file to write.
#[derive(Clone, Copy, Debug)]
pub struct TenxFeatures<'a> {
    /// One id per gene.
    pub ids: &'a [String],
    /// One name per gene.
    pub names: &'a [String],
    /// One genome per gene; a v2 file has them all in its group's name.
    pub genomes: &'a [String],
    /// One feature type per gene, which a v2 file has no place for; "Gene Expression" for all of them without.
    pub types: Option<&'a [String]>,
}

/// A 10x file that is being written. Cells come as rows, in order; their barcodes and the genes come last.
pub struct TenxWriter {
    path: PathBuf,
    file: File,
    group: Group,
    layout: TenxLayout,
    indices: Column<i64>,
    data: Column<i32>,
    indptr: Vec<i64>,
}

impl TenxWriter {
    /// Creates the file at `path`, of which `description` says how it was made.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path, layout: TenxLayout, description: &str) -> Result<Self> {
        let file = hdf::create(path, UNALIGNED)?;
        let failed = |e| Error::hdf5(path, "/", "write the attributes of", e);
        write_root(&file, &layout, description).map_err(failed)?;
        let group = file
            .create_group(layout.group())
            .map_err(|e| Error::hdf5(path, layout.group(), "create the group", e))?;
        let chunk = layout.chunk();
        Ok(Self {
            path: path.to_owned(),
            indices: Column::create(path, &group, "indices", chunk)?,
            data: Column::create(path, &group, "data", chunk)?,
            indptr: vec![0],
            file,
            group,
            layout,
        })
    }

    /// Adds cells.
    ///
    /// # Errors
    /// When a value is no count that 32 bits hold, or writing fails.
    pub fn write_rows(&mut self, block: &RowBlock) -> Result<()> {
        self.indices.pending.extend(block.indices.iter().map(|&index| i64::from(index)));
        #[expect(clippy::cast_possible_truncation, reason = "what changes by it is refused")]
        self.data.pending.extend(block.values.iter().map(|&value| value as i32));
        let written = &self.data.pending[self.data.pending.len() - block.nnz()..];
        // Without early exit, so that the loop vectorises.
        let is_whole = |whole, (&count, &value): (&i32, &f64)| whole & (f64::from(count) == value);
        if !written.iter().zip(&block.values).fold(true, is_whole) {
            let found = written.iter().zip(&block.values).find(|pair| !is_whole(true, *pair));
            return Err(Error::input(
                &self.path,
                format!("{}/data", self.layout.group()),
                format!("counts up to {}", i32::MAX),
                found.map_or_else(String::new, |(_, value)| value.to_string()),
                "10x files hold counts only: choose another format",
            ));
        }
        let base = self.indptr.last().copied().unwrap_or(0);
        self.indptr.extend(block.indptr[1..].iter().map(|&end| base + end as i64));
        self.indices.flush(&self.path, false)?;
        self.data.flush(&self.path, false)
    }

    /// Writes what stands once per cell and per gene, and closes the file. Returns the number of entries.
    ///
    /// # Errors
    /// When writing fails.
    ///
    /// # Panics
    /// When there are not as many barcodes as rows, or not as many ids as names, genomes and types.
    pub fn finish<I>(self, barcodes: I, features: TenxFeatures<'_>) -> Result<u64>
    where
        I: ExactSizeIterator<Item: AsRef<str>> + Clone,
    {
        let n_genes = features.ids.len();
        assert_eq!(barcodes.len(), self.indptr.len() - 1, "barcodes and rows");
        assert!(features.names.len() == n_genes && features.genomes.len() == n_genes, "genes");
        assert!(features.types.is_none_or(|types| types.len() == n_genes), "feature types");
        let Self { path, file, group, layout, mut indices, mut data, indptr } = self;
        let path = path.as_path();
        indices.flush(path, true)?;
        data.flush(path, true)?;
        let shape = [n_genes, barcodes.len()].map(|n| i32::try_from(n).unwrap_or(i32::MAX));
        let chunk = layout.chunk();
        Column { pending: indptr, ..Column::create(path, &group, "indptr", chunk)? }.flush(path, true)?;
        Column { pending: shape.to_vec(), ..Column::create(path, &group, "shape", chunk)? }
            .flush(path, true)?;
        write_texts(path, &group, "barcodes", barcodes, LEVEL)?;
        match layout {
            TenxLayout::V2 { .. } => {
                write_texts(path, &group, "genes", features.ids.iter(), LEVEL)?;
                write_texts(path, &group, "gene_names", features.names.iter(), LEVEL)?;
            }
            TenxLayout::V3 => {
                let object = "matrix/features";
                let failed = |e| Error::hdf5(path, object, "create the group", e);
                let group = group.create_group("features").map_err(failed)?;
                write_texts(path, &group, "id", features.ids.iter(), LEVEL)?;
                write_texts(path, &group, "name", features.names.iter(), LEVEL)?;
                match features.types {
                    Some(types) => write_texts(path, &group, "feature_type", types.iter(), LEVEL)?,
                    None => {
                        let types = std::iter::repeat_n(GENE_EXPRESSION, n_genes);
                        write_texts(path, &group, "feature_type", types, LEVEL)?;
                    }
                }
                write_texts(path, &group, "genome", features.genomes.iter(), LEVEL)?;
                write_texts(path, &group, "_all_tag_keys", ["genome"].iter(), LEVEL)?;
            }
        }
        let nnz = data.written as u64;
        drop((indices, data, group));
        hdf::close(file, path)?;
        Ok(nnz)
    }
}

/// The attributes that tell what a file is.
fn write_root(file: &File, layout: &TenxLayout, description: &str) -> hdf5::Result<()> {
    let text = |name: &str, value: &str| {
        let value: VarLenUnicode = value.parse().unwrap_or_default();
        file.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&value)
    };
    text("filetype", "matrix")?;
    text("chemistry_description", description)?;
    let library = FixedAscii::<16>::from_ascii("late-fast").unwrap_or_default();
    file.new_attr::<FixedAscii<16>>().shape([1]).create("library_ids")?.write_raw(&[library])?;
    file.new_attr::<i64>().shape([1]).create("original_gem_groups")?.write_raw(&[1_i64])?;
    if *layout == TenxLayout::V3 {
        text("software_version", concat!("late-fast ", env!("CARGO_PKG_VERSION")))?;
        file.new_attr::<i64>().create("version")?.write_scalar(&V3_VERSION)?;
    }
    Ok(())
}

/// A compressed dataset that grows by whole chunks: a chunk that is written twice is compressed twice.
struct Column<T> {
    dataset: Dataset,
    chunk: usize,
    written: usize,
    pending: Vec<T>,
}

impl<T: H5Type> Column<T> {
    fn create(path: &Path, group: &Group, name: &str, chunk: usize) -> Result<Self> {
        let dataset = group
            .new_dataset_builder()
            .chunk(chunk)
            .shuffle()
            .deflate(LEVEL)
            .empty::<T>()
            .shape(SimpleExtents::resizable([0]))
            .create(name)
            .map_err(|e| Error::hdf5(path, format!("{}/{name}", group.name()), "create the dataset", e))?;
        Ok(Self { dataset, chunk, written: 0, pending: Vec::new() })
    }

    /// Writes the pending elements that fill chunks, or all of them.
    fn flush(&mut self, path: &Path, all: bool) -> Result<()> {
        let n = self.pending.len();
        let n = if all { n } else { n - n % self.chunk };
        if n == 0 {
            return Ok(());
        }
        let end = self.written + n;
        self.dataset
            .resize([end])
            .and_then(|()| self.dataset.write_slice(&self.pending[..n], self.written..end))
            .map_err(|e| Error::hdf5(path, self.dataset.name(), "write", e))?;
        self.written = end;
        self.pending.drain(..n);
        // The last chunks are held back until then.
        if all { hdf::flush(&self.dataset) } else { Ok(()) }
    }
}
