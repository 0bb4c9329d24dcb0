//! `late-fast simulate`: what is written is what was asked for, whatever the layout and the number of threads.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::binary::Workplace;
use common::files::{Matrix, read_plain};
use late_fast::matrix::Column;

/// Runs with `out.h5` as the output.
fn simulate(place: &Workplace, cells: usize, genes: usize, more: &[&str]) -> serde_json::Value {
    let (cells, genes) = (cells.to_string(), genes.to_string());
    let arguments = ["simulate", "out.h5", "--json", "--cells", &cells, "--genes", &genes];
    let run = place.succeed(&[&arguments, more].concat());
    serde_json::from_str(&run.stdout).unwrap()
}

/// (barcode, type) of every line.
fn labels(place: &Workplace, name: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(place.path(name)).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("barcode,cell_type"));
    lines.map(|line| line.split_once(',').unwrap()).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

fn texts(column: Option<&Column>) -> Vec<String> {
    match column {
        Some(Column::Strings(values)) => values.clone(),
        Some(Column::Categorical { codes, categories, .. }) => {
            codes.iter().map(|&code| categories[usize::try_from(code).unwrap()].clone()).collect()
        }
        other => panic!("{other:?} are no strings"),
    }
}

fn nnz(matrix: &Matrix) -> usize {
    matrix.rows.iter().flatten().filter(|&&count| count > 0.0).count()
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let names = ["out.h5", "out.labels.csv", "truth.h5ad"];
    let bytes = ["1", "4"].map(|threads| {
        let place = Workplace::new();
        // Several blocks of several tasks each.
        simulate(&place, 1500, 3000, &["--density", "0.3", "--truth", "truth.h5ad", "--threads", threads]);
        assert_eq!(place.listing(), names);
        names.map(|name| std::fs::read(place.path(name)).unwrap())
    });
    for (name, (one, four)) in names.iter().zip(bytes[0].iter().zip(&bytes[1])) {
        assert!(one == four, "{name} depends on the threads");
    }
}

#[test]
fn another_seed_gives_another_matrix() {
    let place = Workplace::new();
    simulate(&place, 50, 40, &[]);
    let first = read_plain(&place.path("out.h5")).rows;
    simulate(&place, 50, 40, &["--seed", "3", "--force"]);
    assert_ne!(read_plain(&place.path("out.h5")).rows, first);
}

#[test]
fn the_density_is_what_was_asked_for() {
    for density in [0.01, 0.072, 0.4, 0.9] {
        let place = Workplace::new();
        let report = simulate(&place, 1000, 2000, &["--density", &density.to_string()]);
        let found = report["density"].as_f64().unwrap();
        assert!((found / density - 1.0).abs() < 0.02, "{found} instead of {density}");
        let matrix = read_plain(&place.path("out.h5"));
        assert_eq!(report["nnz"], nnz(&matrix));
        assert_eq!(report["bytes"], place.path("out.h5").metadata().unwrap().len());
        let counts = || matrix.rows.iter().flatten();
        assert_eq!(report["molecules"].as_f64(), Some(counts().sum()));
        assert_eq!(report["max_count"].as_f64(), counts().copied().reduce(f64::max));
    }
}

#[test]
fn both_layouts_hold_the_same() {
    let place = Workplace::new();
    // Longer than a chunk.
    let report = simulate(&place, 1000, 900, &["--density", "0.2", "--genome", "mm10", "--layout", "v2"]);
    assert!(report["nnz"].as_u64().unwrap() > 160_000);
    let v2 = read_plain(&place.path("out.h5"));
    assert!(v2.source.head().layout.contains("v2 (mm10)"), "{}", v2.source.head().layout);
    simulate(&place, 1000, 900, &["--density", "0.2", "--genome", "mm10", "--force"]);
    let v3 = read_plain(&place.path("out.h5"));
    assert!(v3.source.head().layout.contains("v3"), "{}", v3.source.head().layout);
    assert_eq!(v2.rows, v3.rows);
    assert_eq!(v2.cells(), v3.cells());
    assert_eq!(v2.genes().names, v3.genes().names);
    assert_eq!(v2.genes().ids(), v3.genes().ids());
    assert_eq!(texts(v3.genes().column("genome")), vec!["mm10"; 900]);
    for names in [&v3.cells().names, &v3.genes().ids().unwrap()] {
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "names repeat");
    }
    assert!(v3.cells().names.iter().all(|name| name.len() == 18 && name.ends_with("-1")));
}

#[test]
fn counts_are_poisson_around_the_truth() {
    let place = Workplace::new();
    simulate(&place, 800, 1200, &["--density", "0.15", "--truth", "truth.h5ad"]);
    let counts = read_plain(&place.path("out.h5"));
    let truth = read_plain(&place.path("truth.h5ad"));
    assert_eq!(truth.cells().names, counts.cells().names);
    assert_eq!(truth.genes().names, counts.genes().names);
    // Standardised sums, which are close to normal where enough is expected.
    let check = |what: &str, sums: Vec<(f64, f64)>| {
        let scores: Vec<f64> = sums
            .iter()
            .filter(|&&(_, rate)| rate > 20.0)
            .map(|&(count, rate)| (count - rate) / rate.sqrt())
            .collect();
        let n = scores.len() as f64;
        assert!(n > 300.0, "{what}: {n} with enough molecules");
        let mean = scores.iter().sum::<f64>() / n;
        let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (n - 1.0);
        assert!(mean.abs() < 4.0 / n.sqrt(), "{what}: mean {mean} of {n}");
        assert!((variance - 1.0).abs() < 4.0 * (2.0 / n).sqrt(), "{what}: variance {variance} of {n}");
    };
    let pairs: Vec<Vec<(f64, f64)>> = counts
        .rows
        .iter()
        .zip(&truth.rows)
        .map(|(counts, rates)| counts.iter().copied().zip(rates.iter().copied()).collect())
        .collect();
    let add = |a: (f64, f64), b: &(f64, f64)| (a.0 + b.0, a.1 + b.1);
    check("genes", (0..1200).map(|gene| pairs.iter().map(|row| &row[gene]).fold((0.0, 0.0), add)).collect());
    check("cells", pairs.iter().map(|row| row.iter().fold((0.0, 0.0), add)).collect());
    // Entries for themselves: independent of each other, or their squares would add up to something else.
    check("entries", pairs.concat());
}

#[test]
fn labels_tell_the_cells_apart() {
    let place = Workplace::new();
    let more = ["--cell-types", "3", "--density", "0.3", "--labels", "l.csv", "--truth", "t.h5ad"];
    simulate(&place, 300, 400, &more);
    assert_eq!(place.listing(), ["l.csv", "out.h5", "t.h5ad"]);
    let matrix = read_plain(&place.path("out.h5"));
    let (barcodes, types): (Vec<_>, Vec<_>) = labels(&place, "l.csv").into_iter().unzip();
    assert_eq!(barcodes, matrix.cells().names);
    let truth = read_plain(&place.path("t.h5ad"));
    assert_eq!(texts(truth.cells().column("cell_type")), types);
    let kinds: BTreeSet<&String> = types.iter().collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["type_1", "type_2", "type_3"]);
    // Cells of a type are expected to be closer to each other than to those of other types.
    let shares: Vec<Vec<f64>> = truth
        .rows
        .iter()
        .map(|row| row.iter().map(|rate| (rate / row.iter().sum::<f64>()).sqrt()).collect())
        .collect();
    let mut distance = [(0.0, 0.0); 2];
    for a in 0..300 {
        for b in 0..a {
            let squares: f64 = shares[a].iter().zip(&shares[b]).map(|(a, b)| (a - b).powi(2)).sum();
            let (sum, n) = &mut distance[usize::from(types[a] == types[b])];
            (*sum, *n) = (*sum + squares, *n + 1.0);
        }
    }
    let [other, same] = distance.map(|(sum, n)| sum / n);
    assert!(same < 0.5 * other, "{same} within, {other} between types");
}

#[test]
fn genes_have_a_long_tail() {
    let place = Workplace::new();
    simulate(&place, 3000, 6000, &[]);
    let matrix = read_plain(&place.path("out.h5"));
    let mut cells_of_gene = vec![0_u32; 6000];
    for row in &matrix.rows {
        for (cells, &count) in cells_of_gene.iter_mut().zip(row) {
            *cells += u32::from(count > 0.0);
        }
    }
    let share = |test: &dyn Fn(u32) -> bool| {
        cells_of_gene.iter().filter(|&&cells| test(cells)).count() as f64 / 6000.0
    };
    assert!(share(&|cells| cells <= 3) > 0.05, "rare genes");
    assert!(share(&|cells| cells > 2400) > 0.003, "genes of nearly all cells");
    let totals: Vec<f64> = matrix.rows.iter().map(|row| row.iter().sum()).collect();
    let mean = totals.iter().sum::<f64>() / 3000.0;
    let variation = totals.iter().map(|total| (total / mean - 1.0).powi(2)).sum::<f64>() / 3000.0;
    assert!((0.3..0.9).contains(&variation.sqrt()), "sizes vary by {}", variation.sqrt());
}

#[test]
fn the_smallest_matrices() {
    for layout in ["v2", "v3"] {
        for (cells, genes) in [(0, 5), (1, 1), (5, 1), (1, 5)] {
            let place = Workplace::new();
            let more = ["--layout", layout, "--density", "0.5", "--cell-types", "1", "--truth", "truth.h5ad"];
            simulate(&place, cells, genes, &more);
            let matrix = read_plain(&place.path("out.h5"));
            assert_eq!((matrix.cells().len(), matrix.genes().len()), (cells, genes));
            assert_eq!(matrix.rows.len(), cells);
            assert_eq!(labels(&place, "out.labels.csv").len(), cells);
            assert!(labels(&place, "out.labels.csv").iter().all(|(_, label)| label == "type_1"));
            assert_eq!(read_plain(&place.path("truth.h5ad")).rows.len(), cells);
        }
    }
}

#[test]
fn what_cannot_be_made_is_refused_before_any_work() {
    let place = Workplace::new();
    let fail = |code: i32, more: &[&str], parts: &[&str]| {
        let arguments = ["simulate", "out.h5", "--cells", "50", "--genes", "40"];
        place.fail_with(code, &[&arguments, more].concat(), parts);
    };
    for density in ["0", "1", "-0.1", "nan", "inf"] {
        fail(2, &[&format!("--density={density}")], &["--density", "between 0 and 1"]);
    }
    fail(2, &["--density", "0.9999999999"], &["--density", "cannot be reached", "ask for less"]);
    fail(2, &["--cell-types", "0"], &["--cell-types 0", "from 1"]);
    fail(2, &["--layout", "v4"], &["v4"]);
    for genome in ["", "a/b", "matrix", ".", "two words"] {
        fail(2, &["--genome", genome], &["--genome", "such as mm10"]);
    }
    fail(2, &["--labels", "out.h5"], &["written twice"]);
    fail(2, &["--truth", "./out.labels.csv"], &["written twice"]);
    fail(1, &["--labels", "nowhere/l.csv"], &["nowhere", "No such file"]);
    fail(1, &["--truth", "nowhere/t.h5ad"], &["nowhere", "No such file"]);
    fail(1, &["--memory", "1M"], &["--memory", "1.00 MiB"]);
    std::fs::write(place.path("taken"), "mine").unwrap();
    fail(1, &["--labels", "taken"], &["taken", "--force"]);
    fail(1, &["--truth", "taken"], &["taken", "--force"]);
    assert_eq!(std::fs::read_to_string(place.path("taken")).unwrap(), "mine");

    let big = |cells: &str, genes: &str, more: &[&str], code: i32, parts: &[&str]| {
        let arguments = ["simulate", "out.h5", "--cells", cells, "--genes", genes];
        place.fail_with(code, &[&arguments, more].concat(), parts);
    };
    big("50", "0", &[], 2, &["--genes 0"]);
    big("3000000000", "10", &[], 2, &["--cells 3000000000"]);
    big("20000", "27998", &["--truth", "t.h5ad"], 2, &["--truth", "2.00 GiB is the most"]);
    big("2000000000", "30000", &["--density", "0.5"], 1, &["are free there", "free space"]);
}

/// The file may not grow beyond a limit: writing fails half-way, as on a full disk.
#[test]
fn a_failure_leaves_nothing() {
    let place = Workplace::new();
    let run = place.run_on_small_disk(200, &["simulate", "out.h5", "--cells", "4000", "--genes", "2000"]);
    let error = run.stderr;
    assert_eq!(run.code, Some(1), "{error}");
    assert!(error.contains("out.h5") && error.contains("cannot write"), "{error}");
    assert_eq!(place.listing(), [""; 0]);
}
