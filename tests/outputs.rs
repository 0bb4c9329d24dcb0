//! Outputs of `convert`, `mask` and `split`: whole and right, or not there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::cell::Cell;
use std::os::unix::fs::FileExt;

use common::anndata::{axes, write_h5ad};
use common::binary::Workplace;
use common::counts::counts;
use late_fast::io::{Dtype, ReadOptions, open};
use late_fast::matrix::Major;
use late_fast::perturb::{Keep, MaskOptions, Setup, mask};
use late_fast::store::{StoreDtype, Storing, prepare, unpack};

const CELLS: usize = 120;
const GENES: usize = 60;

/// The input is mapped as it is, and another program changes it between the pass that chooses and the pass that writes.
#[test]
fn a_mask_of_a_changed_input_is_not_published() {
    let place = Workplace::new();
    let (path, rows) = (place.path("in.h5ad"), counts(CELLS, GENES, 5));
    write_h5ad(&path, &axes(CELLS, GENES), &rows, Major::Cells, Dtype::F32, false);
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
            let all_one = 7_i32.to_le_bytes().repeat(rows.iter().map(Vec::len).sum());
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
