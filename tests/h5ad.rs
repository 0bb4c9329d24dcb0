//! Reading AnnData files of every generation, and writing what anndata reads.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions")]

mod common;

use std::path::{Path, PathBuf};

use common::counts::unlocked;
use common::files::{
    assert_refused, attribute, compress, fixture, names, read, read_plain, replace, small_dense, small_rows,
    texts, typed, write, write_texts,
};
use hdf5::types::{FloatSize, IntSize, TypeDescriptor, VarLenUnicode};
use hdf5::{File, Group, H5Type};
use late_fast::h5ad::{
    SparseSpec, create_dict, create_sparse, read_axis, write_axis, write_number_scalar, write_root,
    write_string_scalar,
};
use late_fast::hdf::HdfFile;
use late_fast::io::{Dtype, ReadOptions};
use late_fast::matrix::{Axis, Column, Major};
use tempfile::TempDir;

fn layer(name: &str) -> ReadOptions {
    ReadOptions { layer: Some(name.to_owned()), ..ReadOptions::default() }
}

fn raw() -> ReadOptions {
    ReadOptions { use_raw: true, ..ReadOptions::default() }
}

/// A file with axes of 3 cells and 4 genes, to which `fill` adds the matrices.
fn h5ad(directory: &TempDir, fill: impl FnOnce(&File)) -> PathBuf {
    let path = directory.path().join("data.h5ad");
    let file = unlocked().create(&path).unwrap();
    write_root(&file).unwrap();
    write_axis(&file, "obs", &Axis::from_names(names("cell", 3))).unwrap();
    write_axis(&file, "var", &Axis::from_names(names("gene", 4))).unwrap();
    fill(&file);
    path
}

/// Adds `small_rows` as a sparse group with the given encoding.
fn sparse(parent: &Group, name: &str, encoding: &str) -> Group {
    let group = parent.create_group(name).unwrap();
    attribute(&group, "encoding-type", encoding);
    group.new_attr::<i64>().shape([2]).create("shape").unwrap().write_raw(&[3_i64, 4]).unwrap();
    let rows = if encoding == "csc_matrix" {
        vec![vec![(0, 1.0)], vec![(2, 2.0)], vec![(0, 5.0), (2, 3.0)], vec![(2, 70.0)]]
    } else {
        small_rows()
    };
    let (indptr, indices, data) = compress(&rows);
    write(&group, "indptr", &indptr);
    write(&group, "indices", &indices);
    write(&group, "data", &data);
    group
}

fn dense(parent: &Group, name: &str, values: &[[f32; 4]; 3]) {
    let dataset = parent.new_dataset::<f32>().shape([3, 4]).create(name).unwrap();
    dataset.write_raw(values.as_flattened()).unwrap();
}

const DENSE: [[f32; 4]; 3] = [[1.0, 0.0, 5.0, 0.0], [0.0; 4], [0.0, 2.0, 3.0, 70.0]];

#[test]
fn csr_csc_and_dense_hold_the_same_matrix() {
    let directory = TempDir::new().unwrap();
    let path = h5ad(&directory, |file| {
        sparse(file, "X", "csr_matrix");
        let layers = create_dict(file, "layers").unwrap();
        sparse(&layers, "by_gene", "csc_matrix");
        dense(&layers, "dense", &DENSE);
    });
    let csr = read_plain(&path);
    assert_eq!(csr.rows, small_dense());
    assert_eq!(csr.source.head().layout, "AnnData h5ad (CSR X)");
    let dense = read(&path, &layer("dense")).unwrap();
    assert_eq!(dense.rows, small_dense());
    assert_eq!(dense.source.declared_nnz(), 12);
    let csc = read(&path, &layer("by_gene")).unwrap();
    assert_eq!(csc.source.major(), Major::Genes);
    for (gene, row) in csc.rows.iter().enumerate() {
        let column: Vec<_> = small_dense().iter().map(|row| row[gene]).collect();
        assert_eq!(*row, column, "gene {gene}");
    }
}

#[test]
fn a_dense_matrix_in_odd_chunks_is_read() {
    let directory = TempDir::new().unwrap();
    for chunk in [[1, 1], [2, 3], [3, 2], [5, 7]] {
        let path = h5ad(&directory, |file| {
            let builder = file.new_dataset::<f32>().chunk(chunk).shuffle().deflate(3);
            let dataset = builder.shape(hdf5::SimpleExtents::resizable([3, 4])).create("X").unwrap();
            dataset.write_raw(DENSE.as_flattened()).unwrap();
        });
        assert_eq!(read_plain(&path).rows, small_dense(), "{chunk:?}");
    }
}

#[test]
fn raw_has_its_own_genes() {
    let directory = TempDir::new().unwrap();
    let path = h5ad(&directory, |file| {
        dense(file, "X", &[[-1.0; 4]; 3]);
        let raw = file.create_group("raw").unwrap();
        sparse(&raw, "X", "csr_matrix");
        write_axis(&raw, "var", &Axis::from_names(names("raw", 4))).unwrap();
    });
    let matrix = read(&path, &raw()).unwrap();
    assert_eq!(matrix.genes().names, names("raw", 4));
    assert_eq!(matrix.rows, small_dense());
    assert_refused(&path, &ReadOptions::default(), &["X[0, 0]", "cell0", "gene0", "found -1", "--use-raw"]);
}

#[test]
fn what_is_missing_is_answered_with_what_there_is() {
    let directory = TempDir::new().unwrap();
    let path = h5ad(&directory, |file| {
        let layers = create_dict(file, "layers").unwrap();
        sparse(&layers, "counts", "csr_matrix");
    });
    assert_refused(&path, &ReadOptions::default(), &["X", "layers/counts", "--layer"]);
    assert_refused(&path, &layer("raw"), &["layers/raw", "only layers/counts"]);
    assert_refused(&path, &raw(), &["raw/X", "only layers/counts"]);
    let both = ReadOptions { use_raw: true, ..layer("counts") };
    assert_refused(&path, &both, &["--layer and --use-raw"]);
    let genome = ReadOptions { genome: Some("hg19".to_owned()), ..ReadOptions::default() };
    assert_refused(&path, &genome, &["--genome is for 10x files"]);
}

#[test]
fn shapes_that_disagree_are_refused() {
    let directory = TempDir::new().unwrap();
    let path = h5ad(&directory, |file| {
        let group = sparse(file, "X", "csr_matrix");
        group.attr("shape").unwrap().write_raw(&[4_i64, 3]).unwrap();
    });
    assert_refused(&path, &ReadOptions::default(), &["X@shape", "[3, 4]", "found [4, 3]"]);
    let path = h5ad(&directory, |file| {
        file.new_dataset::<f32>().shape([2, 4]).create("X").unwrap().write_raw(&[1.0_f32; 8]).unwrap();
    });
    assert_refused(&path, &ReadOptions::default(), &["X", "[3, 4]", "found [2, 4]"]);
    let path = h5ad(&directory, |file| {
        sparse(file, "X", "csr_array");
    });
    assert_refused(&path, &ReadOptions::default(), &["X@encoding-type", "csr_matrix", "csr_array"]);
}

#[test]
fn only_plain_little_endian_arrays_are_mapped() {
    let directory = TempDir::new().unwrap();
    let path = h5ad(&directory, |file| {
        sparse(file, "X", "csr_matrix");
        let layers = create_dict(file, "layers").unwrap();
        let group = sparse(&layers, "packed", "csr_matrix");
        group.unlink("data").unwrap();
        group.new_dataset_builder().with_data(&[1_i32, 5, 2, 3, 70]).chunk(5).create("data").unwrap();
    });
    let in_place = read_plain(&path).source.in_place().unwrap();
    assert_eq!(in_place.path, path);
    assert_eq!((in_place.data.dtype, in_place.data.len), (Dtype::F64, 5));
    let bytes = std::fs::read(&path).unwrap();
    let start = usize::try_from(in_place.data.offset).unwrap();
    assert_eq!(bytes[start..start + 8], 1.0_f64.to_le_bytes());
    assert!(read(&path, &layer("packed")).unwrap().source.in_place().is_none());
}

fn all_columns() -> Axis {
    let strings = |values: [&str; 4]| values.map(str::to_owned).to_vec();
    let columns = [
        ("free text", Column::Strings(strings(["a", "b", "c", "α"]))),
        ("labels", Column::Strings(strings(["T", "B", "T", "T"]))),
        (
            "ordered",
            Column::Categorical {
                codes: vec![0, -1, 1, 0],
                categories: strings(["low", "high", "", "x"])[..2].to_vec(),
                ordered: true,
            },
        ),
        ("integers", Column::Integers(vec![1, -5, i64::MAX, 0])),
        ("floats", Column::Floats(vec![0.5, -1.0, 1e300, 0.0])),
        ("booleans", Column::Booleans(vec![true, false, true, true])),
        (
            "some integers",
            Column::NullableIntegers { values: vec![1, 0, 3, 4], missing: vec![false, true, false, false] },
        ),
        (
            "some booleans",
            Column::NullableBooleans { values: vec![true; 4], missing: vec![false, true, false, false] },
        ),
    ];
    Axis {
        names: names("cell", 4),
        columns: columns.into_iter().map(|(name, column)| (name.to_owned(), column)).collect(),
    }
}

fn round_trip(axis: &Axis) -> Axis {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("axis.h5ad");
    let file = unlocked().create(&path).unwrap();
    write_axis(&file, "obs", axis).unwrap();
    file.close().unwrap();
    let mut notes = Vec::new();
    let found = read_axis(&HdfFile::open(&path).unwrap(), "obs", &mut notes).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    found
}

#[test]
fn every_column_kind_survives_writing_and_reading() {
    let mut expected = all_columns();
    let found = round_trip(&expected);
    // Few distinct strings come back as the categories they were written as.
    expected.columns[1].1 = Column::Categorical {
        codes: vec![1, 0, 1, 1],
        categories: vec!["B".to_owned(), "T".to_owned()],
        ordered: false,
    };
    assert_eq!(found, expected);
}

#[test]
fn empty_axes_and_awkward_names_are_written() {
    let empty = Axis { columns: vec![("n".to_owned(), Column::Integers(Vec::new()))], ..Axis::default() };
    assert_eq!(round_trip(&empty), empty);
    assert_eq!(round_trip(&Axis::from_names(names("c", 2))), Axis::from_names(names("c", 2)));
    let column = |name: &str| (name.to_owned(), Column::Integers(vec![1]));
    let awkward = Axis {
        names: vec!["nul\0inside".to_owned()],
        columns: ["a/b", "a|b", "_index", "", "."].map(column).to_vec(),
    };
    let found = round_trip(&awkward);
    assert_eq!(found.names, ["nulinside"]);
    let names: Vec<_> = found.columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a|b", "a|b_1", "_index_1", "unnamed", "unnamed_1"]);
}

#[test]
fn many_categories_get_wider_codes() {
    let values: Vec<String> = (0..1000).map(|number| format!("type {}", number % 400)).collect();
    let axis =
        Axis { names: names("c", 1000), columns: vec![("t".to_owned(), Column::Strings(values.clone()))] };
    let Some(Column::Categorical { codes, categories, .. }) = round_trip(&axis).column("t").cloned() else {
        panic!("not categorical")
    };
    let found: Vec<_> =
        codes.iter().map(|&code| categories[usize::try_from(code).unwrap()].clone()).collect();
    assert_eq!(found, values);
}

#[test]
fn created_sparse_groups_are_mappable_or_compressed() {
    for compressed in [false, true] {
        let directory = TempDir::new().unwrap();
        let path = h5ad(&directory, |file| {
            let (shape, major) = ((3, 4), Major::Cells);
            let spec = SparseSpec { shape, major, nnz: 5, data: Dtype::U16, indices: Dtype::I32, compressed };
            let group = create_sparse(file, "X", &spec).unwrap();
            group.data.write_raw(&[1_u16, 5, 2, 3, 70]).unwrap();
            group.indices.write_raw(&[0_i32, 2, 1, 2, 3]).unwrap();
            group.indptr.write_raw(&[0_i64, 2, 2, 5]).unwrap();
            let uns = create_dict(file, "uns").unwrap();
            write_string_scalar(&uns, "transform", "log10(x+1)").unwrap();
            write_number_scalar(&uns, "seed", 7_u64).unwrap();
        });
        let matrix = read_plain(&path);
        assert_eq!(matrix.rows, small_dense());
        assert_eq!(matrix.source.in_place().is_some(), !compressed);
        let file = HdfFile::open(&path).unwrap();
        assert_eq!(file.strings("uns/transform", &mut Vec::new()).unwrap(), ["log10(x+1)"]);
        assert_eq!(file.string_attribute("uns/seed", "encoding-type").unwrap().unwrap(), "numeric-scalar");
    }
}

#[test]
fn anndata_07_categories_are_found_beside_the_codes() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("old.h5ad");
    let file = unlocked().create(&path).unwrap();
    let obs = file.create_group("obs").unwrap();
    attribute(&obs, "_index", "barcode");
    let order = texts(&["type", "depth"]);
    obs.new_attr::<VarLenUnicode>().shape([2]).create("column-order").unwrap().write_raw(&order).unwrap();
    write_texts(&obs, "barcode", &names("c", 3));
    write(&obs, "type", &[1_i8, -1, 0]);
    write(&obs, "depth", &[1.5_f32, 2.5, 3.5]);
    let categories = obs.create_group("__categories").unwrap();
    write_texts(&categories, "type", &["B".to_owned(), "T".to_owned()]);
    drop((file, obs, categories));
    let axis = read_axis(&HdfFile::open(&path).unwrap(), "obs", &mut Vec::new()).unwrap();
    let categories = vec!["B".to_owned(), "T".to_owned()];
    assert_eq!(
        axis.column("type"),
        Some(&Column::Categorical { codes: vec![1, -1, 0], categories, ordered: false })
    );
    assert_eq!(axis.column("depth"), Some(&Column::Floats(vec![1.5, 2.5, 3.5])));
}

#[test]
fn columns_without_a_place_are_skipped_with_a_note() {
    let directory = TempDir::new().unwrap();
    let path = h5ad(&directory, |file| {
        sparse(file, "X", "csr_matrix");
        file.unlink("obs").unwrap();
        let mut axis = Axis::from_names(names("cell", 3));
        axis.columns.push(("odd".to_owned(), Column::Integers(vec![1, 2, 3])));
        write_axis(file, "obs", &axis).unwrap();
        let obs = file.group("obs").unwrap();
        obs.unlink("odd").unwrap();
        let odd = obs.create_group("odd").unwrap();
        attribute(&odd, "encoding-type", "interval");
    });
    let matrix = read_plain(&path);
    assert!(
        matrix.has_note("obs/odd: skipped, its encoding is \"interval\""),
        "{:?}",
        matrix.source.head().notes
    );
}

#[test]
fn a_column_of_the_wrong_length_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = h5ad(&directory, |file| {
        sparse(file, "X", "csr_matrix");
        file.unlink("obs").unwrap();
        let mut axis = Axis::from_names(names("cell", 3));
        axis.columns.push(("n".to_owned(), Column::Integers(vec![1, 2])));
        write_axis(file, "obs", &axis).unwrap();
    });
    assert_refused(&path, &ReadOptions::default(), &["obs/n", "3 elements", "found 2"]);
}

/// A record of a table of AnnData before 0.7.
#[derive(H5Type, Clone)]
#[repr(C)]
struct Record {
    index: hdf5::types::FixedAscii<8>,
    kind: i8,
    depth: f32,
    seen: bool,
}

#[test]
fn tables_before_07_are_read_with_their_categories() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("old.h5ad");
    let file = unlocked().create(&path).unwrap();
    let record = |name: &str, kind, depth| Record {
        index: hdf5::types::FixedAscii::from_ascii(name).unwrap(),
        kind,
        depth,
        seen: kind == 0,
    };
    write(&file, "obs", &[record("c0", 1, 0.5), record("c1", -1, 1.5), record("c2", 0, 2.5)]);
    write(&file, "var", &["g0", "g1", "g2", "g3"].map(|name| record(name, 0, 0.0)));
    let uns = file.create_group("uns").unwrap();
    write_texts(&uns, "kind_categories", &["B".to_owned(), "T".to_owned()]);
    let group = sparse(&file, "X", "");
    group.delete_attr("encoding-type").unwrap();
    attribute(&group, "h5sparse_format", "csr");
    group.delete_attr("shape").unwrap();
    group.new_attr::<i64>().shape([2]).create("h5sparse_shape").unwrap().write_raw(&[3_i64, 4]).unwrap();
    drop((file, uns, group));
    let matrix = read_plain(&path);
    assert_eq!(matrix.rows, small_dense());
    assert_eq!(matrix.cells().names, ["c0", "c1", "c2"]);
    let categories = vec!["B".to_owned(), "T".to_owned()];
    assert_eq!(
        matrix.cells().column("kind"),
        Some(&Column::Categorical { codes: vec![1, -1, 0], categories, ordered: false })
    );
    assert_eq!(matrix.cells().column("depth"), Some(&Column::Floats(vec![0.5, 1.5, 2.5])));
    assert_eq!(matrix.cells().column("seen"), Some(&Column::Booleans(vec![false, false, true])));
}

#[test]
fn genuine_files_of_several_generations_are_read() {
    // (file, options, cells, genes, non-zeros, columns of obs)
    let cases = [
        ("anndata_v0.7.0.h5ad", ReadOptions::default(), 30, 20, 228, 5),
        ("anndata_v0.7.0.h5ad", raw(), 30, 40, 480, 5),
        ("anndata_v0.7.8.h5ad", ReadOptions::default(), 30, 20, 239, 5),
        ("anndataR_50x100.h5ad", ReadOptions::default(), 50, 100, 4317, 11),
        ("anndataR_50x100.h5ad", layer("csc_counts"), 50, 100, 4317, 11),
        ("anndataR_50x100.h5ad", layer("dense_counts"), 50, 100, 4317, 11),
    ];
    for (name, options, cells, genes, nnz, columns) in cases {
        let matrix = read(&fixture("h5ad").join(name), &options).unwrap_or_else(|error| panic!("{error}"));
        let found =
            (matrix.cells().len(), matrix.genes().len(), matrix.tally.nnz, matrix.cells().columns.len());
        assert_eq!(found, (cells, genes, nnz, columns), "{name} {options:?}");
    }
}

/// Replaces the only occurrence of `from` in a file.
fn patch(path: &Path, from: &[u8], to: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let mut places = bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from);
    let (at, _) = places.next().unwrap();
    assert!(places.next().is_none(), "{from:?} stands more than once");
    bytes[at..at + to.len()].copy_from_slice(to);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn numbers_of_an_unusual_layout_are_not_misread() {
    // Datatype messages: class, flags, size, bit offset and precision, then the fields of reals.
    let half = [2, 0, 0, 0, 0, 0, 16, 0, 10, 5, 0, 10, 15, 0, 0, 0];
    let bfloat16 = [2, 0, 0, 0, 0, 0, 16, 0, 7, 8, 0, 7, 127, 0, 0, 0];
    let whole = [0x10, 0, 0, 0, 2, 0, 0, 0, 0, 0, 16, 0];
    let twelve_bits = [0x10, 0, 0, 0, 2, 0, 0, 0, 0, 0, 12, 0];
    let cases: [(TypeDescriptor, &[u8], &[u8]); 2] = [
        (TypeDescriptor::Float(FloatSize::U2), &half, &bfloat16),
        (TypeDescriptor::Unsigned(IntSize::U2), &whole, &twelve_bits),
    ];
    for (kind, from, to) in cases {
        let directory = TempDir::new().unwrap();
        let path = h5ad(&directory, |file| {
            let matrix = sparse(file, "X", "csr_matrix");
            matrix.unlink("data").unwrap();
            typed(&matrix, "data", &kind, &[1.0, 5.0, 2.0, 3.0, 70.0]);
        });
        patch(&path, from, to);
        assert_refused(&path, &ReadOptions::default(), &["X/data", "bfloat16", "convert the dataset"]);
    }
}

#[test]
fn big_endian_reals_are_read() {
    let directory = TempDir::new().unwrap();
    let path = h5ad(&directory, |file| {
        let matrix = sparse(file, "X", "csr_matrix");
        let values = [1.0_f32, 5.0, 2.0, 3.0, 70.0];
        replace(&matrix, "data", &values.map(|value| f32::from_bits(value.to_bits().swap_bytes())));
    });
    patch(&path, &[0x11, 0x20, 31, 0, 4, 0, 0, 0], &[0x11, 0x21]);
    assert_eq!(read_plain(&path).rows, small_dense());
}

#[test]
fn dense_counts_of_any_size_are_read() {
    for (value, found) in [
        (4_294_967_294_i64, Ok(4_294_967_294.0)),
        (4_294_967_295, Ok(4_294_967_295.0)),
        (5_000_000_000, Ok(5e9)),
        (-1, Err("found -1")),
    ] {
        let directory = TempDir::new().unwrap();
        let path = h5ad(&directory, |file| {
            let rows = [[1, 0, 5, 0], [0; 4], [0, 2, 3, value]];
            file.new_dataset_builder().with_data(&ndarray::arr2(&rows)).create("X").unwrap();
        });
        match found {
            Ok(found) => assert_eq!(read_plain(&path).rows[2], [0.0, 2.0, 3.0, found]),
            Err(part) => assert_refused(
                &path,
                &ReadOptions::default(),
                &["cell \"cell2\" (index 2)", "gene \"gene3\"", part],
            ),
        }
    }
}

/// The threads of a run compute with such a number as if it was 0.
#[test]
fn numbers_below_the_normal_ones_are_zeros_for_every_thread() {
    let dense_rows = [[1.0, 0.0, 5.0, 0.0], [0.0; 4], [0.0, 2.0, 3.0, 1e-40]];
    let singles = [1.0_f32, 5.0, 2.0, 3.0, 1e-40];
    let doubles = [1.0_f64, 5.0, 2.0, 3.0, 1e-310];
    for case in ["f32", "f64", "dense"] {
        let directory = TempDir::new().unwrap();
        let path = h5ad(&directory, |file| match case {
            "f32" => replace(&sparse(file, "X", "csr_matrix"), "data", &singles),
            "f64" => replace(&sparse(file, "X", "csr_matrix"), "data", &doubles),
            _ => dense(file, "X", &dense_rows),
        });
        let check = || {
            let matrix = read_plain(&path);
            assert_eq!(matrix.rows[2], [0.0, 2.0, 3.0, 0.0]);
            assert_eq!((matrix.tally.nnz, matrix.tally.explicit_zeros), (4, u64::from(case != "dense")));
        };
        late_fast::parallel::with_threads(2, check).unwrap();
        check();
    }
}

#[test]
fn unsigned_codes_and_nullable_strings_are_read() {
    let directory = TempDir::new().unwrap();
    let path = h5ad(&directory, |file| {
        sparse(file, "X", "csr_matrix");
        let obs = file.group("obs").unwrap();
        for (name, encoding) in [("type", "categorical"), ("text", "nullable-string-array")] {
            attribute(&obs.create_group(name).unwrap(), "encoding-type", encoding);
        }
        write_texts(&obs.group("type").unwrap(), "categories", &names("t", 300));
        write(&obs.group("type").unwrap(), "codes", &[299_u16, 0, 256]);
        write_texts(&obs.group("text").unwrap(), "values", &["a".to_owned(), String::new(), "b".to_owned()]);
        write(&obs.group("text").unwrap(), "mask", &[false, true, false]);
        obs.delete_attr("column-order").unwrap();
        let order = texts(&["type", "text"]);
        obs.new_attr::<VarLenUnicode>().shape([2]).create("column-order").unwrap().write_raw(&order).unwrap();
    });
    let matrix = read_plain(&path);
    assert_eq!(matrix.cells().texts("type").unwrap(), ["t299", "t0", "t256"]);
    let Some(Column::Categorical { codes, categories, .. }) = matrix.cells().column("text") else {
        panic!("not read")
    };
    assert_eq!(
        (codes.as_slice(), categories.as_slice()),
        (&[0, -1, 1][..], &["a".to_owned(), "b".to_owned()][..])
    );
}

#[test]
fn unknown_encodings_are_named() {
    let directory = TempDir::new().unwrap();
    let path = h5ad(&directory, |file| {
        dense(file, "X", &DENSE);
        attribute(&file.dataset("X").unwrap(), "encoding-type", "rec-array");
    });
    assert_refused(&path, &ReadOptions::default(), &["X@encoding-type", "array, csr_matrix", "rec-array"]);
    let path = h5ad(&directory, |file| {
        dense(file, "X", &DENSE);
        let obs = file.group("obs").unwrap();
        obs.delete_attr("encoding-type").unwrap();
        attribute(&obs, "encoding-type", "frame of the future");
    });
    assert_refused(
        &path,
        &ReadOptions::default(),
        &["obs@encoding-type", "dataframe", "frame of the future"],
    );
}
