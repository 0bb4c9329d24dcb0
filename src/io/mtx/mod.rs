//! 10x Matrix Market directories: `matrix.mtx`, genes and barcodes, each also compressed, of any version.
//!
//! Opening reads the names and the head. The entries are parsed once, when they are needed first, into a [`Spill`].

mod assemble;
mod files;
mod header;
mod parse;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use self::assemble::Assembler;
use self::files::Files;
use self::header::Header;
use self::parse::{Entries, Format};
use super::features::{keep_gene_expression, position_map};
use super::spill::Spill;
use super::{Head, ReadOptions, Source, Tally};
use crate::error::{Error, Result};
use crate::matrix::{Axis, Block, Major};
use crate::text::{parse_lines, read_lines};

/// Three numbers, or a name and what else is known of it.
const LONGEST_LINE: usize = 1 << 24;
const REMEDY: &str = "the file is incomplete or its writer has a bug; write or download it again";

/// The files that belong to `path`, a directory or the file of the entries in it.
pub(super) fn files(path: &Path, options: &ReadOptions) -> Result<Vec<PathBuf>> {
    Files::find(path, options).map(|files| files.list())
}

/// A matrix in a directory.
pub(super) struct Mtx {
    head: Head,
    files: Files,
    header: Header,
    /// Whether the file has cells as rows.
    transposed: bool,
    /// All genes of the file, where some are left out, and for each its place.
    all: Option<(Axis, Vec<u32>)>,
    scratch: PathBuf,
    details: Vec<(String, String)>,
    loaded: OnceLock<(Spill, Tally)>,
    /// Held while it is loaded.
    loading: Mutex<()>,
}

impl Mtx {
    /// Opens a directory, or the file of the entries in it.
    pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Self> {
        let files = Files::find(path, options)?;
        let header = Header::read(&files.matrix)?;
        header.check_room(&files.matrix)?;
        let mut room = options.names();
        let mut notes = Vec::new();
        let cells = header::read_cells(&files.cells, &mut room, &mut notes)?;
        let genes = header::read_genes(&files.genes, &mut room, &mut notes)?;
        let transposed = is_transposed(&files, &header, &cells, &genes)?;
        if transposed {
            notes.push("the file has cells as rows and genes as columns".into());
        }
        let mut keep: Vec<usize> = (0..genes.len()).collect();
        let mut details: Vec<_> =
            keep_gene_expression(&files.genes, "column 3", &genes, &mut keep, &mut notes)?
                .into_iter()
                .collect();
        details.push(("declared values".into(), format!("{:?}", header.field).to_lowercase()));
        let (genes, all) = if keep.len() < genes.len() {
            let map = position_map(&keep, genes.len());
            (genes.select(&keep), Some((genes, map)))
        } else {
            (genes, None)
        };
        let version = if files.is_v2() { "v2" } else { "v3" };
        let of_genome = files.genome.as_ref().map_or_else(String::new, |genome| format!(" ({genome})"));
        let layout = format!("10x Matrix Market {version}{of_genome}");
        let genome = files.genome.clone().filter(|_| files.is_v2());
        let head = Head::new(path, layout, Major::Cells, [cells, genes], notes);
        Ok(Self {
            head: Head { genome, ..head },
            files,
            header,
            transposed,
            all,
            scratch: options.scratch(),
            details,
            loaded: OnceLock::new(),
            loading: Mutex::new(()),
        })
    }

    /// The entries, parsed if they are not yet.
    fn loaded(&self, progress: &dyn Fn(u64)) -> Result<&(Spill, Tally)> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        match self.loaded.get() {
            Some(loaded) => Ok(loaded),
            None => {
                let parsed = self.parse(progress)?;
                Ok(self.loaded.get_or_init(|| parsed))
            }
        }
    }

    fn parse(&self, progress: &dyn Fn(u64)) -> Result<(Spill, Tally)> {
        let matrix = &self.files.matrix;
        let format = Format {
            path: matrix,
            field: self.header.field,
            cells: &self.head.cells,
            genes: self.all.as_ref().map_or(&self.head.genes, |(genes, _)| genes),
            transposed: self.transposed,
        };
        let shape = (self.head.cells.len(), self.head.genes.len());
        let map = self.all.as_ref().map(|(_, map)| &map[..]);
        let mut assembler = Assembler::new(matrix, &self.scratch, self.header.nnz, shape, map);
        let mut read = 0;
        read_lines(matrix, LONGEST_LINE, &|_| {}, |blocks| {
            let parse = |line, piece: &[u8]| format.parse(line, piece);
            parse_lines(blocks, self.header.first_line, parse, |entries| {
                read += entries.declared();
                self.check_count(read, &entries)?;
                assembler.add(&entries)?;
                progress(entries.declared());
                Ok(())
            })
        })?;
        if read < self.header.nnz {
            let found = format!("{read}, then the end of the file");
            return Err(self.wrong_count(found));
        }
        assembler.finish()
    }

    fn check_count(&self, read: u64, entries: &Entries) -> Result<()> {
        if read <= self.header.nnz {
            return Ok(());
        }
        Err(self.wrong_count(format!("more, up to line {}", entries.last_line)))
    }

    fn wrong_count(&self, found: String) -> Error {
        let line = self.header.first_line - 1;
        let expected = format!("{} entries, as line {line} says", self.header.nnz);
        Error::input(&self.files.matrix, "entries", expected, found, REMEDY)
    }
}

/// Whether cells are the rows of the file, which the numbers of names tell.
fn is_transposed(files: &Files, header: &Header, cells: &Axis, genes: &Axis) -> Result<bool> {
    let named = (genes.len() as u64, cells.len() as u64);
    if cells.len() >= u32::MAX as usize || genes.len() >= u32::MAX as usize {
        let found = format!("{} genes and {} cells", named.0, named.1);
        return Err(Error::input(
            &files.matrix,
            "size",
            "fewer than 2^32 of each",
            found,
            "split the matrix",
        ));
    }
    match (header.n_rows, header.n_columns) {
        declared if declared == named => Ok(false),
        (rows, columns) if (columns, rows) == named => Ok(true),
        (rows, columns) => {
            let object = format!("line {}", header.first_line - 1);
            let expected = format!(
                "{} genes and {} cells, as in {} and {}",
                named.0,
                named.1,
                files.genes.display(),
                files.cells.display()
            );
            let remedy = "the files do not belong together, or one of them is incomplete";
            Err(Error::input(&files.matrix, object, expected, format!("{rows} and {columns}"), remedy))
        }
    }
}

impl Source for Mtx {
    fn head(&self) -> &Head {
        &self.head
    }

    fn declared_nnz(&self) -> u64 {
        self.loaded.get().map_or(self.header.nnz, |(spill, _)| spill.nnz())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.files.list()
    }

    fn load(&self, progress: &dyn Fn(u64)) -> Result<()> {
        self.loaded(progress).map(drop)
    }

    fn for_each_block(&self, consume: &mut dyn FnMut(Block, &Tally) -> Result<()>) -> Result<Tally> {
        let (spill, met) = self.loaded(&|_| {})?;
        Ok(Tally { nnz: spill.for_each_block(consume)?.nnz, ..met.clone() })
    }

    fn sample(&self) -> Option<Vec<f64>> {
        self.loaded.get().map(|(spill, _)| spill.sample())
    }

    fn describe(&self) -> Vec<(String, String)> {
        let mut lines = self.details.clone();
        lines.push(("entries in".into(), self.files.matrix.display().to_string()));
        lines
    }
}
