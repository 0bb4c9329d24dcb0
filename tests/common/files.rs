//! Small HDF5 files built for a test, and reading them back whole.

use std::path::{Path, PathBuf};

use hdf5::types::{TypeDescriptor, VarLenUnicode};
use hdf5::{Dataset, Group, H5Type};
use late_fast::io::{ReadOptions, Source, Tally, open};
use late_fast::matrix::Axis;

/// A compressed matrix to write: one inner list of (column, value) per row.
pub type Rows = Vec<Vec<(i64, f64)>>;

/// Three cells by four genes; the second cell is empty.
pub fn small_rows() -> Rows {
    vec![vec![(0, 1.0), (2, 5.0)], vec![], vec![(1, 2.0), (2, 3.0), (3, 70.0)]]
}

/// The same as a dense matrix.
pub fn small_dense() -> Vec<Vec<f64>> {
    vec![vec![1.0, 0.0, 5.0, 0.0], vec![0.0; 4], vec![0.0, 2.0, 3.0, 70.0]]
}

pub fn text(value: &str) -> VarLenUnicode {
    value.parse().unwrap()
}

pub fn texts(values: &[&str]) -> Vec<VarLenUnicode> {
    values.iter().map(|value| text(value)).collect()
}

pub fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

/// Writes values as a one-dimensional dataset of their own type.
pub fn write<T: H5Type>(group: &Group, name: &str, values: &[T]) -> Dataset {
    group.new_dataset_builder().with_data(values).create(name).unwrap()
}

pub fn write_texts(group: &Group, name: &str, values: &[String]) -> Dataset {
    let values: Vec<_> = values.iter().map(|value| text(value)).collect();
    write(group, name, &values)
}

pub fn attribute(object: &hdf5::Location, name: &str, value: &str) {
    object.new_attr::<VarLenUnicode>().create(name).unwrap().write_scalar(&text(value)).unwrap();
}

/// Splits rows into indptr, indices and data.
pub fn compress(rows: &Rows) -> (Vec<i64>, Vec<i64>, Vec<f64>) {
    let mut indptr = vec![0];
    for row in rows {
        indptr.push(indptr[indptr.len() - 1] + i64::try_from(row.len()).unwrap());
    }
    let indices = rows.iter().flatten().map(|&(column, _)| column).collect();
    let data = rows.iter().flatten().map(|&(_, value)| value).collect();
    (indptr, indices, data)
}

/// Writes `data`, `indices` and `indptr` with 10x's types.
pub fn write_arrays(group: &Group, rows: &Rows) {
    let (indptr, indices, data) = compress(rows);
    #[expect(clippy::cast_possible_truncation, reason = "tests use small counts")]
    let data: Vec<i32> = data.iter().map(|&value| value as i32).collect();
    write(group, "data", &data);
    write(group, "indices", &indices);
    write(group, "indptr", &indptr);
}

/// Replaces a dataset.
pub fn replace<T: H5Type>(group: &Group, name: &str, values: &[T]) {
    group.unlink(name).unwrap();
    write(group, name, values);
}

/// A matrix read whole.
pub struct Matrix {
    pub source: Box<dyn Source>,
    /// One row per compressed row, with zeros in place.
    pub rows: Vec<Vec<f64>>,
    pub tally: Tally,
}

impl Matrix {
    pub fn cells(&self) -> &Axis {
        self.source.cells()
    }

    pub fn genes(&self) -> &Axis {
        self.source.genes()
    }

    pub fn has_note(&self, part: &str) -> bool {
        self.source.head().notes.iter().any(|note| note.contains(part))
    }
}

pub fn read(path: &Path, options: &ReadOptions) -> late_fast::Result<Matrix> {
    let source = open(path, options)?;
    let n_columns = match source.major() {
        late_fast::matrix::Major::Cells => source.genes().len(),
        late_fast::matrix::Major::Genes => source.cells().len(),
    };
    let mut rows = Vec::new();
    let mut nnz = 0;
    let tally = source.for_each_block(&mut |block, _| {
        let block = block.into_reals();
        nnz += block.nnz();
        for row in 0..block.n_rows() {
            let (indices, values) = block.row(row);
            assert!(indices.windows(2).all(|pair| pair[0] < pair[1]), "indices increase");
            let mut dense = vec![0.0; n_columns];
            for (&column, &value) in indices.iter().zip(values) {
                dense[column as usize] = value;
            }
            rows.push(dense);
        }
        Ok(())
    })?;
    assert_eq!(tally.nnz, nnz as u64);
    Ok(Matrix { source, rows, tally })
}

pub fn read_plain(path: &Path) -> Matrix {
    read(path, &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// The content as one gzip member.
pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, content).unwrap();
    encoder.finish().unwrap()
}

/// Writes a file, compressed if its name says so.
pub fn put(path: &Path, content: impl AsRef<[u8]>) {
    let content = content.as_ref();
    let is_gzip = path.extension().is_some_and(|extension| extension == "gz");
    std::fs::write(path, if is_gzip { gzip(content) } else { content.to_vec() }).unwrap();
}

/// The same values but for the order in which BLAS adds: its kernels for AVX2 choose that by how many columns a product has.
#[track_caller]
pub fn assert_same_but_for_blas<T: Copy + Into<f64> + std::fmt::Debug>(
    found: &[T],
    expected: &[T],
    place: &str,
) {
    assert_eq!(found.len(), expected.len(), "{place}");
    let is_near = |(&a, &b): (&T, &T)| (a.into() - b.into()).abs() <= 1e-6 * b.into().abs();
    assert!(found.iter().zip(expected).all(is_near), "{place}: {found:?}, expected {expected:?}");
}

/// The error of reading, which must name all of `parts`.
#[track_caller]
pub fn assert_refused(path: &Path, options: &ReadOptions, parts: &[&str]) {
    let Err(error) = read(path, options) else { panic!("{} was read", path.display()) };
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

/// A file of the repository's `data/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fixtures").join(name)
}

/// Creates a numeric dataset with any element type, chunk and filters.
pub fn typed(group: &Group, name: &str, kind: &TypeDescriptor, values: &[f64]) -> Dataset {
    let dataset = group.new_dataset_builder().empty_as(kind).shape([values.len()]).create(name).unwrap();
    dataset.write_raw(values).unwrap();
    dataset
}

/// Where the elements of a file's datasets lie, as they are stored: this program parses these bytes, libhdf5 all others.
pub fn stored_elements(path: &Path) -> Vec<std::ops::Range<usize>> {
    fn visit(group: &Group, out: &mut Vec<std::ops::Range<usize>>) {
        let index = |value: u64| usize::try_from(value).unwrap();
        for dataset in group.datasets().unwrap() {
            if let Some(begin) = dataset.offset() {
                out.push(index(begin)..index(begin) + index(dataset.storage_size()));
            }
            for chunk in 0..dataset.num_chunks().unwrap_or(0) {
                let chunk = dataset.chunk_info(chunk).unwrap();
                out.push(index(chunk.addr)..index(chunk.addr + chunk.size));
            }
        }
        group.groups().unwrap().iter().for_each(|group| visit(group, out));
    }
    let mut out = Vec::new();
    visit(&super::counts::unlocked().open(path).unwrap().group("/").unwrap(), &mut out);
    out
}

/// A file cut at a dozen places, and with one byte changed at `changes` places among the stored elements.
pub fn damages(path: &Path, changes: usize) -> Vec<Vec<u8>> {
    let whole = std::fs::read(path).unwrap();
    let mut out: Vec<_> =
        (0..whole.len()).step_by(whole.len() / 12).map(|length| whole[..length].to_vec()).collect();
    let places: Vec<usize> = stored_elements(path).into_iter().flatten().collect();
    for &place in places.iter().step_by((places.len() / changes).max(1)) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x55;
        out.push(bytes);
    }
    out
}
