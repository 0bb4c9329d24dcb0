//! `--store-dtype`: real values in 32 or 16 bits, counts and mapped files as ever.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::anndata::{axes, write_h5ad};
use common::binary::Workplace;
use common::counts::counts;
use common::files::Rows;
use half::f16;
use late_fast::config::TrainConfig;
use late_fast::io::{Dtype, ReadOptions, open};
use late_fast::matrix::Major;
use late_fast::minibatch::{Builder, Minibatch, Purpose, Transform};
use late_fast::store::{Prepared, RowEntries, StoreDtype, Storing, prepare, unpack};
use late_fast_kernels::Isa;

const CELLS: usize = 150;
const GENES: usize = 70;

/// Counts per ten thousand of their cell: real numbers.
fn normalised() -> Rows {
    let mut rows = counts(CELLS, GENES, 1);
    for row in &mut rows {
        let total: f64 = row.iter().map(|&(_, count)| count).sum();
        row.iter_mut().for_each(|(_, count)| *count *= 1e4 / total);
    }
    rows
}

fn workplace(rows: &Rows, compressed: bool) -> Workplace {
    let place = Workplace::new();
    let axes = axes(rows.len(), GENES);
    write_h5ad(&place.path("in.h5ad"), &axes, rows, Major::Cells, Dtype::F32, compressed);
    place
}

fn prepared(place: &Workplace, dtype: StoreDtype) -> Prepared {
    let source = open(&place.path("in.h5ad"), &ReadOptions::default()).unwrap();
    let dir = place.path("");
    let storing = Storing { dir: &dir, wanted: &[Major::Cells, Major::Genes], memory: 1 << 30, cache: None };
    let native = unpack(source.as_ref(), dtype, &storing, &|_, _| ()).unwrap();
    prepare(source.as_ref(), native, &storing, &|_, _| ()).unwrap()
}

/// Entries by (cell, gene).
type Entries = BTreeMap<(usize, usize), f32>;

/// What is in the file, as `round` would store it.
fn expected(rows: &Rows, round: impl Fn(f32) -> f32) -> Entries {
    let mut entries = Entries::new();
    for (cell, row) in rows.iter().enumerate() {
        for &(gene, value) in row {
            #[expect(clippy::cast_possible_truncation, reason = "the file holds f32")]
            entries.insert((cell, usize::try_from(gene).unwrap()), round(value as f32));
        }
    }
    entries
}

fn to_half(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

fn place_of(major: Major, row: usize, column: usize) -> (usize, usize) {
    if major == Major::Cells { (row, column) } else { (column, row) }
}

fn stored(prepared: &Prepared, major: Major) -> Entries {
    let store = prepared.with_rows(major).unwrap();
    let mut entries = Entries::new();
    for row in 0..store.n_rows() {
        let mut found = RowEntries::default();
        store.read_row(row, &mut found).unwrap();
        for (&column, &value) in found.indices.iter().zip(&found.values) {
            entries.insert(place_of(major, row, column as usize), value);
        }
    }
    entries
}

/// The targets of all minibatches.
fn gathered(prepared: &Prepared, major: Major) -> Entries {
    let store = prepared.with_rows(major).unwrap();
    let features: Vec<u32> = (0..u32::try_from(store.n_cols()).unwrap()).collect();
    let isa = Isa::chosen().unwrap();
    let mut builder = Builder::new(store, &features, features.len(), Transform::AsIs, None, isa);
    let samples: Vec<u32> = (0..u32::try_from(store.n_rows()).unwrap()).collect();
    let mut batch = Minibatch::default();
    let mut entries = Entries::new();
    for samples in samples.chunks(32) {
        builder.build(samples, Purpose::Train(None), &mut batch).unwrap();
        let targets = batch.targets_of(0..features.len());
        for feature in 0..features.len() {
            let (local, values) = targets.row(feature);
            for (&sample, &value) in local.iter().zip(values) {
                entries.insert(place_of(major, samples[sample as usize] as usize, feature), value);
            }
        }
    }
    entries
}

#[track_caller]
fn assert_holds(prepared: &Prepared, expected: &Entries) {
    for major in [Major::Cells, Major::Genes] {
        assert!(stored(prepared, major) == *expected, "{major:?}: the store holds other entries");
        assert!(gathered(prepared, major) == *expected, "{major:?}: minibatches hold other entries");
    }
}

#[test]
fn both_orientations_hold_the_nearest_halves() {
    let place = workplace(&normalised(), true);
    assert_holds(&prepared(&place, StoreDtype::F16), &expected(&normalised(), to_half));
    assert_holds(&prepared(&place, StoreDtype::F32), &expected(&normalised(), |value| value));
}

#[test]
fn counts_stay_whole() {
    let mut rows = counts(CELLS, GENES, 1);
    rows[3][0].1 = 100_001.0;
    let place = workplace(&rows, true);
    assert_holds(&prepared(&place, StoreDtype::F16), &expected(&rows, |count| count));
}

/// In both orientations, though the second one is written.
#[test]
fn a_mapped_file_stays_as_it_is() {
    let mut rows = normalised();
    rows[3][0].1 = 70_000.5;
    let place = workplace(&rows, false);
    assert_holds(&prepared(&place, StoreDtype::F16), &expected(&rows, |value| value));
}

const TRAIN: &[&str] =
    &["train", "--input", "in.h5ad", "--hidden", "24,6", "--batch-size", "64", "--lr", "3e-3"];
const F16: &[&str] = &["--store-dtype", "f16"];

#[test]
fn values_above_the_largest_half_are_refused() {
    let mut rows = normalised();
    rows[3][0].1 = 65_505.0;
    let gene = format!("gene{}", rows[3][0].0);
    let place = workplace(&rows, true);
    let parts = ["in.h5ad", "CSR X", "cell3", &gene, "65505", "65504", "--store-dtype f32"];
    place.fail(&[TRAIN, F16].concat(), &parts);
    place.fail(&[TRAIN, F16, &["--features", "cells"]].concat(), &parts);
    place.succeed(&[TRAIN, &["--epochs", "2"]].concat());
    let impute = ["impute", "--model", "in.late", "--input", "in.h5ad", "--out", "out.h5ad"];
    place.fail(&[&impute, F16].concat(), &parts);
}

#[test]
fn values_below_the_smallest_half_stay_observed() {
    let mut rows = normalised();
    rows[3][0].1 = 1e-9;
    rows[4][1].1 = 2.0_f64.powi(-25);
    let place = workplace(&rows, true);
    let smallest = f16::MIN_POSITIVE_SUBNORMAL.to_f32();
    let raised = expected(&rows, |value| to_half(value).max(smallest));
    assert_holds(&prepared(&place, StoreDtype::F16), &raised);
    let run = place.succeed(&[TRAIN, F16, &["--dry-run"]].concat());
    assert!(run.stderr.contains("note: 2 values below 6e-8"), "{}", run.stderr);
}

fn json(text: &str, event: &str) -> serde_json::Value {
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.into_iter().find(|line| line["event"] == event).unwrap()
}

#[test]
fn the_plan_follows_the_choice() {
    let rows = normalised();
    let nnz = rows.iter().map(Vec::len).sum::<usize>();
    for (compressed, option, bytes, note) in [
        (true, "f32", 4, None),
        (true, "f16", 2, None),
        (false, "f16", 4, Some("f16 changes nothing: the file is mapped as it is")),
    ] {
        let place = workplace(&rows, compressed);
        let run = place.succeed(&[TRAIN, &["--store-dtype", option, "--dry-run", "--json"]].concat());
        let expected = nnz * (2 + bytes) + (CELLS + 1) * 8;
        assert_eq!(json(&run.stdout, "plan")["store_bytes"], expected, "{option}, compressed: {compressed}");
        assert_eq!(run.stderr.contains("changes nothing"), note.is_some(), "{}", run.stderr);
        assert!(note.is_none_or(|note| run.stderr.contains(note)), "{}", run.stderr);
    }
}

#[test]
fn training_on_halves_is_as_good() {
    let place = workplace(&normalised(), true);
    for features in ["genes", "cells"] {
        let error = |option: &str| {
            let out = format!("{features}.{option}.late");
            let options = ["--features", features, "--store-dtype", option, "--epochs", "60", "--out", &out];
            let run = place.succeed(&[TRAIN, &options, &["--json"]].concat());
            json(&run.stdout, "trained")["validation_error"].as_f64().unwrap()
        };
        let (single, half) = (error("f32"), error("f16"));
        assert_ne!(single, half, "{features}: the choice has an effect");
        assert!((half / single - 1.0).abs() < 0.01, "{features}: {half} instead of {single}");
    }
}

#[test]
fn the_choice_is_recorded_and_older_records_are_read() {
    let place = workplace(&normalised(), true);
    let run = place.succeed(&[TRAIN, F16, &["--epochs", "2"]].concat());
    let next = "--input in.h5ad --store-dtype f16 --out imputed.h5ad";
    assert!(run.stdout.contains(next), "{}", run.stdout);
    let text = std::fs::read_to_string(place.path("in.late/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["store_dtype"], "f16");
    config.as_object_mut().unwrap().remove("store_dtype");
    let older: TrainConfig = serde_json::from_value(config).unwrap();
    assert_eq!(older.store_dtype, StoreDtype::F32);
}

#[test]
fn imputing_from_halves_keeps_them() {
    let place = workplace(&normalised(), true);
    place.succeed(&[TRAIN, F16, &["--epochs", "2"]].concat());
    let impute = ["impute", "--model", "in.late", "--input", "in.h5ad", "--out", "out.h5ad"];
    place.succeed(&[&impute, F16].concat());
    let written = common::files::read_plain(&place.path("out.h5ad")).rows;
    for ((cell, gene), value) in expected(&normalised(), to_half) {
        assert_eq!(written[cell][gene], f64::from(value), "cell {cell}, gene {gene}");
    }
}
