//! Stores that are kept for later runs, under names that say what they were made from.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::open::Store;
use super::write::{StoreDtype, Summary};
use crate::error::{Error, Result};
use crate::h5ad;
use crate::hdf::{self, HdfFile, NumericArray};
use crate::io::{InPlace, ReadOptions, Source, Tally};
use crate::matrix::Major;

/// Version of the record and of what a store holds; another one is another name.
const VERSION: u32 = 2;
/// Where the record lies in the file.
const RECORD: &str = "uns/late_fast_store";
/// Bytes that are read and hashed at a time.
const HASHED_BYTES: usize = 16 << 20;
/// The fingerprint looks at so many spans of so many bytes of the entries.
const SPANS: usize = 64;
const SPAN_BYTES: usize = 64 << 10;

/// What the stores of a run are kept as.
pub struct Cache<'a> {
    /// Hash of the input's bytes and of everything else that a store depends on.
    key: String,
    /// The files of the input, and what they were like.
    inputs: Vec<(PathBuf, Stamp)>,
    listener: &'a dyn Listener,
}

/// Who is told which kept stores are used, and which cannot be.
pub trait Listener {
    /// Takes one line for people.
    fn say(&self, line: &str);
}

/// What changes when a file is written.
type Stamp = (u64, Option<SystemTime>);

/// What a kept store says of itself.
#[derive(Serialize, Deserialize)]
struct Record {
    key: String,
    tally: Tally,
    integer: bool,
    /// The bits of the f64.
    max: u64,
    real_dtype: StoreDtype,
    raised: u64,
    rounded: u64,
    fingerprint: String,
}

impl<'a> Cache<'a> {
    /// Reads the files of the input once for their hashes; `progress` is told the bytes. `listener` is told which stores are used again,
    /// and which cannot be.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(
        inputs: &[PathBuf],
        options: &ReadOptions,
        dtype: StoreDtype,
        progress: &dyn Fn(u64),
        listener: &'a dyn Listener,
    ) -> Result<Self> {
        let mut stamped = Vec::new();
        let mut content = Vec::new();
        for input in inputs {
            stamped.push((input.clone(), stamp(input)?));
            content.push(hash(input, progress)?);
        }
        let content = content.join(" ");
        let mut hasher = blake3::Hasher::new();
        // Text in which nothing can be taken for something else.
        // No store is made of other values.
        let ReadOptions { genome, layer, use_raw, orientation, values: _, prefix: _, scratch: _, .. } =
            options;
        let ReadOptions { nan_as_zero, gene_attr, cell_attr, .. } = options;
        let mut text = format!("{VERSION} {content} {genome:?} {layer:?} {use_raw} {dtype:?}");
        if let Some(orientation) = orientation {
            text += &format!(" {orientation:?}");
        }
        if *nan_as_zero || gene_attr.is_some() || cell_attr.is_some() {
            text += &format!(" {nan_as_zero} {gene_attr:?} {cell_attr:?}");
        }
        hasher.update(text.as_bytes());
        let key = hasher.finalize().to_hex()[..32].to_owned();
        Ok(Self { key, inputs: stamped, listener })
    }

    fn path(&self, dir: &Path, major: Major) -> PathBuf {
        dir.join(format!("late-fast-{}-{}s.h5ad", self.key, major.row_noun()))
    }

    /// The kept store with rows of `major`, if there is a sound one.
    pub(super) fn find(&self, dir: &Path, source: &dyn Source, major: Major) -> Option<Store> {
        let path = self.path(dir, major);
        if !path.exists() {
            return None;
        }
        match self.open(&path, source, major) {
            Ok(store) => {
                self.listener.say(&format!("reusing {}", path.display()));
                Some(store)
            }
            Err(error) => {
                self.listener.say(&format!("note: the kept store is damaged and made again: {error}"));
                None
            }
        }
    }

    fn open(&self, path: &Path, source: &dyn Source, major: Major) -> Result<Store> {
        let damaged = |object: &str, expected: &str, found: String| {
            Error::input(path, object, expected, found, "it is replaced")
        };
        let file = HdfFile::open(path)?;
        let texts = file.strings(&format!("{RECORD}/record"), &mut Vec::new())?;
        let text = texts.into_iter().next().unwrap_or_default();
        let record: Record =
            serde_json::from_str(&text).map_err(|e| damaged(RECORD, "a record", e.to_string()))?;
        if record.key != self.key {
            return Err(damaged(RECORD, &self.key, record.key));
        }
        let numbers = |name: &str| NumericArray::open(&file, &format!("{RECORD}/{name}"));
        let arrays = ["indptr", "indices", "data"].map(|name| {
            let array = NumericArray::open(&file, &format!("X/{name}"))?;
            array.in_place().ok_or_else(|| damaged(array.name(), "one piece", array.describe()))
        });
        let [indptr, indices, data] = arrays;
        let place = InPlace { path: path.to_owned(), indptr: indptr?, indices: indices?, data: data? };
        let ends = NumericArray::open(&file, "X/indptr")?.read_all::<u64>()?;
        let summary = Summary {
            tally: record.tally,
            integer: record.integer,
            max: f64::from_bits(record.max),
            real_dtype: record.real_dtype,
            raised: record.raised,
            rounded: record.rounded,
            row_nnz: ends.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect(),
            col_nnz: numbers("col_nnz")?.read_all()?,
            cell_sums: numbers("cell_sums")?.read_all()?,
        };
        let (n_rows, n_cols) = (source.axis(major).len(), source.axis(major.other()).len());
        let sizes = (place.indptr.len, place.indices.len, place.data.len);
        let expected = (n_rows as u64 + 1, summary.tally.nnz, summary.tally.nnz);
        let lengths = (summary.col_nnz.len(), summary.cell_sums.len());
        if sizes != expected || lengths != (n_cols, source.cells().len()) {
            let found = format!("{sizes:?} and {lengths:?} elements");
            return Err(damaged("X", &format!("{expected:?} and those of the axes"), found));
        }
        let store = Store::map(&place, major, n_cols, summary)?;
        let found = fingerprint(&store);
        if found != record.fingerprint {
            return Err(damaged("X", &format!("the fingerprint {}", record.fingerprint), found));
        }
        Ok(store)
    }

    /// Gives the finished store in `file` its record and its name.
    pub(super) fn publish(&self, mut store: Store, file: NamedTempFile, dir: &Path) -> Result<Store> {
        for (input, stamped) in &self.inputs {
            if stamp(input)? != *stamped {
                return Err(Error::changed(input, "file"));
            }
        }
        let summary = store.summary();
        let record = Record {
            key: self.key.clone(),
            tally: summary.tally.clone(),
            integer: summary.integer,
            max: summary.max.to_bits(),
            real_dtype: summary.real_dtype,
            raised: summary.raised,
            rounded: summary.rounded,
            fingerprint: fingerprint(&store),
        };
        write_record(file.path(), &record, summary)?;
        let path = self.path(dir, store.major());
        let failed = |e| Error::io(&path, "keep the matrix store", e);
        File::open(file.path()).and_then(|file| file.sync_all()).map_err(failed)?;
        // Another run that was faster has put the same there.
        file.persist(&path).map_err(|e| failed(e.error))?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        store.rename(path);
        Ok(store)
    }
}

fn write_record(path: &Path, record: &Record, summary: &Summary) -> Result<()> {
    let text = serde_json::to_string(record)
        .map_err(|e| Error::io(path, "write the record", std::io::Error::other(e)))?;
    let file = hdf::extend(path)?;
    let group = h5ad::create_dict(&h5ad::create_dict(&file, "uns")?, "late_fast_store")?;
    h5ad::write_string_scalar(&group, "record", &text)?;
    h5ad::write_numbers(&group, "col_nnz", &summary.col_nnz)?;
    h5ad::write_numbers(&group, "cell_sums", &summary.cell_sums)?;
    drop(group);
    hdf::close(file, path)
}

fn stamp(path: &Path) -> Result<Stamp> {
    let metadata = path.metadata().map_err(|e| Error::io(path, "examine", e))?;
    Ok((metadata.len(), metadata.modified().ok()))
}

/// The hash of a file's bytes, in the thread pool; the next ones are read meanwhile.
fn hash(path: &Path, progress: &dyn Fn(u64)) -> Result<String> {
    let mut file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
    let mut hasher = blake3::Hasher::new();
    let mut read = |bytes: &mut Vec<u8>| {
        bytes.clear();
        (&mut file).take(HASHED_BYTES as u64).read_to_end(bytes).map_err(|e| Error::io(path, "read", e))
    };
    let (mut now, mut ahead) = (Vec::new(), Vec::new());
    read(&mut now)?;
    while !now.is_empty() {
        let (_, length) = rayon::join(|| hasher.update_rayon(&now), || read(&mut ahead));
        length?;
        progress(now.len() as u64);
        std::mem::swap(&mut now, &mut ahead);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// A hash of everything that is known of the entries, of all offsets and of spans of the entries: a file that is cut
/// off, has holes or is another one shows, without reading all of it.
fn fingerprint(store: &Store) -> String {
    let mut hasher = blake3::Hasher::new();
    let summary = store.summary();
    let words = summary.row_nnz.iter().chain(&summary.col_nnz).copied();
    let words = words.chain(summary.cell_sums.iter().map(|sum| sum.to_bits()));
    let numbers = [summary.max.to_bits(), summary.tally.nnz, summary.raised, summary.rounded];
    let bytes: Vec<u8> = words.chain(numbers).flat_map(u64::to_le_bytes).collect();
    hasher.update_rayon(&bytes);
    let (indptr, indices, data) = store.arrays();
    hasher.update_rayon(indptr);
    for bytes in [indices, data] {
        let step = (bytes.len() / SPANS).max(SPAN_BYTES);
        for start in (0..bytes.len()).step_by(step) {
            hasher.update(&bytes[start..bytes.len().min(start + SPAN_BYTES)]);
        }
        hasher.update(&bytes[bytes.len().saturating_sub(SPAN_BYTES)..]);
    }
    hasher.finalize().to_hex().to_string()
}
