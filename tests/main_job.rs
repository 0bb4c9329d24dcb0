//! Train and impute on the real binary: what is in the files that come out.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::binary::Workplace;
use common::counts::{counts, unlocked, write_tenx};
use common::files::{Rows, assert_same_but_for_blas, names, read, read_plain};
use late_fast::io::ReadOptions;
use late_fast::matrix::Column;

const CELLS: usize = 150;
const GENES: usize = 70;
const EMPTY_CELL: usize = 4;
const EMPTY_GENE: i64 = 11;

/// Counts with one empty cell and one empty gene.
fn toy() -> Rows {
    let mut rows = counts(CELLS, GENES, 1);
    rows[EMPTY_CELL].clear();
    for row in &mut rows {
        row.retain(|&(gene, _)| gene != EMPTY_GENE);
    }
    rows
}

fn workplace() -> Workplace {
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), &toy(), GENES);
    place
}

const LONGER: &[&str] = &["train", "--h5", "in.h5", "--hidden", "24,6", "--batch-size", "64"];
const TRAIN: &[&str] =
    &["train", "--h5", "in.h5", "--hidden", "24,6", "--batch-size", "64", "--lr", "3e-3", "--epochs", "30"];

fn dense(rows: &Rows) -> Vec<Vec<f64>> {
    let mut dense = vec![vec![0.0; GENES]; rows.len()];
    for (cell, row) in rows.iter().enumerate() {
        for &(gene, count) in row {
            dense[cell][usize::try_from(gene).unwrap()] = count;
        }
    }
    dense
}

/// `layers/late` of an imputed file, cells x genes.
fn late(place: &Workplace, name: &str) -> Vec<Vec<f64>> {
    let options = ReadOptions { layer: Some("late".into()), ..ReadOptions::default() };
    read(&place.path(name), &options).unwrap().rows
}

fn flags(column: Option<&Column>) -> Vec<bool> {
    let Some(Column::Booleans(flags)) = column else { panic!("no flags: {column:?}") };
    flags.clone()
}

#[test]
fn both_orientations_keep_counts_names_order_and_shape() {
    let place = workplace();
    for features in ["genes", "cells"] {
        let (run, out) = (format!("{features}.late"), format!("{features}.h5ad"));
        place.succeed(&[TRAIN, &["--features", features, "--out", &run, "--impute", &out]].concat());
        let counts = read_plain(&place.path(&out));
        assert_eq!(counts.rows, dense(&toy()), "{features}: X");
        assert_eq!(counts.cells().names, names("cell", CELLS));
        assert_eq!(counts.genes().names, names("gene", GENES));
        let cells = flags(counts.cells().column("late_imputed"));
        let genes = flags(counts.genes().column("late_imputed"));
        assert_eq!(cells.iter().position(|flag| !flag), Some(EMPTY_CELL), "{features}");
        assert_eq!(genes.iter().position(|flag| !flag), usize::try_from(EMPTY_GENE).ok(), "{features}");
        let imputed = late(&place, &out);
        assert_eq!((imputed.len(), imputed[0].len()), (CELLS, GENES));
        for (cell, row) in imputed.iter().enumerate() {
            for (gene, &value) in row.iter().enumerate() {
                let known = cells[cell] && genes[gene];
                assert!(if known { value > 0.0 } else { value == 0.0 }, "{features} {cell} {gene}: {value}");
            }
        }
        let file = unlocked().open(place.path(&out)).unwrap();
        let latent = if features == "genes" { ("obsm/X_late", CELLS) } else { ("varm/X_late", GENES) };
        assert_eq!(file.dataset(latent.0).unwrap().shape(), [latent.1, 6]);
        let uns = |name: &str| {
            let dataset = file.dataset(&format!("uns/late_fast/{name}")).unwrap();
            dataset.read_scalar::<hdf5::types::VarLenUnicode>().unwrap().to_string()
        };
        assert_eq!((uns("scale").as_str(), uns("policy").as_str()), ("log10(x+1)", "replace"));
        assert_eq!(uns("features"), features);
    }
}

/// Two kinds of cells express every gene at two levels; most entries are hidden at random. What is imputed
/// there must be nearer to the truth than the gene's mean, which knows nothing of the kinds.
#[test]
fn hidden_entries_come_back() {
    let level = |cell: usize, gene: usize| {
        let high = if (cell + gene).is_multiple_of(2) { 20 } else { 2 };
        f64::from(high + u8::try_from((cell * 7 + gene * 3) % 3).unwrap())
    };
    let hidden = |cell: usize, gene: usize| (cell * 7919 + gene * 104_729 + cell * gene * 31) / 13 % 10 < 6;
    let rows: Rows = (0..CELLS)
        .map(|cell| {
            let shown = (0..GENES).filter(|&gene| !hidden(cell, gene));
            shown.map(|gene| (i64::try_from(gene).unwrap(), level(cell, gene))).collect()
        })
        .collect();
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), &rows, GENES);
    place.succeed(&[
        "train",
        "--h5",
        "in.h5",
        "--hidden",
        "64,16",
        "--batch-size",
        "64",
        "--lr",
        "3e-3",
        "--epochs",
        "300",
        "--patience",
        "300",
        "--impute",
        "out.h5ad",
    ]);
    let imputed = late(&place, "out.h5ad");
    let scaled = |cell, gene| (level(cell, gene) + 1.0_f64).log10();
    let (mut error, mut error_of_mean) = (0.0, 0.0);
    let mut judge = |gene: usize| {
        let shown: Vec<f64> =
            (0..CELLS).filter(|&cell| !hidden(cell, gene)).map(|cell| scaled(cell, gene)).collect();
        let mean = shown.iter().sum::<f64>() / shown.len() as f64;
        for (cell, row) in imputed.iter().enumerate().filter(|&(cell, _)| hidden(cell, gene)) {
            error += (row[gene] - scaled(cell, gene)).powi(2);
            error_of_mean += (mean - scaled(cell, gene)).powi(2);
        }
    };
    (0..GENES).for_each(&mut judge);
    assert!(error < 0.25 * error_of_mean, "squared error {error}, of the genes' means {error_of_mean}");
}

#[test]
fn imputing_later_writes_what_training_would_have() {
    let place = workplace();
    for features in ["genes", "cells"] {
        let run = format!("{features}.late");
        let now = format!("{features}.now.h5ad");
        let later = format!("{features}.later.h5ad");
        place.succeed(&[TRAIN, &["--features", features, "--out", &run, "--impute", &now]].concat());
        place.succeed(&["impute", "--model", &run, "--input", "in.h5", "--out", &later]);
        assert_eq!(late(&place, &now), late(&place, &later), "{features}");
    }
}

#[test]
fn policies_and_scales() {
    let place = workplace();
    place.succeed(TRAIN);
    let impute = |name: &str, more: &[&str]| {
        place.succeed(
            &[&["impute", "--model", "in.late", "--input", "in.h5", "--out", name][..], more].concat(),
        );
        late(&place, name)
    };
    let replace = impute("replace.h5ad", &[]);
    let keep = impute("keep.h5ad", &["--policy", "keep-observed"]);
    let max = impute("max.h5ad", &["--policy", "max"]);
    let counts = impute("counts.h5ad", &["--output-scale", "counts"]);
    let kept_counts = impute("kept.h5ad", &["--output-scale", "counts", "--policy", "keep-observed"]);
    let half = impute("half.h5ad", &["--dtype", "f16"]);
    for (cell, row) in dense(&toy()).iter().enumerate() {
        for (gene, &count) in row.iter().enumerate() {
            let y = replace[cell][gene];
            let x = (count + 1.0).log10();
            let close =
                |got: f64, want: f64| assert!((got - want).abs() <= 1e-5 * want.max(1.0), "{got} {want}");
            close(keep[cell][gene], if count > 0.0 { x } else { y });
            close(max[cell][gene], if count > 0.0 { x.max(y) } else { y });
            close(counts[cell][gene], 10_f64.powf(y) - 1.0);
            close(kept_counts[cell][gene], if count > 0.0 { count } else { 10_f64.powf(y) - 1.0 });
            assert!((half[cell][gene] - y).abs() <= 1e-3 * y.max(0.1));
        }
    }
}

#[test]
fn a_list_of_genes_is_written_in_the_inputs_order() {
    let place = workplace();
    std::fs::write(place.path("genes.txt"), "gene30\nid2\n\ngene7\n").unwrap();
    for features in ["genes", "cells"] {
        let (run, all, some) =
            (format!("{features}.late"), format!("{features}.all.h5ad"), format!("{features}.some.h5ad"));
        place.succeed(&[TRAIN, &["--features", features, "--out", &run, "--impute", &all]].concat());
        place.succeed(&[
            "impute",
            "--model",
            &run,
            "--input",
            "in.h5",
            "--out",
            &some,
            "--genes",
            "genes.txt",
        ]);
        let counts = read_plain(&place.path(&some));
        assert_eq!(counts.genes().names, ["gene2", "gene7", "gene30"]);
        let pick = |rows: Vec<Vec<f64>>| -> Vec<Vec<f64>> {
            rows.into_iter().map(|row| vec![row[2], row[7], row[30]]).collect()
        };
        assert_eq!(counts.rows, pick(dense(&toy())));
        let [some, all] = [late(&place, &some), pick(late(&place, &all))].map(|rows| rows.concat());
        assert_same_but_for_blas(&some, &all, features);
    }
}

#[test]
fn a_model_finds_its_genes_in_another_order() {
    let place = workplace();
    place.succeed(&[TRAIN, &["--impute", "out.h5ad"]].concat());
    let reversed: Rows = toy()
        .into_iter()
        .map(|row| row.into_iter().rev().map(|(gene, count)| (69 - gene, count)).collect())
        .collect();
    write_tenx(&place.path("reversed.h5"), &reversed, GENES);
    let file = unlocked().open_rw(place.path("reversed.h5")).unwrap();
    let features = file.group("matrix/features").unwrap();
    for (name, prefix) in [("id", "id"), ("name", "gene")] {
        features.unlink(name).unwrap();
        let mut texts = names(prefix, GENES);
        texts.reverse();
        common::files::write_texts(&features, name, &texts);
    }
    drop(features);
    file.close().unwrap();
    place.succeed(&["impute", "--model", "in.late", "--input", "reversed.h5", "--out", "reversed.h5ad"]);
    let (straight, reversed) = (late(&place, "out.h5ad"), late(&place, "reversed.h5ad"));
    for (a, b) in straight.iter().zip(&reversed) {
        for (x, y) in a.iter().zip(b.iter().rev()) {
            assert!((x - y).abs() <= 1e-5 * x.max(0.1), "{x} {y}");
        }
    }
}

/// The imputed file's `X` is compressed, the store is not: either way the same matrix is trained on.
#[test]
fn the_file_a_matrix_comes_from_does_not_matter() {
    let place = workplace();
    place.succeed(&[TRAIN, &["--impute", "out.h5ad"]].concat());
    let more = ["--h5", "out.h5ad", "--out", "again.late"];
    let arguments: Vec<&str> = TRAIN.iter().copied().filter(|a| !["--h5", "in.h5"].contains(a)).collect();
    place.succeed(&[&arguments[..], &more].concat());
    let history = |run: &str| {
        let text = std::fs::read_to_string(place.path(run).join("history.csv")).unwrap();
        text.lines().map(|l| l.split(',').take(4).collect::<Vec<_>>().join(",")).collect::<Vec<_>>()
    };
    assert_eq!(history("in.late"), history("again.late"));
}

/// The second of two genes of one name is observed, the first is not.
#[test]
fn genes_of_one_name_are_not_mistaken_for_each_other() {
    let place = Workplace::new();
    let mut rows = counts(CELLS, GENES, 1);
    rows.iter_mut().for_each(|row| row.retain(|&(gene, _)| gene != 0));
    write_tenx(&place.path("in.h5"), &rows, GENES);
    let file = unlocked().open_rw(place.path("in.h5")).unwrap();
    let features = file.group("matrix/features").unwrap();
    for (name, prefix) in [("id", "id"), ("name", "gene")] {
        features.unlink(name).unwrap();
        let mut texts = names(prefix, GENES);
        texts[0] = texts[1].clone();
        common::files::write_texts(&features, name, &texts);
    }
    drop(features);
    file.close().unwrap();
    place.succeed(&[TRAIN, &["--impute", "out.h5ad"]].concat());
    let imputed = late(&place, "out.h5ad");
    assert!(imputed.iter().all(|row| row[0] == 0.0));
    assert!(imputed.iter().any(|row| row[1] > 0.0));
}

/// Cells without a gene that the model knows get nothing from it, but keep what was observed.
#[test]
fn cells_the_model_cannot_impute_keep_what_was_observed() {
    let place = workplace();
    place.succeed(TRAIN);
    let mut rows = toy();
    rows[8] = vec![(EMPTY_GENE, 5.0)];
    write_tenx(&place.path("new.h5"), &rows, GENES);
    place.succeed(&[
        "impute",
        "--model",
        "in.late",
        "--input",
        "new.h5",
        "--out",
        "new.h5ad",
        "--policy",
        "keep-observed",
    ]);
    let imputed = late(&place, "new.h5ad");
    let kept = usize::try_from(EMPTY_GENE).unwrap();
    assert!((imputed[8][kept] - 6.0_f64.log10()).abs() < 1e-6);
    assert_eq!(imputed[8].iter().filter(|&&value| value != 0.0).count(), 1);
}

#[test]
fn a_run_leaves_its_record() {
    let place = workplace();
    place.succeed(&[TRAIN, &["--validation", "samples"]].concat());
    let listing = place.listing();
    for name in ["config.json", "history.csv", "model.safetensors", "split.json"] {
        assert!(listing.contains(&format!("in.late/{name}")), "{listing:?}");
    }
    let text = |name: &str| std::fs::read_to_string(place.path("in.late").join(name)).unwrap();
    let split: serde_json::Value = serde_json::from_str(&text("split.json")).unwrap();
    let parts = ["train", "validation", "test"].map(|part| split[part].as_array().unwrap().len());
    // 149 cells have entries.
    assert_eq!(parts, [104, 23, 22]);
    assert_eq!(text("history.csv").lines().count(), 31);
    let config: serde_json::Value = serde_json::from_str(&text("config.json")).unwrap();
    assert_eq!(config["hidden"], serde_json::json!([24, 6]));
}

#[test]
fn json_lines_are_json() {
    let place = workplace();
    let run = place.succeed(&[TRAIN, &["--json", "--impute", "out.h5ad"]].concat());
    let events: Vec<String> = run
        .stdout
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(events.iter().filter(|event| *event == "epoch").count(), 30);
    assert_eq!(events[30..], ["trained", "imputed"]);
    let run = place.succeed(&["inspect", "in.h5", "--json"]);
    let inspected: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&inspected["n_cells"], &inspected["empty_genes"]), (&CELLS.into(), &1.into()));
}

#[test]
fn early_stopping_keeps_the_best_epoch() {
    let place = workplace();
    let run = place.succeed(&[LONGER, &["--epochs", "400", "--patience", "3", "--lr", "0.05"]].concat());
    assert!(run.stdout.contains("stopped early"), "{}", run.stdout);
    let text = std::fs::read_to_string(place.path("in.late/history.csv")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let best = rows.iter().rposition(|row| row[3] == "1").unwrap();
    assert_eq!(rows.len(), best + 1 + 3);
    let errors: Vec<f64> = rows.iter().map(|row| row[2].parse().unwrap()).collect();
    assert!(errors.iter().all(|&error| error >= errors[best]));
    assert!(run.stdout.contains(&format!("best epoch {}:", best + 1)), "{}", run.stdout);
}
