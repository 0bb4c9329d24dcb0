//! The file of a matrix, in any format.

use std::path::{Path, PathBuf};

use super::frame::FrameWriter;
use super::{Format, Record};
use crate::error::{Error, Result};
use crate::h5ad::{self, SparseWriter};
use crate::hdf::{self, DenseWriter};
use crate::io::Dtype;
use crate::matrix::{Axis, Column, RowBlock};
use crate::tenx::{TenxFeatures, TenxLayout, TenxWriter};
use crate::text::{MtxWriter, TableWriter};

const ONE_MATRIX: &str = "only sparse h5ad files hold more than one matrix";

/// What a file is to hold beside the entries.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The cells. Only h5ad files have a place for more than their names.
    pub cells: &'a Axis,
    /// The genes. A 10x file takes names, ids, genomes and feature types from them, a Matrix Market directory all but genomes, a
    /// table or a pandas file names.
    pub genes: &'a Axis,
    /// The genome of genes that have no column of it.
    pub genome: Option<&'a str>,
    /// Type of the values in an h5ad or pandas file: f32 or f64.
    pub values: Dtype,
    /// Whether all values are whole numbers.
    pub whole: bool,
    /// Whether an h5ad file holds a dense matrix.
    pub dense: bool,
    /// Further matrices of the same shape, by the name of their layer and the type of their values (u8, f32 or f64); only an
    /// h5ad file has them.
    pub layers: &'a [(&'static str, Dtype)],
    /// How it is made.
    pub record: &'a Record,
}

impl Content<'_> {
    /// The genes with a column of their genome, if it is known.
    fn genes_with_genome(&self) -> Axis {
        let mut genes = self.genes.clone();
        if let (Some(genome), None) = (self.genome, genes.column("genome")) {
            genes.columns.push(("genome".to_owned(), Column::Strings(vec![genome.to_owned(); genes.len()])));
        }
        genes
    }
}

/// Refuses names that would be empty lines, which no program can read.
fn check_lines(path: &Path, content: &Content<'_>) -> Result<()> {
    let (cells, genes) = (&content.cells.names, content.genes);
    let ids = genes.ids();
    let id = |gene: usize| ids.as_ref().map_or("", |ids| &ids[gene]);
    let empty_gene = |(gene, name): (usize, &String)| name.is_empty() && id(gene).is_empty();
    let empty = [
        ("cell", cells.iter().position(String::is_empty)),
        ("gene", genes.names.iter().enumerate().position(empty_gene)),
    ];
    match empty.into_iter().find_map(|(noun, place)| Some((noun, place?))) {
        None => Ok(()),
        Some((noun, place)) => {
            let remedy = "give it a name, or choose another format, such as h5ad";
            Err(Error::input(path, format!("{noun} {}", place + 1), "a name", "an empty one", remedy))
        }
    }
}

/// A file that is being written. Cells come as rows, in order.
pub struct MatrixFile<'a> {
    path: PathBuf,
    content: Content<'a>,
    kind: Kind<'a>,
}

enum Kind<'a> {
    TenX(Box<TenxWriter>),
    Hd5(Box<FrameWriter>),
    H5ad {
        file: hdf5::File,
        /// `X` and the layers.
        matrices: Vec<SparseWriter>,
    },
    DenseH5ad {
        file: hdf5::File,
        x: Box<DenseWriter>,
    },
    Mtx(Box<MtxWriter>),
    Table(Box<TableWriter<'a>>),
}

impl<'a> MatrixFile<'a> {
    /// Creates the file.
    ///
    /// # Errors
    /// When it cannot be created, or the format has no place for so many cells or genes.
    ///
    /// # Panics
    /// When layers are wanted of another file than h5ad, or of a dense one.
    pub fn create(path: &Path, format: Format, content: Content<'a>) -> Result<Self> {
        let shape = [content.cells.len(), content.genes.len()];
        for (noun, n) in [("cells", shape[0]), ("genes", shape[1])] {
            if i32::try_from(n).is_err() {
                let remedy = "choose fewer";
                return Err(Error::input(path, noun, "at most 2147483647", n.to_string(), remedy));
            }
        }
        assert!(content.layers.is_empty() || (format == Format::H5ad && !content.dense), "{ONE_MATRIX}");
        let kind = match format {
            Format::TenX => {
                let line = content.record.line();
                Kind::TenX(Box::new(TenxWriter::create(path, TenxLayout::V3, &line)?))
            }
            Format::Hd5 => {
                assert!(content.layers.is_empty(), "pandas files hold one matrix");
                let (cells, genes) = (&content.cells.names, &content.genes.names);
                let line = content.record.line();
                Kind::Hd5(Box::new(FrameWriter::create(path, cells, genes, content.values, &line)?))
            }
            Format::H5ad => {
                let file = h5ad::create_file(path)?;
                h5ad::write_axis(&file, "obs", content.cells)?;
                h5ad::write_axis(&file, "var", &content.genes_with_genome())?;
                content.record.write(&file)?;
                if content.dense {
                    let x = Box::new(h5ad::create_dense(path, &file, "X", shape, content.values)?);
                    let kind = Kind::DenseH5ad { file, x };
                    return Ok(Self { path: path.to_owned(), content, kind });
                }
                let mut matrices = vec![SparseWriter::create(path, &file, "X", shape, content.values)?];
                if !content.layers.is_empty() {
                    let layers = h5ad::create_dict(&file, "layers")?;
                    for &(name, dtype) in content.layers {
                        matrices.push(SparseWriter::create(path, &layers, name, shape, dtype)?);
                    }
                }
                Kind::H5ad { file, matrices }
            }
            Format::Mtx => {
                check_lines(path, &content)?;
                let shape = [content.genes.len(), content.cells.len()];
                let line = content.record.line();
                Kind::Mtx(Box::new(MtxWriter::create(path, shape, content.whole, &line)?))
            }
            Format::Table { delimiter, gzip } => {
                let (cells, genes) = (&content.cells.names, &content.genes.names);
                Kind::Table(Box::new(TableWriter::create(path, delimiter, gzip, cells, genes)?))
            }
        };
        Ok(Self { path: path.to_owned(), content, kind })
    }

    /// Adds cells to the matrix (0) or to one of the layers (counted from 1).
    ///
    /// # Errors
    /// When a 10x file cannot hold a value, or writing fails.
    ///
    /// # Panics
    /// When there is no such layer.
    pub fn write_rows(&mut self, matrix: usize, block: &RowBlock) -> Result<()> {
        assert!(matrix == 0 || matches!(self.kind, Kind::H5ad { .. }), "{ONE_MATRIX}");
        match &mut self.kind {
            Kind::TenX(writer) => writer.write_rows(block),
            Kind::Hd5(writer) => writer.write_rows(block),
            Kind::H5ad { matrices, .. } => matrices[matrix].write_rows(block),
            Kind::DenseH5ad { x, .. } => x.write_rows(block),
            Kind::Mtx(writer) => writer.write_rows(block),
            Kind::Table(writer) => writer.write_rows(block),
        }
    }

    /// Completes and closes the file.
    ///
    /// # Errors
    /// When writing fails, or a name is too long for the format.
    ///
    /// # Panics
    /// When a matrix has not got as many rows as there are cells.
    pub fn finish(self) -> Result<()> {
        let Self { path, content, kind } = self;
        match kind {
            Kind::TenX(writer) => {
                let genes = content.genes_with_genome();
                let ids = genes.ids().unwrap_or_else(|| genes.names.clone());
                let genomes = genes.texts("genome").unwrap_or_else(|| vec![String::new(); genes.len()]);
                let types = genes.texts("feature_types");
                let features = TenxFeatures {
                    ids: &ids,
                    names: &genes.names,
                    genomes: &genomes,
                    types: types.as_deref(),
                };
                writer.finish(content.cells.names.iter(), features).map(drop)
            }
            Kind::Hd5(writer) => writer.finish(),
            Kind::H5ad { file, matrices } => {
                for matrix in matrices {
                    matrix.finish()?;
                }
                hdf::close(file, &path)
            }
            Kind::DenseH5ad { file, x } => {
                x.finish()?;
                hdf::close(file, &path)
            }
            Kind::Mtx(writer) => {
                let genes = content.genes;
                let ids = genes.ids().unwrap_or_else(|| genes.names.clone());
                let types = genes.texts("feature_types");
                writer.finish(&content.cells.names, &ids, &genes.names, types.as_deref())
            }
            Kind::Table(writer) => writer.finish(),
        }
    }
}
