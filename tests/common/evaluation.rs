//! Small evaluations: files, command lines and what comes out.

use std::path::Path;

use late_fast::evaluate::Matrix;
use late_fast::h5ad::{write_axis, write_root};
use late_fast::io::{ReadOptions, Source, Values};
use late_fast::matrix::{Axis, Major};
use late_fast::store::{Store, StoreDtype, Storing, unpack};
use ndarray::Array2;
use serde_json::Value;

use super::binary::Workplace;
use super::counts::{counts, unlocked, write_tenx};
use super::files::attribute;

pub const FILES: [&str; 7] =
    ["truth.h5", "input.h5", "test.h5", "imputed.h5ad", "foreign.h5ad", "labels.csv", "expected.json"];

/// A directory with the files that `data/generate/evaluate.py` made.
pub fn workplace() -> Workplace {
    let place = Workplace::new();
    for name in FILES {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fixtures/evaluate").join(name);
        std::fs::copy(from, place.path(name)).unwrap();
    }
    place
}

pub const OURS: &[&str] =
    &["evaluate", "--input", "input.h5", "--truth", "truth.h5", "--imputed", "imputed.h5ad"];
pub const FOREIGN: &[&str] =
    &["evaluate", "--input", "input.h5", "--truth", "truth.h5", "--imputed", "foreign.h5ad"];
pub const AS_EXPORTED: &[&str] =
    &["--labels", "labels.csv", "--components", "6", "--correlated-genes", "25", "--out", "out"];

pub fn json(place: &Workplace, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(place.path(name)).unwrap()).unwrap()
}

/// Writes an h5ad with a dense `X`.
pub fn write_dense(path: &Path, cells: &[String], genes: &[String], values: &Array2<f32>) {
    let file = unlocked().create(path).unwrap();
    write_root(&file).unwrap();
    write_axis(&file, "obs", &Axis::from_names(cells.to_vec())).unwrap();
    write_axis(&file, "var", &Axis::from_names(genes.to_vec())).unwrap();
    let dataset = file.new_dataset::<f32>().shape(values.dim()).create("X").unwrap();
    dataset.write(values).unwrap();
    attribute(&dataset, "encoding-type", "array");
    attribute(&dataset, "encoding-version", "0.2.0");
}

pub const CELLS: usize = 30;
pub const GENES: usize = 20;

/// Counts of an input, and a matrix of ones imputed from them with the given names.
pub fn small(cells: &[String], genes: &[String]) -> Workplace {
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), &counts(CELLS, GENES, 3), GENES);
    write_dense(&place.path("ones.h5ad"), cells, genes, &Array2::ones((cells.len(), genes.len())));
    place
}

pub const SMALL: &[&str] = &[
    "evaluate",
    "-i",
    "in.h5",
    "--truth",
    "in.h5",
    "--imputed",
    "ones.h5ad",
    "--imputed-scale",
    "log10",
    "--out",
    "out",
];

/// A matrix of counts, opened in this process.
pub struct Counts {
    source: Box<dyn Source>,
    store: Store,
}

impl Counts {
    pub fn open(place: &Workplace, name: &str) -> Self {
        let source = late_fast::io::open(&place.path(name), &ReadOptions::default()).unwrap();
        let dir = place.path("");
        let storing = Storing { dir: &dir, wanted: &[Major::Cells], memory: 1 << 30, cache: None };
        let store = unpack(source.as_ref(), StoreDtype::F32, &storing, &|_, _| {}).unwrap();
        Self { source, store }
    }

    pub fn matrix(&self) -> Matrix<'_> {
        Matrix { source: self.source.as_ref(), store: &self.store }
    }
}

/// An imputed matrix, opened in this process.
pub fn open_imputed(place: &Workplace, name: &str, layer: Option<&str>) -> Box<dyn Source> {
    let options =
        ReadOptions { layer: layer.map(str::to_owned), values: Values::Finite, ..ReadOptions::default() };
    late_fast::io::open(&place.path(name), &options).unwrap()
}
