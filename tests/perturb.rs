//! `late-fast mask`, `downsample` and `split`: exact numbers, the same bits however the work is cut, and nothing lost.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::anndata::write_h5ad;
use common::binary::Workplace;
use common::content::content;
use common::counts::{counts, unlocked, write_tenx};
use common::files::{Rows, names, read, read_plain, write, write_arrays, write_texts};
use late_fast::hdf::HdfFile;
use late_fast::io::{Dtype, ReadOptions, open};
use late_fast::matrix::{Axis, Column, Major};
use late_fast::perturb::{
    Amount, DownsampleOptions, Keep, MaskOptions, Setup, SplitOptions, downsample, mask, split,
};
use late_fast::store::{Prepared, StoreDtype, Storing, prepare, unpack};

const CELLS: usize = 120;
const GENES: usize = 60;
/// A cell and a gene without entries.
const EMPTY_CELL: usize = 17;
const EMPTY_GENE: i64 = 23;

type Dense = Vec<Vec<f64>>;

/// Counts with an empty cell, an empty gene, and a few that are large.
fn rows() -> Rows {
    let mut rows = counts(CELLS, GENES, 5);
    rows[EMPTY_CELL].clear();
    for row in &mut rows {
        row.retain(|&(gene, _)| gene != EMPTY_GENE);
        row.iter_mut().filter(|(gene, _)| gene % 10 == 0).for_each(|(_, count)| *count *= 40.0);
    }
    rows
}

fn dense(rows: &Rows, n_genes: usize) -> Dense {
    let fill = |row: &Vec<(i64, f64)>| {
        let mut dense = vec![0.0; n_genes];
        row.iter().for_each(|&(gene, count)| dense[usize::try_from(gene).unwrap()] = count);
        dense
    };
    rows.iter().map(fill).collect()
}

fn observed(matrix: &Dense) -> usize {
    matrix.iter().flatten().filter(|&&count| count > 0.0).count()
}

fn total(matrix: &Dense) -> f64 {
    matrix.iter().flatten().sum()
}

fn transpose(rows: &Rows, n_columns: usize) -> Rows {
    let mut columns = vec![Vec::new(); n_columns];
    for (row, entries) in (0..).zip(rows) {
        entries.iter().for_each(|&(gene, count)| columns[usize::try_from(gene).unwrap()].push((row, count)));
    }
    columns
}

/// Cells with columns of several kinds.
fn cells(n: usize) -> Axis {
    let codes = (0..i32::try_from(n).unwrap()).map(|cell| cell % 3 - 1).collect();
    let categories = vec!["B cell".to_owned(), "T cell".to_owned()];
    let columns = vec![
        ("cell_type".to_owned(), Column::Categorical { codes, categories, ordered: false }),
        ("score".to_owned(), Column::Floats((0..n).map(|cell| cell as f64 / 7.0).collect())),
        ("batch".to_owned(), Column::Integers((0..n).map(|cell| cell as i64 % 4).collect())),
    ];
    Axis { names: names("cell", n), columns }
}

fn genes(n: usize) -> Axis {
    let columns = vec![
        ("gene_ids".to_owned(), Column::Strings(names("id", n))),
        ("genome".to_owned(), Column::Strings(vec!["toy".to_owned(); n])),
        ("highly_variable".to_owned(), Column::Booleans((0..n).map(|gene| gene % 2 == 0).collect())),
    ];
    Axis { names: names("gene", n), columns }
}

/// Writes cells and genes with columns.
fn write_by(path: &Path, rows: &Rows, n_genes: usize, major: Major, data: Dtype) {
    let stored = if major == Major::Cells { rows.clone() } else { transpose(rows, n_genes) };
    write_h5ad(path, &[cells(rows.len()), genes(n_genes)], &stored, major, data, true);
}

/// The same matrix as 10x v3, v2, and h5ad by cells and by genes.
const INPUTS: [&str; 4] = ["v3.h5", "v2.h5", "csr.h5ad", "csc.h5ad"];

fn inputs() -> (Workplace, Dense) {
    let (place, rows) = (Workplace::new(), rows());
    write_tenx(&place.path("v3.h5"), &rows, GENES);
    let file = unlocked().create(place.path("v2.h5")).unwrap();
    let group = file.create_group("toy").unwrap();
    write_arrays(&group, &rows);
    write(&group, "shape", &[60_i32, 120]);
    write_texts(&group, "barcodes", &names("cell", CELLS));
    write_texts(&group, "genes", &names("id", GENES));
    write_texts(&group, "gene_names", &names("gene", GENES));
    file.close().unwrap();
    write_by(&place.path("csr.h5ad"), &rows, GENES, Major::Cells, Dtype::F32);
    write_by(&place.path("csc.h5ad"), &rows, GENES, Major::Genes, Dtype::F32);
    (place, dense(&rows, GENES))
}

fn layer(place: &Workplace, name: &str, layer: &str) -> Dense {
    let options = ReadOptions { layer: Some(layer.to_owned()), ..ReadOptions::default() };
    read(&place.path(name), &options).unwrap().rows
}

fn matrix(place: &Workplace, name: &str) -> Dense {
    read_plain(&place.path(name)).rows
}

fn json(place: &Workplace, arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&place.succeed(&[arguments, &["--json"]].concat()).stdout).unwrap()
}

/// Every layout into both formats: the same values, names, ids and genome, and in h5ad the columns of cells.
#[test]
fn every_layout_gives_the_same_in_both_formats() {
    let (place, truth) = inputs();
    for (command, amount) in [
        ("mask", ["--density", "0.2"]),
        ("downsample", ["--per-cell", "60"]),
        ("split", ["--fraction", "0.7"]),
    ] {
        let mut found: Option<Dense> = None;
        for input in INPUTS {
            for extension in ["h5", "h5ad"] {
                let [out, test] = ["out", "test"].map(|name| format!("{command}.{input}.{name}.{extension}"));
                let outputs = match command {
                    "split" => vec!["--train", &out, "--test", &test],
                    _ => vec!["--out", &out],
                };
                place.succeed(&[&[command, "--input", input][..], &amount, &outputs].concat());
                let read = read_plain(&place.path(&out));
                assert_eq!(&read.rows, found.get_or_insert_with(|| read.rows.clone()), "{out}");
                assert_eq!(read.cells().names, names("cell", CELLS), "{out}");
                assert_eq!(read.genes().names, names("gene", GENES), "{out}");
                assert_eq!(read.genes().ids(), Some(names("id", GENES)), "{out}");
                assert_eq!(read.genes().texts("genome"), Some(vec!["toy".to_owned(); GENES]), "{out}");
                if extension == "h5" {
                    assert!(read.source.head().layout.contains("v3"), "{}", read.source.head().layout);
                } else if input.ends_with("h5ad") {
                    let cells = cells(CELLS);
                    assert_eq!(read.cells(), &cells, "{out}");
                    let flags = genes(GENES).columns.pop().unwrap().1;
                    assert_eq!(read.genes().column("highly_variable"), Some(&flags), "{out}");
                }
            }
        }
        assert_ne!(found.unwrap(), truth, "{command} changed nothing");
    }
}

#[test]
fn the_density_is_exact_and_what_stays_is_unchanged() {
    let (place, truth) = inputs();
    let elements = (CELLS * GENES) as f64;
    let all = observed(&truth);
    for density in ["0", "0.0001", "0.1", "0.1234", "0.2"] {
        let arguments = ["mask", "--input", "v3.h5", "--out", "out.h5ad", "--density", density, "--force"];
        let report = json(&place, &arguments);
        let masked = matrix(&place, "out.h5ad");
        let expected = (density.parse::<f64>().unwrap() * elements).round();
        assert_eq!(observed(&masked) as f64, expected, "{density}");
        assert_eq!(report["nnz"], observed(&masked));
        assert_eq!(report["hidden"], all - observed(&masked));
        assert_eq!(report["density"].as_f64(), Some(expected / elements));
        let hidden = layer(&place, "out.h5ad", "masked");
        assert_eq!(layer(&place, "out.h5ad", "truth"), truth);
        for (cell, row) in masked.iter().enumerate() {
            for (gene, &value) in row.iter().enumerate() {
                assert!(value == 0.0 || value == truth[cell][gene], "cell {cell}, gene {gene}: {value}");
                let is_hidden = truth[cell][gene] > 0.0 && value == 0.0;
                assert_eq!(hidden[cell][gene], f64::from(u8::from(is_hidden)), "cell {cell}, gene {gene}");
            }
        }
        let empty = |matrix: &Dense| matrix.iter().filter(|row| row.iter().all(|&x| x == 0.0)).count();
        assert_eq!(report["emptied_cells"], empty(&masked) - 1, "{density}");
    }
    let arguments = ["mask", "--input", "v3.h5", "--out", "out.h5ad", "--keep", "0.5", "--force"];
    assert_eq!(json(&place, &arguments)["nnz"], all.div_ceil(2), "halves are rounded up");
    let arguments = ["mask", "--input", "v3.h5", "--out", "out.h5", "--keep", "1"];
    let run = place.succeed(&arguments);
    assert_eq!(matrix(&place, "out.h5"), truth);
    assert!(run.stdout.contains("the truth is the input itself: v3.h5"), "{}", run.stdout);
    let arguments = ["mask", "--input", "v3.h5", "--out", "o.h5ad", "--keep", "0.3", "--no-truth"];
    place.succeed(&arguments);
    assert!(!content(&place.path("o.h5ad")).iter().any(|line| line.starts_with("/layers")));
    place.fail_with(
        2,
        &["mask", "--input", "v3.h5", "--out", "dense.h5", "--density", "0.9"],
        &["--density 0.9 is 6480 entries", &format!("the input has {all}"), "a density of 0.", "lower"],
    );
}

/// A gene loses entries in proportion to those it has, and so does a cell.
#[test]
fn every_entry_is_as_likely_to_be_hidden() {
    let place = Workplace::new();
    let (n_cells, n_genes, keep) = (2000, 150, 0.3);
    let rows = counts(n_cells, n_genes, 11);
    write_tenx(&place.path("in.h5"), &rows, n_genes);
    place.succeed(&["mask", "--input", "in.h5", "--out", "out.h5", "--keep", "0.3"]);
    let (truth, masked) = (dense(&rows, n_genes), matrix(&place, "out.h5"));
    let check = |what: &str, pairs: Vec<(f64, f64)>| {
        let squares: f64 =
            pairs.iter().map(|&(kept, had)| (kept - keep * had).powi(2) / (had * keep * (1.0 - keep))).sum();
        let n = pairs.len() as f64;
        assert!((squares - n).abs() < 5.0 * (2.0 * n).sqrt(), "{what}: chi-square {squares} of {n}");
    };
    let present = |x: &f64| f64::from(u8::from(*x > 0.0));
    let count = |row: &Vec<f64>| row.iter().map(present).sum::<f64>();
    let gene = |matrix: &Dense, gene: usize| matrix.iter().map(|row| present(&row[gene])).sum::<f64>();
    check("genes", (0..n_genes).map(|g| (gene(&masked, g), gene(&truth, g))).collect());
    check("cells", masked.iter().zip(&truth).map(|(kept, had)| (count(kept), count(had))).collect());
    // Neighbours do not share their fate.
    let mut pairs = [0.0; 4];
    for (kept, had) in masked.iter().zip(&truth) {
        let fates: Vec<usize> = kept
            .iter()
            .zip(had)
            .filter(|&(_, &had)| had > 0.0)
            .map(|(&kept, _)| usize::from(kept > 0.0))
            .collect();
        fates.windows(2).for_each(|pair| pairs[2 * pair[0] + pair[1]] += 1.0);
    }
    let n: f64 = pairs.iter().sum();
    let both = n * keep * keep;
    assert!((pairs[3] - both).abs() < 5.0 * both.sqrt(), "{pairs:?}");
}

#[test]
fn a_lower_density_keeps_entries_of_a_higher_and_another_seed_others() {
    let (place, _) = inputs();
    let run = |keep: &str, seed: &str| {
        place.succeed(&[
            "mask", "--input", "csr.h5ad", "--out", "out.h5", "--force", "--keep", keep, "--seed", seed,
        ]);
        matrix(&place, "out.h5")
    };
    let (more, fewer, other) = (run("0.6", "1"), run("0.2", "1"), run("0.2", "2"));
    assert!(fewer.iter().flatten().zip(more.iter().flatten()).all(|(a, b)| *a == 0.0 || a == b));
    assert_ne!(fewer, other);
    for command in [&["downsample", "--fraction", "0.5"], &["downsample", "--per-cell", "50"]] {
        let seeded = |seed: &str| {
            let rest = ["--input", "csr.h5ad", "--out", "out.h5", "--force", "--seed", seed];
            place.succeed(&[&command[..], &rest].concat());
            matrix(&place, "out.h5")
        };
        assert_eq!(seeded("1"), seeded("1"));
        assert_ne!(seeded("1"), seeded("2"));
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let place = Workplace::new();
    // Several blocks of several tasks each.
    let size = ["--cells", "3000", "--genes", "2000", "--density", "0.25"];
    place.succeed(&[&["simulate", "in.h5"][..], &size].concat());
    for (arguments, names) in [
        (vec!["mask", "--out", "a.h5ad", "--density", "0.1"], vec!["a.h5ad"]),
        (vec!["mask", "--out", "a.h5", "--density", "0.1"], vec!["a.h5"]),
        (vec!["downsample", "--out", "b.h5", "--fraction", "0.3"], vec!["b.h5"]),
        (vec!["downsample", "--out", "c.h5", "--per-cell", "300"], vec!["c.h5"]),
        (vec!["downsample", "--out", "d.h5", "--total", "100000"], vec!["d.h5"]),
        (vec!["split", "--train", "e.h5", "--test", "f.h5ad"], vec!["e.h5", "f.h5ad"]),
    ] {
        let bytes = ["1", "2", "4"].map(|threads| {
            let rest = ["--input", "in.h5", "--threads", threads, "--force"];
            place.succeed(&[&arguments[..], &rest].concat());
            names.iter().map(|name| std::fs::read(place.path(name)).unwrap()).collect::<Vec<_>>()
        });
        assert!(bytes[0] == bytes[1] && bytes[0] == bytes[2], "{arguments:?} depend on the threads");
    }
}

/// The library with blocks of one entry, of some, and of all.
#[test]
fn the_result_does_not_depend_on_the_blocks() {
    let (place, _) = inputs();
    let dir = place.path("");
    let storing = Storing { dir: &dir, wanted: &[Major::Cells], memory: 1 << 30, cache: None };
    let source = open(&place.path("csc.h5ad"), &ReadOptions::default()).unwrap();
    let native = unpack(source.as_ref(), StoreDtype::F32, &storing, &|_, _| ()).unwrap();
    let prepared: Prepared = prepare(source.as_ref(), native, &storing, &|_, _| ()).unwrap();
    let silent = &|_: &'static str, _: u64| ();
    let results = [1, 7, 100, 1 << 20].map(|block_entries| {
        let path = |name: &str| place.path(&format!("{name}.{block_entries}.h5ad"));
        let keep = Keep::Density(0.15);
        let setup = Setup { seed: 3, block_entries, ..Setup::default() };
        let options = MaskOptions { keep, truth: true, setup: setup.clone() };
        mask(source.as_ref(), &prepared, &options, &path("mask"), silent).unwrap();
        for (name, amount) in [("fraction", Amount::Fraction(0.4)), ("total", Amount::Total(999))] {
            let options = DownsampleOptions { amount, setup: setup.clone() };
            downsample(source.as_ref(), &prepared, &options, &path(name), silent).unwrap();
        }
        let options = SplitOptions { setup, ..SplitOptions::default() };
        let outputs = [&*path("train"), &*path("test")];
        split(source.as_ref(), &prepared, &options, outputs, silent).unwrap();
        ["mask", "fraction", "total", "train", "test"].map(|name| content(&path(name)))
    });
    for other in &results[1..] {
        assert_eq!(other, &results[0]);
    }
}

#[test]
fn both_parts_of_a_split_add_up() {
    let (place, truth) = inputs();
    for (fraction, p) in [(&[][..], 0.9), (&["--fraction", "0.5"], 0.5), (&["--fraction", "0.01"], 0.01)] {
        let arguments = ["split", "--input", "csc.h5ad", "--train", "a.h5", "--test", "b.h5ad", "--force"];
        let report = json(&place, &[&arguments[..], fraction].concat());
        let (train, test) = (matrix(&place, "a.h5"), matrix(&place, "b.h5ad"));
        let sum = |a: &Vec<f64>, b: &Vec<f64>| a.iter().zip(b).map(|(a, b)| a + b).collect();
        let sums: Dense = train.iter().zip(&test).map(|(a, b)| sum(a, b)).collect();
        assert_eq!(sums, truth, "{fraction:?}");
        let n = total(&truth);
        let (mean, deviation) = (n * p, (n * p * (1.0 - p)).sqrt());
        assert!((total(&train) - mean).abs() < 5.0 * deviation, "{fraction:?}: {}", total(&train));
        assert_eq!(report["train"]["molecules"].as_f64(), Some(total(&train)));
        assert_eq!(report["test"]["molecules"].as_f64(), Some(total(&test)));
        assert_eq!(report["test"]["nnz"], observed(&test));
    }
}

#[test]
fn thinning_keeps_the_share_that_was_asked_for() {
    let (place, truth) = inputs();
    let n = total(&truth);
    for fraction in ["0", "0.05", "0.5", "0.97", "1"] {
        let arguments =
            ["downsample", "--input", "v2.h5", "--out", "out.h5", "--force", "--fraction", fraction];
        let report = json(&place, &arguments);
        let thin = matrix(&place, "out.h5");
        assert!(thin.iter().flatten().zip(truth.iter().flatten()).all(|(left, had)| left <= had));
        let p: f64 = fraction.parse().unwrap();
        let deviation = (n * p * (1.0 - p)).sqrt();
        assert!((total(&thin) - n * p).abs() <= 5.0 * deviation, "{fraction}: {} of {n}", total(&thin));
        assert_eq!(report["molecules"].as_f64(), Some(total(&thin)));
        assert_eq!(report["input_molecules"].as_f64(), Some(n));
    }
}

#[test]
fn numbers_of_molecules_are_exact() {
    let (place, truth) = inputs();
    let sums = |matrix: &Dense| matrix.iter().map(|row| row.iter().sum()).collect::<Vec<f64>>();
    for per_cell in [0_u32, 1, 60, 200, 100_000] {
        let n = per_cell.to_string();
        let arguments =
            ["downsample", "--input", "csr.h5ad", "--out", "out.h5ad", "--force", "--per-cell", &n];
        let report = json(&place, &arguments);
        let thin = matrix(&place, "out.h5ad");
        let n = f64::from(per_cell);
        let expected: Vec<f64> = sums(&truth).iter().map(|&had| had.min(n)).collect();
        assert_eq!(sums(&thin), expected);
        assert!(thin.iter().flatten().zip(truth.iter().flatten()).all(|(left, had)| left <= had));
        for (thin, truth) in thin.iter().zip(&truth) {
            assert!(truth.iter().sum::<f64>() > n || thin == truth, "a smaller cell was changed");
        }
        let smaller = sums(&truth).iter().filter(|&&had| had < n).count();
        assert_eq!(report["smaller_cells"], smaller);
    }
    let all = total(&truth);
    for n in [0.0, 1.0, 500.0, all - 1.0, all] {
        let n = n.to_string();
        let arguments = ["downsample", "--input", "csr.h5ad", "--out", "out.h5ad", "--force", "--total", &n];
        assert_eq!(json(&place, &arguments)["molecules"].to_string(), n);
        assert_eq!(total(&matrix(&place, "out.h5ad")).to_string(), n);
    }
    let more = (all + 1.0).to_string();
    place.fail_with(
        2,
        &["downsample", "--input", "csr.h5ad", "--out", "new.h5", "--total", &more],
        &["--total", &format!("the {all} molecules of the input"), "lower"],
    );
}

/// 32-bit numbers have no place for these counts.
#[test]
fn large_counts_stay_exact() {
    let place = Workplace::new();
    let large = 16_777_217.0;
    let rows = vec![vec![(0, large), (1, 3.0)], vec![(1, large + 2.0), (2, 1.0)]];
    write_by(&place.path("in.h5ad"), &rows, 3, Major::Cells, Dtype::I64);
    let truth = dense(&rows, 3);
    for extension in ["h5", "h5ad"] {
        let [a, b, c] = ["a", "b", "c"].map(|name| format!("{name}.{extension}"));
        place.succeed(&["split", "--input", "in.h5ad", "--train", &a, "--test", &b]);
        for ((a, b), truth) in matrix(&place, &a).iter().zip(matrix(&place, &b)).zip(&truth) {
            assert!(a.iter().zip(&b).zip(truth).all(|((a, b), truth)| a + b == *truth), "{a:?} {b:?}");
        }
        place.succeed(&["mask", "--input", "in.h5ad", "--out", &c, "--keep", "1"]);
        assert_eq!(matrix(&place, &c), truth);
    }
}

#[test]
fn real_values_can_be_masked_and_nothing_else() {
    let place = Workplace::new();
    let mut rows = rows();
    rows.iter_mut().flatten().for_each(|(_, value)| *value += 0.25);
    write_by(&place.path("in.h5ad"), &rows, GENES, Major::Genes, Dtype::F32);
    let truth = dense(&rows, GENES);
    place.succeed(&["mask", "--input", "in.h5ad", "--out", "out.h5ad", "--density", "0.1"]);
    let masked = matrix(&place, "out.h5ad");
    assert_eq!(observed(&masked), CELLS * GENES / 10);
    assert!(masked.iter().flatten().zip(truth.iter().flatten()).all(|(a, b)| *a == 0.0 || a == b));
    assert_eq!(layer(&place, "out.h5ad", "truth"), truth);
    let whole = |x: &f64| x.fract() == 0.0;
    let cell = truth.iter().position(|row| !row.iter().all(whole)).unwrap();
    let gene = truth[cell].iter().position(|x| !whole(x)).unwrap();
    let place_of = format!("cell \"cell{cell}\" (index {cell}), gene \"gene{gene}\" (index {gene})");
    let value = truth[cell][gene].to_string();
    place.fail(
        &["mask", "--input", "in.h5ad", "--out", "out.h5", "--density", "0.1"],
        &["in.h5ad", &place_of, "10x files", &value, "ends in .h5ad"],
    );
    for command in [
        &["downsample", "--out", "new.h5ad", "--fraction", "0.5"][..],
        &["split", "--train", "a.h5", "--test", "b.h5"],
    ] {
        let arguments = [command, &["--input", "in.h5ad"]].concat();
        place.fail(&arguments, &["in.h5ad", &place_of, "whole number of molecules", &value, "--layer"]);
    }
}

#[test]
fn the_smallest_matrices() {
    for (n_cells, n_genes) in [(1, 5), (1, 1), (3, 1)] {
        let place = Workplace::new();
        let rows: Rows = vec![vec![(0, 2.0)]; n_cells];
        write_tenx(&place.path("in.h5"), &rows, n_genes);
        for extension in ["h5", "h5ad"] {
            let [a, b] = ["a", "b"].map(|name| format!("{name}.{extension}"));
            for command in [
                &["mask", "--out", &a, "--keep", "1"][..],
                &["mask", "--out", &a, "--density", "0"],
                &["downsample", "--out", &a, "--per-cell", "1"],
                &["downsample", "--out", &a, "--total", "0"],
                &["split", "--train", &a, "--test", &b],
            ] {
                place.succeed(&[command, &["--input", "in.h5", "--force"]].concat());
                let read = read_plain(&place.path(&a));
                assert_eq!((read.cells().len(), read.genes().len()), (n_cells, n_genes), "{command:?}");
            }
        }
    }
}

#[test]
fn files_tell_how_they_were_made() {
    let (place, _) = inputs();
    let arguments = ["mask", "--input", "csr.h5ad", "--out", "m.h5ad", "--density", "0.125", "--seed", "7"];
    place.succeed(&[&arguments[..], &["--layer", "X"]].concat());
    place.succeed(&["downsample", "--input", "csr.h5ad", "--out", "d.h5", "--per-cell", "9", "--seed", "7"]);
    let file = HdfFile::open(&place.path("m.h5ad")).unwrap();
    let text = |name: &str| file.strings(&format!("uns/late_fast/{name}"), &mut Vec::new()).unwrap();
    for (name, expected) in [
        ("command", "mask"),
        ("input", "csr.h5ad"),
        ("density", "0.125"),
        ("selection", "--layer X"),
        ("version", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(text(name), [expected]);
    }
    let about = content(&place.path("m.h5ad"));
    assert!(
        about.iter().any(|line| line.starts_with("/uns/late_fast/seed") && line.contains("[7]")),
        "{about:?}"
    );
    let expected =
        format!("late-fast {} downsample of csr.h5ad, per_cell 9, seed 7", env!("CARGO_PKG_VERSION"));
    let about = content(&place.path("d.h5"));
    assert!(about.iter().any(|line| line.contains(&expected)), "{about:?}");
}

/// What a 10x file has no place for is said; features that are no genes keep their type.
#[test]
fn nothing_is_lost_without_a_word() {
    let place = Workplace::new();
    write_by(&place.path("in.h5ad"), &rows(), GENES, Major::Cells, Dtype::F32);
    let file = unlocked().open_rw(place.path("in.h5ad")).unwrap();
    let mut types = vec!["Gene Expression".to_owned(); GENES];
    types[GENES - 1] = "Antibody Capture".to_owned();
    write_texts(&file.group("var").unwrap(), "feature_types", &types);
    let order = file.group("var").unwrap();
    order.delete_attr("column-order").unwrap();
    let columns = common::files::texts(&["gene_ids", "genome", "feature_types"]);
    let attribute = order.new_attr::<hdf5::types::VarLenUnicode>().shape([3]).create("column-order").unwrap();
    attribute.write_raw(&columns).unwrap();
    drop((attribute, order));
    file.close().unwrap();
    let run = place.succeed(&["mask", "--input", "in.h5ad", "--out", "out.h5", "--keep", "1"]);
    assert!(run.stderr.contains("columns of cells (cell_type, score, batch)"), "{}", run.stderr);
    let read = HdfFile::open(&place.path("out.h5")).unwrap();
    assert_eq!(read.strings("matrix/features/feature_type", &mut Vec::new()).unwrap(), types);
}

#[test]
fn what_cannot_be_made_is_refused() {
    let (place, _) = inputs();
    std::fs::write(place.path("taken.h5"), "mine").unwrap();
    let fail = |code: i32, command: &[&str], parts: &[&str]| {
        place.fail_with(code, &[command, &["--input", "v3.h5"]].concat(), parts);
    };
    for density in ["-0.1", "1.1", "nan"] {
        fail(2, &["mask", "--out", "o.h5", &format!("--density={density}")], &["--density", "from 0 to 1"]);
        fail(2, &["mask", "--out", "o.h5", &format!("--keep={density}")], &["--keep", "from 0 to 1"]);
        let fraction = format!("--fraction={density}");
        fail(2, &["downsample", "--out", "o.h5", &fraction], &["--fraction", "from 0 to 1"]);
        fail(
            2,
            &["split", "--train", "o.h5", "--test", "p.h5", &fraction],
            &["--fraction", "between 0 and 1"],
        );
    }
    for fraction in ["0", "1"] {
        let command = ["split", "--train", "o.h5", "--test", "p.h5", "--fraction", fraction];
        fail(2, &command, &["--fraction", "such as 0.9"]);
    }
    fail(2, &["mask", "--out", "o.h5"], &["--density", "--keep"]);
    fail(2, &["mask", "--out", "o.h5", "--density", "0.1", "--keep", "0.1"], &["cannot be used with"]);
    fail(2, &["downsample", "--out", "o.h5"], &["--fraction", "--per-cell", "--total"]);
    for name in ["o", "o.txt", "o.h5.gz"] {
        fail(2, &["mask", "--out", name, "--keep", "0.5"], &[name, ".h5 (10x HDF5)", ".h5ad (AnnData)"]);
        fail(2, &["split", "--train", "o.h5", "--test", name], &[name, ".h5 (10x HDF5)", ".h5ad (AnnData)"]);
    }
    fail(1, &["mask", "--out", "taken.h5", "--keep", "0.5"], &["taken.h5", "--force"]);
    fail(1, &["split", "--train", "o.h5", "--test", "taken.h5"], &["taken.h5", "--force"]);
    fail(1, &["split", "--train", "taken.h5", "--test", "o.h5"], &["taken.h5", "--force"]);
    fail(2, &["mask", "--out", "v3.h5", "--keep", "0.5", "--force"], &["would replace v3.h5, which is read"]);
    fail(
        2,
        &["split", "--train", "o.h5", "--test", "v3.h5", "--force"],
        &["would replace v3.h5, which is read"],
    );
    fail(2, &["split", "--train", "o.h5", "--test", "./o.h5"], &["written twice", "--train"]);
    fail(1, &["mask", "--out", "nowhere/o.h5", "--keep", "0.5"], &["nowhere", "No such file"]);
    fail(1, &["mask", "--out", "o.h5", "--keep", "0.5", "--memory", "1M"], &["--memory", "1.00 MiB"]);
    assert_eq!(std::fs::read_to_string(place.path("taken.h5")).unwrap(), "mine");
}

/// A file may not grow beyond a limit: writing fails half-way, as on a full disk.
#[test]
fn a_failure_leaves_nothing() {
    let place = Workplace::new();
    let size = ["--cells", "4000", "--genes", "2000", "--density", "0.2", "--labels", "l.csv"];
    place.succeed(&[&["simulate", "in.h5"][..], &size].concat());
    std::fs::create_dir(place.path("cache")).unwrap();
    // The unpacked matrix is kept, so that what fails is the output.
    place.succeed(&["mask", "--input", "in.h5", "--out", "a.h5", "--keep", "0.01", "--cache", "cache"]);
    std::fs::remove_file(place.path("a.h5")).unwrap();
    let kept = place.listing();
    for command in [
        "mask --out b.h5ad --keep 0.9",
        "downsample --out b.h5 --fraction 0.9",
        "split --train b.h5 --test c.h5ad",
    ] {
        let arguments: Vec<&str> =
            command.split(' ').chain(["--input", "in.h5", "--cache", "cache"]).collect();
        let run = place.run_on_small_disk(500, &arguments);
        let error = run.stderr;
        assert_eq!(run.code, Some(1), "{error}");
        assert!(error.contains("b.h5") && error.contains("cannot write"), "{error}");
        assert_eq!(place.listing(), kept, "{command}");
    }
}
