//! Positions beyond 2^31 and 2^32, in files with holes that take no disk, and declared terabytes that are refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::binary::Workplace;
use common::counts::unlocked;
use common::files::{assert_refused, attribute, names, read_plain, write};
use late_fast::h5ad::{write_axis, write_root};
use late_fast::hdf::{HdfFile, NumericArray};
use late_fast::io::ReadOptions;
use late_fast::matrix::Axis;

/// 70,000 rows of 65,536 elements: more than 2^32.
const SHAPE: [usize; 2] = [70_000, 1 << 16];
/// Rows before and behind the element 2^31 and the element 2^32, and the last ones.
const PLACES: [usize; 4] = [(1 << 15) - 1, 1 << 16, SHAPE[0] - 2, SHAPE[0] - 1];

fn value(row: usize, column: usize) -> u8 {
    u8::try_from((row * 31 + column * 7) % 251 + 1).unwrap()
}

/// Writes a few rows of a dataset.
fn write_rows(dataset: &hdf5::Dataset) {
    for row in PLACES {
        let values: Vec<u8> = (0..SHAPE[1]).map(|column| value(row, column)).collect();
        let values = ndarray::Array2::from_shape_vec([1, SHAPE[1]], values).unwrap();
        dataset.write_slice(&values, (row..=row, ..)).unwrap();
    }
}

#[test]
fn elements_beyond_2_to_the_32_are_found() {
    let place = Workplace::new();
    let file = unlocked().create(place.path("in.h5")).unwrap();
    write_rows(&file.new_dataset::<u8>().shape(SHAPE).create("whole").unwrap());
    let chunked = file.new_dataset::<u8>().chunk([100, 1 << 12]).deflate(1).shape(SHAPE);
    write_rows(&chunked.create("chunked").unwrap());
    file.close().unwrap();
    let file = HdfFile::open(&place.path("in.h5")).unwrap();
    for name in ["whole", "chunked"] {
        let array = NumericArray::open(&file, name).unwrap();
        for row in PLACES {
            let read = array.read::<u32>(row - 1..row + 1).unwrap();
            let [before, here] = [row - 1, row].map(|row| {
                let is_written = PLACES.contains(&row);
                let of = |column| if is_written { value(row, column).into() } else { 0 };
                (0..SHAPE[1]).map(of).collect::<Vec<u32>>()
            });
            assert!(read[..SHAPE[1]] == before && read[SHAPE[1]..] == here, "{name}, row {row}");
        }
        let columns = [SHAPE[1] - 1, 5];
        for column in columns {
            let read = array.read_columns::<u32>(column..column + 1).unwrap();
            for (row, &found) in read.iter().enumerate() {
                let is_written = PLACES.contains(&row);
                let expected = if is_written { value(row, column).into() } else { 0 };
                assert_eq!(found, expected, "{name}, {row}, {column}");
            }
        }
    }
}

/// Nothing of the size that is declared is set aside: it would end the test.
#[test]
fn h5ad_files_that_declare_terabytes_are_refused() {
    let place = Workplace::new();
    let path = place.path("in.h5ad");
    let start = || {
        let file = unlocked().create(&path).unwrap();
        write_root(&file).unwrap();
        write_axis(&file, "obs", &Axis::from_names(names("cell", 3))).unwrap();
        write_axis(&file, "var", &Axis::from_names(names("gene", 4))).unwrap();
        file
    };
    let declared = 1_usize << 42;
    for entries in [3_000_000_000, declared] {
        let file = start();
        let x = file.create_group("X").unwrap();
        attribute(&x, "encoding-type", "csr_matrix");
        x.new_attr::<i64>().shape(2).create("shape").unwrap().write_raw(&[3_i64, 4]).unwrap();
        write(&x, "indptr", &[0, 0, 0, i64::try_from(entries).unwrap()]);
        for name in ["indices", "data"] {
            x.new_dataset::<i32>().chunk(1 << 16).deflate(1).shape(entries).create(name).unwrap();
        }
        drop(x);
        file.close().unwrap();
        assert_refused(&path, &ReadOptions::default(), &["X/indices", "stored elements"]);
    }
    let file = start();
    let shape = (1_usize << 21, declared >> 21);
    file.new_dataset::<f64>().chunk((64, 64)).shape(shape).create("X").unwrap();
    file.close().unwrap();
    assert_refused(&path, &ReadOptions::default(), &["X", "stored elements"]);
    let file = start();
    file.unlink("obs").unwrap();
    let obs = file.create_group("obs").unwrap();
    attribute(&obs, "encoding-type", "dataframe");
    attribute(&obs, "_index", "_index");
    let index = obs.new_dataset::<hdf5::types::FixedAscii<16>>().chunk(1 << 16).shape(declared);
    index.create("_index").unwrap();
    drop(obs);
    file.new_dataset::<f64>().shape((3, 4)).create("X").unwrap();
    file.close().unwrap();
    assert_refused(&path, &ReadOptions::default(), &["obs/_index", "stored elements"]);
}

/// Numbers that are right once their upper half is cut off.
#[test]
fn positions_in_text_are_not_cut_to_32_bits() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("dir")).unwrap();
    let put = |name: &str, text: &str| std::fs::write(place.path("dir").join(name), text).unwrap();
    put("barcodes.tsv", "c0\nc1\n");
    put("genes.tsv", "i0\tg0\ni1\tg1\n");
    let matrix = |size: &str, entry: &str| {
        put("matrix.mtx", &format!("%%MatrixMarket matrix coordinate integer general\n{size}\n{entry}\n"));
    };
    let dir = place.path("dir");
    let refused = |parts: &[&str]| assert_refused(&dir, &ReadOptions::default(), parts);
    matrix("2 2 1", "2 1 7");
    assert_eq!(read_plain(&dir).rows, [[0.0, 7.0], [0.0, 0.0]]);
    for wrapped in ["4294967297", "2147483649", "18446744073709551617"] {
        matrix("2 2 1", &format!("{wrapped} 1 7"));
        refused(&["line 3", "a gene from 1 to 2"]);
        matrix("2 2 1", &format!("1 {wrapped} 7"));
        refused(&["line 3", "a cell from 1 to 2"]);
    }
    matrix("4294967298 2 1", "1 1 7");
    refused(&["line 2", "2 genes and 2 cells"]);
    matrix("2 2 4294967297", "1 1 7");
    refused(&["line 2", "4294967297 entries"]);
}
