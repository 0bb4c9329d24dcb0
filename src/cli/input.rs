//! Opening the input and saying what it is, for every command that reads a matrix.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Instant;

use super::args::MatrixArgs;
use super::report::{Reporter, Step};
use crate::budget;
use crate::error::{Error, Result};
use crate::io::{self, ReadOptions, Source};
use crate::matrix::{Axis, Major};
use crate::minibatch::Transform;
use crate::store::{self, Cache, Prepared, Store, StoreDtype, Storing, Summary};

/// An opened matrix of which every entry was checked.
pub(super) struct Input<'a> {
    pub(super) source: Box<dyn Source>,
    pub(super) summary: Summary,
    /// Unpacked, if it was to be stored.
    native: Option<Store>,
    cache: Option<Cache<'a>>,
}

impl<'a> Input<'a> {
    /// Opens and checks the matrix, whose real values are to be stored as `dtype`, within `allowed` bytes of memory,
    /// and says in one line what it is. With `storing`, it is unpacked in the same pass, to be kept
    /// for later runs if `keep` says so.
    pub(super) fn open(
        path: &Path,
        args: &MatrixArgs,
        dtype: StoreDtype,
        storing: Option<&Storing<'_>>,
        keep: bool,
        allowed: u64,
        reporter: &'a Reporter,
    ) -> Result<Self> {
        let scratch = storing.map(|storing| storing.dir.to_owned());
        if let Some(dir) = scratch.as_ref().filter(|_| keep) {
            std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create the cache directory", e))?;
        }
        let options = ReadOptions { scratch, memory: Some(allowed), ..args.options() };
        let source = open_source(path, &options, reporter)?;
        let (cells, genes) = (source.cells(), source.genes());
        let first = |axis: &Axis| axis.names.first().cloned().unwrap_or_else(|| "none".into());
        reporter.say(&format!(
            "{}: {}, {} cells x {} genes; first cell {}, first gene {}",
            source.path().display(),
            source.head().layout,
            cells.len(),
            genes.len(),
            first(cells),
            first(genes)
        ));
        for note in &source.head().notes {
            reporter.say(&format!("note: {note}"));
        }
        source.head().warnings.iter().for_each(|warning| reporter.warn(warning));
        // `train` and `impute` add what their network takes, once it is known.
        let needed =
            budget::fixed_bytes(cells.len() + genes.len()) + budget::block_bytes(source.declared_nnz());
        budget::check(needed, allowed, || "allow more with --memory".into())?;
        let cache = match storing {
            Some(_) if keep => {
                let files = source.files();
                let step = reporter.step("hashing", files.iter().map(|file| size(file)).sum(), "bytes");
                Some(Cache::of(&files, &options, dtype, &|n| step.advance(n), reporter)?)
            }
            _ => None,
        };
        let entries = entries(source.declared_nnz());
        let steps = Steps::new(reporter, &entries);
        let (summary, native) = match storing {
            Some(storing) => {
                let storing = Storing { cache: cache.as_ref(), ..*storing };
                let store =
                    store::unpack(source.as_ref(), dtype, &storing, &|name, n| steps.advance(name, n))?;
                (store.summary().clone(), Some(store))
            }
            None => {
                source.load(&|n| steps.advance("parsing", n))?;
                (store::scan(source.as_ref(), dtype, &|n| steps.advance("checking", n))?, None)
            }
        };
        drop(steps);
        let tally = &summary.tally;
        for (count, what) in [
            (tally.explicit_zeros, "stored zeros were ignored"),
            (tally.merged_duplicates, "repeated entries were added up"),
            (tally.unsorted_rows, "rows were not sorted"),
            (tally.missing, "missing values (NaN) were read as zeros"),
            (
                summary.raised,
                "values below 6e-8, the smallest 16-bit real number, were raised to it (--store-dtype f32 keeps them)",
            ),
        ] {
            if count > 0 {
                reporter.say(&format!("note: {count} {what}"));
            }
        }
        if dtype != summary.real_dtype {
            let reason =
                if summary.integer { "counts are stored as integers" } else { "the file is mapped as it is" };
            reporter.say(&format!("note: --store-dtype f16 changes nothing: {reason}"));
        }
        Ok(Self { source, summary, native, cache })
    }

    /// What is known of the entries, seen with `major` as rows.
    pub(super) fn summary_by(&self, major: Major) -> Summary {
        if self.source.major() == major { self.summary.clone() } else { self.summary.transposed() }
    }

    /// Warns when the values do not look like what `transform` expects.
    pub(super) fn check_scale(&self, transform: Transform, reporter: &Reporter) {
        if transform != Transform::AsIs && !self.summary.integer {
            reporter.warn(
                "the values are not whole numbers, so this is not a matrix of raw counts; \
                 if they are normalised already, choose the counts (--layer, --use-raw) or --transform as-is",
            );
        }
    }

    /// Makes the matrix, which was opened to be stored, available with rows of every axis in `storing.wanted`.
    pub(super) fn prepare(
        self,
        storing: &Storing<'_>,
        reporter: &Reporter,
    ) -> Result<(Box<dyn Source>, Prepared)> {
        let Some(native) = self.native else { unreachable!("the input was opened to be stored") };
        let entries = entries(self.summary.tally.nnz);
        let steps = Steps::new(reporter, &entries);
        let storing = Storing { cache: self.cache.as_ref(), ..*storing };
        let prepared =
            store::prepare(self.source.as_ref(), native, &storing, &|name, n| steps.advance(name, n))?;
        Ok((self.source, prepared))
    }
}

/// Opens the source; what takes long shows.
fn open_source(path: &Path, options: &ReadOptions, reporter: &Reporter) -> Result<Box<dyn Source>> {
    let total = |_: &str| (size(path), "bytes");
    let steps = Steps::new(reporter, &total);
    io::open_with(path, options, &|n| steps.advance("parsing", n))
}

/// Bytes of a file; what cannot be told is found out when it is read.
fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// Steps all of which go over the same entries.
pub(super) fn entries(n: u64) -> impl Fn(&str) -> (u64, &'static str) {
    move |_| (n, "entries")
}

/// Progress of one step after the other.
pub(super) struct Steps<'a> {
    reporter: &'a Reporter,
    /// For the name of a step how much there is of what.
    total: &'a dyn Fn(&str) -> (u64, &'static str),
    current: RefCell<Option<(&'static str, Step)>>,
    /// When the last units were done: a step began when the one before ended, not with its first units.
    last: Cell<Instant>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(reporter: &'a Reporter, total: &'a dyn Fn(&str) -> (u64, &'static str)) -> Self {
        Self { reporter, total, current: RefCell::new(None), last: Cell::new(Instant::now()) }
    }

    pub(super) fn advance(&self, name: &'static str, n: u64) {
        let mut current = self.current.borrow_mut();
        if current.as_ref().is_none_or(|(now, _)| *now != name) {
            // The bar of the step before goes before the next one comes.
            drop(current.take());
            let (total, unit) = (self.total)(name);
            let step = self.reporter.step(name, total, unit);
            *current = Some((name, step.begun_at(self.last.get())));
        }
        if let Some((_, step)) = current.as_ref() {
            step.advance(n);
        }
        self.last.set(Instant::now());
    }
}

/// Positions of the genes named in a file, one name or id a line, in the input's order.
pub(super) fn read_gene_list(path: &Path, genes: &Axis) -> Result<Vec<u32>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read the list of genes", e))?;
    let wanted: std::collections::HashMap<&str, usize> = text
        .trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .map(|(line, name)| (name.trim(), line + 1))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    let ids = genes.ids().unwrap_or_default();
    let mut found = std::collections::HashSet::new();
    let mut positions = Vec::new();
    for (position, name) in (0_u32..).zip(&genes.names) {
        let keys = [Some(name.as_str()), ids.get(position as usize).map(String::as_str)];
        let hits: Vec<&str> = keys.into_iter().flatten().filter(|key| wanted.contains_key(key)).collect();
        if !hits.is_empty() {
            positions.push(position);
            found.extend(hits);
        }
    }
    let mut missing: Vec<(&str, usize)> =
        wanted.into_iter().filter(|(name, _)| !found.contains(name)).collect();
    missing.sort_unstable_by_key(|&(_, line)| line);
    if let Some((name, line)) = missing.first() {
        return Err(Error::input(
            path,
            format!("line {line}"),
            "the name or id of a gene of the input",
            format!(
                "{name:?}{}",
                if missing.len() > 1 {
                    format!(" (and {} others unknown)", missing.len() - 1)
                } else {
                    String::new()
                }
            ),
            "correct or remove it; `late-fast inspect` shows what the genes are called",
        ));
    }
    if positions.is_empty() {
        return Err(Error::input(path, "file", "at least one gene", "none", "name one gene a line"));
    }
    Ok(positions)
}
