//! The number of threads changes no bit of an evaluation, and samples of entries are as large as they are said to be.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::binary::Workplace;
use common::counts::{counts, write_tenx};
use common::evaluation::{Counts, OURS, open_imputed, workplace, write_dense};
use common::files::{Rows, names};
use late_fast::evaluate::{Evaluation, Imputed, ImputedRows, Inputs, Options, Scale, evaluate};
use late_fast::parallel;
use ndarray::Array2;

/// Enough for several tasks in every pass, and for the search of eigenvectors that are not computed all at once.
const CELLS: usize = 400;
const GENES: usize = 600;

/// Entries of the truth that the input has not.
fn is_hidden(cell: usize, gene: i64) -> bool {
    (7 * cell as i64 + gene) % 3 == 0
}

#[expect(clippy::cast_possible_truncation, reason = "counts are small")]
fn large() -> Workplace {
    let place = Workplace::new();
    let truth = counts(CELLS, GENES, 9);
    let input: Rows = truth
        .iter()
        .enumerate()
        .map(|(cell, row)| row.iter().copied().filter(|entry| !is_hidden(cell, entry.0)).collect())
        .collect();
    write_tenx(&place.path("truth.h5"), &truth, GENES);
    write_tenx(&place.path("in.h5"), &input, GENES);
    let mut values = Array2::<f32>::zeros((CELLS, GENES));
    for (cell, row) in truth.iter().enumerate() {
        for gene in 0..GENES {
            values[[cell, gene]] = ((cell % 5 + gene % 7) as f32 * 0.21).sin().abs();
        }
        for &(gene, count) in row {
            values[[cell, usize::try_from(gene).unwrap()]] += (count as f32).ln_1p() * 0.8;
        }
    }
    write_dense(&place.path("ln.h5ad"), &names("cell", CELLS), &names("gene", GENES), &values);
    let labels: String = (0..CELLS).map(|cell| format!("cell{cell},type {}\n", cell % 4)).collect();
    std::fs::write(place.path("labels.csv"), format!("barcode,label\n{labels}")).unwrap();
    place
}

/// Compares what runs of one, two and three threads leave.
fn assert_same(place: &Workplace, command: &[&str], name: &str) {
    for threads in ["1", "2", "3"] {
        place.succeed(&[command, &["--threads", threads, "--out", &format!("{name}{threads}")]].concat());
    }
    for file in ["metrics.json", "genes.csv", "cells.csv", "report.html"] {
        let read = |threads: u8| std::fs::read(place.path(&format!("{name}{threads}/{file}"))).unwrap();
        assert!(read(1) == read(2), "{name}: {file} of 1 and of 2 threads");
        assert!(read(1) == read(3), "{name}: {file} of 1 and of 3 threads");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let place = workplace();
    assert_same(&place, &[OURS, &["--labels", "labels.csv", "--test", "test.h5"]].concat(), "small");
}

#[test]
fn the_number_of_threads_changes_no_bit_of_many_tasks() {
    let place = large();
    let common =
        ["evaluate", "-i", "in.h5", "--truth", "truth.h5", "--test", "truth.h5", "--labels", "labels.csv"];
    let common =
        [&common[..], &["--max-cells", "150", "--components", "20", "--gene-pairs", "gene1:gene2"]].concat();
    assert_same(&place, &[&common[..], &["--imputed", "ln.h5ad", "--imputed-scale", "ln"]].concat(), "ln");
    place.succeed(&[
        "train",
        "--h5",
        "in.h5",
        "--hidden",
        "16,4",
        "--epochs",
        "1",
        "--transform",
        "rpm-log10",
        "--out",
        "run",
        "--impute",
        "rpm.h5ad",
    ]);
    assert_same(&place, &[&common[..], &["--imputed", "rpm.h5ad", "--no-tsne"]].concat(), "rpm");
}

/// Evaluates in this process, with some of the entries ranked.
fn ranked(place: &Workplace, threads: usize, ranked_entries: u64) -> Evaluation {
    let (input, truth) = (Counts::open(place, "in.h5"), Counts::open(place, "truth.h5"));
    let imputed = open_imputed(place, "ln.h5ad", None);
    let rows = ImputedRows::Stream(imputed.as_ref());
    let inputs = Inputs {
        input: input.matrix(),
        truth: Some(truth.matrix()),
        test: None,
        imputed: Imputed { source: imputed.as_ref(), rows, scale: Scale::Ln, record: &[] },
        labels: None,
        run: None,
    };
    let options = Options { ranked_entries, tsne: false, max_cells: 50, ..Options::default() };
    parallel::with_threads(threads, || evaluate(&inputs, &options, &|_, _, _| {})).unwrap().unwrap()
}

#[test]
fn ranked_entries_are_as_many_as_allowed_and_the_same_for_any_number_of_threads() {
    let place = large();
    // An input that has nothing of the truth: joint entries are those of both.
    let truth = counts(CELLS, GENES, 9);
    let split = |of_input: bool| -> Rows {
        let row = |(cell, row): (usize, &Vec<(i64, f64)>)| {
            row.iter().copied().filter(|entry| ((cell as i64 + entry.0) % 4 < 2) == of_input).collect()
        };
        truth.iter().enumerate().map(row).collect()
    };
    write_tenx(&place.path("in.h5"), &split(true), GENES);
    write_tenx(&place.path("truth.h5"), &split(false), GENES);
    let all: u64 = truth.iter().map(|row| row.len() as u64).sum();
    let n = |found: &Evaluation| {
        let entries = &found.metrics.entries;
        entries.imputed.spearman_pairs + entries.observed.spearman_pairs
    };
    for (allowed, least, most) in
        [(all, all, all), (all * 3 / 4, all * 73 / 100, all * 77 / 100), (20_000, 19_000, 21_000)]
    {
        let found = ranked(&place, 1, allowed);
        assert!((least..=most).contains(&n(&found)), "{} of {all} for {allowed}", n(&found));
        let other = ranked(&place, 3, allowed);
        let metrics = |found: &Evaluation| serde_json::to_string(&found.metrics).unwrap();
        assert_eq!(metrics(&found), metrics(&other));
        assert_eq!(format!("{:?}", found.report), format!("{:?}", other.report));
    }
}
