//! `--cache DIR`: unpacked matrices that are kept for later runs. And unpacking in one pass, whatever was guessed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::PathBuf;

use common::anndata::{axes, write_h5ad};
use common::binary::{Run, Workplace};
use common::counts::counts;
use common::files::Rows;
use late_fast::io::{Dtype, ReadOptions, open};
use late_fast::matrix::Major;
use late_fast::store::{RowEntries, Store, StoreDtype, Storing, prepare, unpack};

const GENES: usize = 120;

fn workplace() -> Workplace {
    let place = Workplace::new();
    write_h5ad(
        &place.path("in.h5"),
        &axes(200, GENES),
        &counts(200, GENES, 1),
        Major::Cells,
        Dtype::I32,
        true,
    );
    place
}

fn train(place: &Workplace, more: &[&str]) -> (Run, Vec<u8>) {
    let base =
        ["train", "--h5", "in.h5", "--hidden", "24,6", "--epochs", "3", "--out", "run.late", "--force"];
    let run = place.succeed(&[&base[..], more].concat());
    (run, std::fs::read(place.path("run.late/model.safetensors")).unwrap())
}

fn kept(place: &Workplace) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(place.path("cache")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_second_run_reuses_the_stores_and_gives_the_same_bits() {
    let place = workplace();
    for (features, n_kept) in [("genes", 1), ("cells", 2)] {
        let (_, expected) = train(&place, &["--features", features]);
        let with_cache = ["--features", features, "--cache", "cache"];
        let (_, first) = train(&place, &with_cache);
        let files = kept(&place);
        assert_eq!(files.len(), n_kept, "{files:?}");
        let (second, reused) = train(&place, &with_cache);
        assert_eq!(second.stderr.matches("reusing").count(), n_kept, "{}", second.stderr);
        assert!(expected == first && first == reused, "{features}: the models differ");
        assert_eq!(kept(&place), files);
    }
}

#[test]
fn what_a_store_depends_on_tells_stores_apart() {
    let place = workplace();
    std::fs::create_dir(place.path("cache")).unwrap();
    let is_reused =
        |more: &[&str]| train(&place, &[&["--cache", "cache"], more].concat()).0.stderr.contains("reusing");
    assert!(!is_reused(&[]));
    assert!(!is_reused(&["--store-dtype", "f16"]));
    assert!(is_reused(&["--store-dtype", "f16"]));
    assert!(!is_reused(&["--layer", "X"]));
    write_h5ad(
        &place.path("in.h5"),
        &axes(200, GENES),
        &counts(200, GENES, 2),
        Major::Cells,
        Dtype::I32,
        true,
    );
    assert!(!is_reused(&[]));
    assert!(is_reused(&["--seed", "9"]));
    assert_eq!(kept(&place).len(), 4);
}

#[test]
fn a_damaged_store_is_made_again() {
    let place = workplace();
    std::fs::create_dir(place.path("cache")).unwrap();
    let cache = ["--features", "cells", "--cache", "cache"];
    let (_, expected) = train(&place, &cache);
    for file in kept(&place) {
        let sound = std::fs::read(&file).unwrap();
        let zeroed =
            [&sound[..sound.len() / 4], &vec![0; sound.len() / 2][..], &sound[sound.len() * 3 / 4..]];
        let foreign = std::fs::read(place.path("in.h5")).unwrap();
        for damaged in [&sound[..sound.len() / 2], &sound[..sound.len() - 1], &zeroed.concat(), &foreign, b""]
        {
            std::fs::write(&file, damaged).unwrap();
            let (run, model) = train(&place, &cache);
            assert!(run.stderr.contains("damaged and made again"), "{}", run.stderr);
            assert!(model == expected);
            let (run, _) = train(&place, &cache);
            assert_eq!(run.stderr.matches("reusing").count(), 2, "{}", run.stderr);
        }
    }
}

#[test]
fn runs_at_the_same_time_do_not_disturb_each_other() {
    let place = workplace();
    std::fs::create_dir(place.path("cache")).unwrap();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let place = &place;
            scope.spawn(move || {
                let out = format!("{number}.late");
                let run = ["train", "--h5", "in.h5", "--hidden", "9", "--epochs", "2", "--features", "cells"];
                place.succeed(&[&run[..], &["--cache", "cache", "--out", &out]].concat());
            });
        }
    });
    assert_eq!(kept(&place).len(), 2);
    let model = |number| std::fs::read(place.path(&format!("{number}.late/model.safetensors"))).unwrap();
    assert!((1..4).all(|number| model(number) == model(0)));
}

/// Rows of `n` entries; the values by position.
fn rows_of(n_rows: usize, n: i64, value: impl Fn(i64) -> f64) -> Rows {
    let row = |row: i64| (0..n).map(|k| (k * 2 + row % 2, value(row * n + k))).collect();
    (0..i64::try_from(n_rows).unwrap()).map(row).collect()
}

fn entries(store: &Store) -> Vec<(usize, usize, f32)> {
    let mut found = Vec::new();
    for row in 0..store.n_rows() {
        let mut entries = RowEntries::default();
        store.read_row(row, &mut entries).unwrap();
        assert!(entries.indices.is_sorted());
        let pairs = entries.indices.iter().zip(&entries.values);
        found.extend(pairs.map(|(&column, &value)| (row, column as usize, value)));
    }
    found
}

/// The sample of the values takes spans from all over the file; between them it sees nothing.
const N_ROWS: usize = 2000;
const ROW_ENTRIES: i64 = 1500;
const HIDDEN: i64 = 2_999_990;

#[test]
fn the_smallest_type_is_found_whatever_the_sample_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.h5ad");
    for (dtype, odd, n_bytes) in [
        (Dtype::I32, 255.0, 1),
        (Dtype::I32, 256.0, 2),
        (Dtype::I64, 65_536.0, 4),
        (Dtype::I64, 5e9, 4),
        (Dtype::F32, 3.0, 1),
        (Dtype::F32, 300.0, 2),
        (Dtype::F64, 0.5, 4),
        (Dtype::I32, 0.0, 1),
    ] {
        // The second last entry, and one in the middle that is between two spans of the sample.
        let value = |k: i64| if k == HIDDEN || k == 1_525_000 { odd } else { (k % 7 + 1) as f64 };
        let rows = rows_of(N_ROWS, ROW_ENTRIES, value);
        let n_genes = usize::try_from(ROW_ENTRIES * 2).unwrap();
        write_h5ad(&path, &axes(rows.len(), n_genes), &rows, Major::Cells, dtype, true);
        let source = open(&path, &ReadOptions::default()).unwrap();
        let wanted = [Major::Cells, Major::Genes];
        let storing = Storing { dir: dir.path(), wanted: &wanted, memory: 1 << 30, cache: None };
        let native = unpack(source.as_ref(), StoreDtype::F32, &storing, &|_, _| ()).unwrap();
        let summary = native.summary();
        let expected: Vec<(usize, usize, f32)> = rows
            .iter()
            .enumerate()
            .flat_map(|(cell, row)| row.iter().map(move |&(gene, value)| (cell, gene, value)))
            .filter(|&(_, _, value)| value != 0.0)
            .map(|(cell, gene, value)| {
                #[expect(clippy::cast_possible_truncation, reason = "the store holds f32")]
                (cell, usize::try_from(gene).unwrap(), value as f32)
            })
            .collect();
        assert_eq!(summary.tally.nnz, expected.len() as u64);
        let offsets = (N_ROWS as u64 + 1) * 8;
        assert_eq!(summary.store_bytes(), expected.len() as u64 * (2 + n_bytes) + offsets, "{dtype} {odd}");
        let sums: Vec<f64> = rows.iter().map(|row| row.iter().map(|&(_, value)| value).sum()).collect();
        assert!(summary.cell_sums == sums, "{dtype} {odd}: cell sums");
        assert!(entries(&native) == expected, "{dtype} {odd}");
        let prepared = prepare(source.as_ref(), native, &storing, &|_, _| ()).unwrap();
        let mut transposed = entries(prepared.with_rows(Major::Genes).unwrap());
        for entry in &mut transposed {
            *entry = (entry.1, entry.0, entry.2);
        }
        transposed.sort_by_key(|&(cell, gene, _)| (cell, gene));
        assert!(transposed == expected, "{dtype} {odd}: transposed");
    }
}
