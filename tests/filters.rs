//! Datasets through every compression filter, as hdf5plugin writes them (`data/generate/filters.py`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::files::fixture;
use late_fast::hdf::{HdfFile, NumericArray};

fn names(file: &hdf5::File, group: &str) -> Vec<String> {
    file.group(group).unwrap().member_names().unwrap()
}

#[test]
fn every_filter_gives_the_numbers_that_were_written() {
    let path = fixture("filters.h5");
    let listing = common::counts::unlocked().open(&path).unwrap();
    let file = HdfFile::open(&path).unwrap();
    for group in ["counts", "reals", "noise"] {
        let array = |name: &str| NumericArray::open(&file, &format!("{group}/{name}")).unwrap();
        let plain = array("plain");
        let all = plain.read::<f64>(0..plain.n_rows()).unwrap();
        let names = names(&listing, group);
        assert!(names.len() > 18, "{names:?}");
        for name in names {
            let array = array(&name);
            assert_eq!(array.read::<f64>(0..array.n_rows()).unwrap(), all, "{group}/{name}");
            let (middle, width) = (7..array.n_rows() - 3, array.n_columns());
            let expected = &all[middle.start * width..middle.end * width];
            assert_eq!(array.read::<f64>(middle).unwrap(), expected, "{group}/{name}");
        }
    }
}

#[test]
fn filters_that_cannot_be_undone_are_named() {
    let path = fixture("filters.h5");
    let file = HdfFile::open(&path).unwrap();
    for (name, parts) in [
        ("bitshuffle", ["HDF5 filter 32008 (bitshuffle)", "re-save the file with gzip"]),
        ("blosc2", ["HDF5 filter 32026 (Blosc2)", "re-save the file with gzip"]),
        ("blosc-snappy", ["snappy", "unread/blosc-snappy"]),
    ] {
        let opened = NumericArray::open(&file, &format!("unread/{name}"));
        let read = opened.and_then(|array| array.read::<f64>(0..array.n_rows()));
        let message = read.unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{name}: {message}");
        }
    }
}
