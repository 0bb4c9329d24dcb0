//! Outputs of `convert`, `mask` and `split`: whole and right, or not there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::cell::Cell;
use std::os::unix::fs::FileExt;

use common::binary::Workplace;
use common::counts::{counts, unlocked};
use common::files::{compress, names};
use late_fast::h5ad::{SparseSpec, create_sparse, write_axis, write_root};
use late_fast::io::{Dtype, ReadOptions, open};
use late_fast::matrix::{Axis, Major};
use late_fast::perturb::{Keep, MaskOptions, Setup, mask};
use late_fast::store::{StoreDtype, Storing, prepare, unpack};

const CELLS: usize = 120;
const GENES: usize = 60;

/// The input is mapped as it is, and another program changes it between the pass that chooses and the pass that writes.
#[test]
fn a_mask_of_a_changed_input_is_not_published() {
    let place = Workplace::new();
    let (path, rows) = (place.path("in.h5ad"), counts(CELLS, GENES, 5));
    let file = unlocked().create(&path).unwrap();
    write_root(&file).unwrap();
    write_axis(&file, "obs", &Axis::from_names(names("cell", CELLS))).unwrap();
    write_axis(&file, "var", &Axis::from_names(names("gene", GENES))).unwrap();
    let (indptr, indices, values) = compress(&rows);
    let spec = SparseSpec {
        shape: (CELLS as u64, GENES as u64),
        major: Major::Cells,
        nnz: values.len() as u64,
        data: Dtype::F32,
        indices: Dtype::I32,
        compressed: false,
    };
    let x = create_sparse(&file, "X", &spec).unwrap();
    x.indptr.write(&indptr).unwrap();
    x.indices.write(&indices).unwrap();
    x.data.write(&values).unwrap();
    drop(x);
    file.close().unwrap();
    let source = open(&path, &ReadOptions::default()).unwrap();
    let place_of_indices = source.in_place().expect("a file that is mapped").indices;
    let dir = place.path("");
    let storing = Storing { dir: &dir, wanted: &[Major::Cells], memory: 1 << 30, cache: None };
    let native = unpack(source.as_ref(), StoreDtype::F32, &storing, &|_, _| ()).unwrap();
    let prepared = prepare(source.as_ref(), native, &storing, &|_, _| ()).unwrap();
    let is_changed = Cell::new(false);
    let change = |step: &'static str, _: u64| {
        if step == "masking" && !is_changed.replace(true) {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            let all_one = 7_i32.to_le_bytes().repeat(indices.len());
            file.write_all_at(&all_one, place_of_indices.offset).unwrap();
        }
    };
    let setup = Setup { block_entries: 50, ..Setup::default() };
    let options = MaskOptions { keep: Keep::Share(0.5), truth: false, setup };
    let out = place.path("out.h5");
    let error = mask(source.as_ref(), &prepared, &options, &out, &change).unwrap_err().to_string();
    assert!(is_changed.get() && error.contains("changed by another program"), "{error}");
    assert_eq!(place.listing(), ["in.h5ad"]);
}
