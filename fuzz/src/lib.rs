//! What the fuzz targets do with their bytes. `tests/hostile.rs` does the same with the committed corpus.
//!
//! Every function returns, whatever the bytes: the parser gives a value or an error. Where there is a value, it is held
//! against what the parser promises of it.
#![allow(unreachable_pub, dead_code, reason = "also a module of a test")]
#![allow(clippy::unwrap_used, reason = "what fails here is the harness")]

#[path = "hdf5.rs"]
mod layouts;
#[path = "../../tests/common/mutate.rs"]
pub mod mutate;
#[path = "safetensors.rs"]
mod weights;

use std::path::{Path, PathBuf};

use late_fast::evaluate::{Labels as CellLabels, TrainedRun};
use late_fast::impute::Shards;
use late_fast::io::{ReadOptions, Values, open};
use late_fast::matrix::{Block, Major};
use late_fast::{h5ad, hdf};
use tempfile::TempDir;

#[allow(unused_imports, reason = "also a module of tests, which use their part")]
pub use layouts::{hdf5, write_layout};
#[allow(unused_imports, reason = "as above")]
pub use weights::{checkpoint, model};

/// Stands between the files that one input is made of.
pub const SEPARATOR: u8 = 0x1e;
/// Filters in the order of the first byte of the codecs' input.
const FILTERS: [i32; 7] = [1, 2, 3, 32000, 32001, 32004, 32015];
/// The largest matrix whose entries are looked at: fill values make a few bytes millions of entries.
const MOST_ENTRIES: u64 = 1 << 18;

/// A directory in memory, where there is such a file system.
pub fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

/// The parts of `data`, at most `N`; missing ones are empty.
fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut pieces = data.splitn(N, |&byte| byte == SEPARATOR);
    std::array::from_fn(|_| pieces.next().unwrap_or_default())
}

/// Opens the input at `path` and goes through everything in it.
pub fn read(path: &Path, options: &ReadOptions) {
    let Ok(source) = open(path, options) else { return };
    let (cells, genes) = (source.cells().len(), source.genes().len());
    source.describe();
    source.files();
    for axis in [source.cells(), source.genes()] {
        assert!(
            axis.columns.iter().all(|(_, column)| column.len() == axis.len()),
            "columns have the names' length"
        );
    }
    if cells as u64 * genes as u64 > MOST_ENTRIES {
        return;
    }
    if source.load(&|_| {}).is_err() {
        return;
    }
    source.sample();
    source.in_place();
    let (n_rows, n_columns) = if source.major() == Major::Cells { (cells, genes) } else { (genes, cells) };
    let (mut rows, mut entries) = (0, 0);
    let tally = source.for_each_block(&mut |block: Block, _| {
        let block = block.into_reals();
        rows += block.n_rows();
        entries += block.nnz();
        for row in 0..block.n_rows() {
            let (indices, values) = block.row(row);
            assert!(indices.windows(2).all(|pair| pair[0] < pair[1]), "indices increase");
            assert!(indices.iter().all(|&index| (index as usize) < n_columns), "indices are columns");
            let fits = |value: &f64| value.is_finite() && (options.values == Values::Finite || *value > 0.0);
            assert!(values.iter().all(fits), "values can be computed with");
        }
        Ok(())
    });
    if let Ok(tally) = tally {
        assert_eq!((rows, entries as u64), (n_rows, tally.nnz), "all rows come");
    }
}

/// A gzip file of the two halves of `text`, each a member of its own.
fn gzip(text: &[u8]) -> Vec<u8> {
    let (first, second) = text.split_at(text.len() / 2);
    let member = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, text).unwrap();
        encoder.finish().unwrap()
    };
    [member(first), member(second)].concat()
}

/// Tables of text, Matrix Market files without names, gzip members, and telling files apart. The first byte: 1, the rest
/// is compressed; 2, a line is a gene; 4, cells as lines whatever the layout.
pub fn text(data: &[u8]) {
    let Some((&flags, rest)) = data.split_first() else { return };
    // What libhdf5 opens has a target of its own, which changes what is not libhdf5's to read.
    if rest.windows(8).any(|window| window == b"\x89HDF\r\n\x1a\n") {
        return;
    }
    let dir = directory();
    let path = dir.path().join("table.csv");
    std::fs::write(&path, if flags & 1 == 0 { rest.to_vec() } else { gzip(rest) }).unwrap();
    let orientation = match flags & 6 {
        0 => None,
        2 => Some(Major::Genes),
        _ => Some(Major::Cells),
    };
    let scratch = Some(dir.path().to_owned());
    read(&path, &ReadOptions { orientation, scratch, ..ReadOptions::default() });
}

/// A Matrix Market directory: entries, genes and cells. The first byte: 1, compressed; 2, names of version 2.
pub fn mtx(data: &[u8]) {
    let Some((&flags, rest)) = data.split_first() else { return };
    let [matrix, genes, cells] = parts(rest);
    let genes_name = if flags & 2 == 0 { "features.tsv" } else { "genes.tsv" };
    let dir = directory();
    for (name, text) in [("matrix.mtx", matrix), (genes_name, genes), ("barcodes.tsv", cells)] {
        let (name, bytes) = if flags & 1 == 0 {
            (name.to_owned(), text.to_vec())
        } else {
            (format!("{name}.gz"), gzip(text))
        };
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    read(dir.path(), &ReadOptions { scratch: Some(dir.path().to_owned()), ..ReadOptions::default() });
}

/// A chunk through one or two filters: which (one byte), which were skipped, the element's size, the chunk's (two
/// bytes), and what is stored.
pub fn codecs(data: &[u8]) {
    let Some((&[filters, mask, element, low, high], stored)) = data.split_first_chunk::<5>() else { return };
    let n = FILTERS.len();
    let (first, second) = (usize::from(filters) % n, usize::from(filters) / n);
    let ids = if second < n { vec![FILTERS[second], FILTERS[first]] } else { vec![FILTERS[first]] };
    let size = usize::from(u16::from_le_bytes([low, high]));
    if let Ok(chunk) = hdf::undo_filters(&ids, mask.into(), usize::from(element % 20), stored, size) {
        assert_eq!(chunk.len(), size);
    }
}

/// A table of labels. The first byte: 1, the column is named.
pub fn labels(data: &[u8]) {
    let Some((&flags, text)) = data.split_first() else { return };
    let dir = directory();
    let path = dir.path().join("labels.csv");
    std::fs::write(&path, text).unwrap();
    let cells = ["a", "b", "c"].map(str::to_owned);
    if let Ok(labels) = CellLabels::read(&path, (flags & 1 == 1).then_some("type"), &cells) {
        assert_eq!(labels.of.len(), cells.len());
    }
}

/// What a training run leaves beside its model: settings, learning curve, split.
pub fn records(data: &[u8]) {
    let dir = directory();
    let [config, history, split] = parts(data);
    for (name, text) in [("config.json", config), ("history.csv", history), ("split.json", split)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    if let Ok(run) = TrainedRun::read(dir.path()) {
        run.best();
        let _ = run.config.validate();
    }
}

/// Shards to be merged, of each its manifest; they hold nothing else but names.
pub fn shard(data: &[u8]) {
    let dir = directory();
    let texts = parts::<2>(data);
    let mut paths = Vec::new();
    for (number, text) in texts.into_iter().filter(|text| !text.is_empty()).enumerate() {
        let path = dir.path().join(format!("shard-{number}.h5ad"));
        write_shard(&path, &String::from_utf8_lossy(text).replace('\0', ""));
        paths.push(path);
    }
    merge(&paths, &dir.path().join("out.h5ad"));
}

fn write_shard(path: &Path, manifest: &str) {
    use late_fast::matrix::Axis;
    let file = h5ad::create_file(path).unwrap();
    for (name, names) in [("obs", ["a", "b"]), ("var", ["x", "y"])] {
        h5ad::write_axis(&file, name, &Axis::from_names(names.map(str::to_owned).to_vec())).unwrap();
    }
    let group = h5ad::create_dict(&h5ad::create_dict(&file, "uns").unwrap(), "late_fast").unwrap();
    h5ad::write_string_scalar(&group, "shard", manifest).unwrap();
    let hash = blake3::hash(manifest.as_bytes()).to_hex();
    h5ad::write_string_scalar(&group, "shard_hash", &hash).unwrap();
    drop(group);
    hdf::close(file, path).unwrap();
}

fn merge(paths: &[PathBuf], out: &Path) {
    let Ok(shards) = Shards::open(paths) else { return };
    shards.n_names();
    shards.n_values();
    let _ = shards.merge(out, false, &|_| {});
}
