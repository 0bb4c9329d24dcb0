//! Two networks, one with genes and one with cells as features: trained on the same entries, combined gene by gene.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::binary::Workplace;
use common::content::content;
use common::counts::{counts, unlocked, write_tenx};
use common::files::{Rows, assert_same_but_for_blas};
use late_fast::h5ad::read_axis;
use late_fast::hdf::HdfFile;
use late_fast::matrix::{Axis, Column};

const CELLS: usize = 160;
const GENES: usize = 150;
const SMALL: [&str; 12] = [
    "--hidden",
    "24,8",
    "--batch-size",
    "64",
    "--lr",
    "3e-3",
    "--epochs",
    "12",
    "--holdout",
    "0.2",
    "--checkpoint-interval",
    "never",
];
const EMPTY_CELL: usize = 17;
const EMPTY_GENE: usize = 23;

fn matrix() -> Rows {
    let mut rows = counts(CELLS, GENES, 5);
    rows[EMPTY_CELL].clear();
    rows.iter_mut().for_each(|row| row.retain(|&(gene, _)| gene != i64::try_from(EMPTY_GENE).unwrap()));
    rows
}

/// A directory with the matrix and both networks, trained in one call.
fn trained() -> Workplace {
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), &matrix(), GENES);
    place.succeed(&[&["train", "--h5", "in.h5", "--features", "both"], &SMALL[..]].concat());
    place
}

const COMBINE: [&str; 7] =
    ["combine", "--genes-model", "in.late/genes", "--cells-model", "in.late/cells", "--input", "in.h5"];

fn combine(place: &Workplace, out: &str, more: &[&str]) {
    place.succeed(&[&COMBINE[..], &["--out", out], more].concat());
}

fn impute(place: &Workplace, model: &str, out: &str, more: &[&str]) {
    place.succeed(&[&["impute", "--model", model, "--input", "in.h5", "--out", out], more].concat());
}

/// `cells x genes`, row-major.
fn layer(path: &Path) -> Vec<f32> {
    unlocked().open(path).unwrap().dataset("layers/late").unwrap().read_raw().unwrap()
}

fn var(path: &Path) -> Axis {
    read_axis(&HdfFile::open(path).unwrap(), "var", &mut Vec::new()).unwrap()
}

fn texts(axis: &Axis, name: &str) -> Vec<String> {
    match axis.column(name).unwrap() {
        Column::Strings(texts) => texts.clone(),
        Column::Categorical { codes, categories, .. } => {
            codes.iter().map(|&code| categories[usize::try_from(code).unwrap()].clone()).collect()
        }
        other => panic!("{name} is {other:?}"),
    }
}

fn numbers(axis: &Axis, name: &str) -> Vec<f64> {
    match axis.column(name).unwrap() {
        Column::Floats(values) => values.clone(),
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn every_gene_has_the_values_of_the_network_that_was_chosen_for_it() {
    let place = trained();
    for policy in ["replace", "keep-observed", "max"] {
        let more = ["--policy", policy, "--output-scale", "counts", "--force"];
        combine(&place, "both.h5ad", &more);
        impute(&place, "in.late/genes", "genes.h5ad", &more);
        impute(&place, "in.late/cells", "cells.h5ad", &more);
        let [both, genes, cells] =
            ["both.h5ad", "genes.h5ad", "cells.h5ad"].map(|name| layer(&place.path(name)));
        let var = var(&place.path("both.h5ad"));
        let sources = texts(&var, "late_source");
        let errors = ["late_error_genes", "late_error_cells"].map(|name| numbers(&var, name));
        for gene in 0..GENES {
            let column =
                |values: &[f32]| (0..CELLS).map(|cell| values[cell * GENES + gene]).collect::<Vec<_>>();
            let expected = match sources[gene].as_str() {
                "genes" => column(&genes),
                "cells" => column(&cells),
                _ => vec![0.0; CELLS],
            };
            assert_same_but_for_blas(&column(&both), &expected, &format!("gene {gene}, {policy}"));
            // Clear differences decide; what is less is weighed against that of all genes.
            let [by_genes, by_cells] = [errors[0][gene], errors[1][gene]];
            if by_genes < by_cells / 3.0 || by_cells < by_genes / 3.0 {
                let better = if by_cells < by_genes { "cells" } else { "genes" };
                assert_eq!(sources[gene], better, "gene {gene}: {by_genes} and {by_cells}");
            }
        }
        assert_eq!(sources[EMPTY_GENE], "neither");
        for source in ["genes", "cells"] {
            assert!(sources.iter().any(|name| name == source), "no gene from {source}: {sources:?}");
        }
    }
}

#[test]
fn the_errors_of_genes_add_up_to_those_of_training() {
    let place = trained();
    let run = place.succeed(&[&COMBINE[..], &["--out", "both.h5ad", "--json"]].concat());
    let report: serde_json::Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    for kind in ["genes", "cells"] {
        let history = std::fs::read_to_string(place.path(&format!("in.late/{kind}/history.csv"))).unwrap();
        let best =
            history.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse::<f64>().unwrap());
        let best = best.fold(f64::INFINITY, f64::min);
        let found = report[format!("error_{kind}")].as_f64().unwrap();
        assert!((found - best).abs() < 1e-6 * best, "{kind}: {found}, trained to {best}");
    }
    let split: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(place.path("in.late/genes/split.json")).unwrap())
            .unwrap();
    assert_eq!(report["held_out_entries"], split["counts"]["validation_entries"]);
    let error = |name: &str| report[name].as_f64().unwrap();
    assert!(error("error_combined") <= error("error_genes").min(error("error_cells")));
}

#[test]
fn one_call_does_what_two_and_combining_do() {
    let place = trained();
    combine(&place, "both.h5ad", &[]);
    let twice = Workplace::new();
    write_tenx(&twice.path("in.h5"), &matrix(), GENES);
    let both = [
        &["train", "--h5", "in.h5", "--features", "both", "--impute", "both.h5ad", "--threads", "1"],
        &SMALL[..],
    ];
    twice.succeed(&both.concat());
    assert_eq!(content(&place.path("both.h5ad")), content(&twice.path("both.h5ad")));
    for features in ["genes", "cells"] {
        let out = format!("alone/{features}");
        std::fs::create_dir_all(twice.path("alone")).unwrap();
        let arguments = ["train", "--h5", "in.h5", "--features", features, "--out", &out];
        twice.succeed(&[&arguments[..], &SMALL].concat());
        let model =
            |dir: &str| std::fs::read(twice.path(&format!("{dir}/{features}/model.safetensors"))).unwrap();
        assert!(model("alone") == model("in.late"), "{features}");
    }
}

#[test]
fn genes_may_be_chosen_and_both_latent_codes_are_written() {
    let place = trained();
    std::fs::write(place.path("genes.txt"), "gene3\ngene23\ngene40\ngene41\n").unwrap();
    combine(&place, "all.h5ad", &[]);
    combine(&place, "some.h5ad", &["--genes", "genes.txt"]);
    let (all, some) = (layer(&place.path("all.h5ad")), layer(&place.path("some.h5ad")));
    for cell in 0..CELLS {
        let expected = [3, 23, 40, 41].map(|gene| all[cell * GENES + gene]);
        assert_same_but_for_blas(&some[cell * 4..][..4], &expected, &format!("cell {cell}"));
    }
    let file = unlocked().open(place.path("all.h5ad")).unwrap();
    assert_eq!(file.dataset("obsm/X_late").unwrap().shape(), [CELLS, 8]);
    assert_eq!(file.dataset("varm/X_late").unwrap().shape(), [GENES, 8]);
    let text = |name: &str| {
        let text = file.dataset(&format!("uns/late_fast/{name}")).unwrap();
        text.read_scalar::<hdf5::types::VarLenUnicode>().unwrap().to_string()
    };
    assert_eq!(text("features"), "both");
    assert!(text("cells_model_config").contains("\"samples\":\"genes\""));
}

#[test]
fn a_run_of_both_that_was_stopped_goes_on() {
    let place = trained();
    let resumed = [&["train", "--h5", "in.h5", "--features", "both", "--resume"], &SMALL[..]].concat();
    let models = ["in.late/genes/model.safetensors", "in.late/cells/model.safetensors"];
    let before = models.map(|name| std::fs::read(place.path(name)).unwrap());
    // As if it had ended between the two.
    std::fs::remove_dir_all(place.path("in.late/cells")).unwrap();
    place.succeed(&resumed);
    assert!(before == models.map(|name| std::fs::read(place.path(name)).unwrap()));
    let run = place.succeed(&resumed);
    assert_eq!(run.stderr.matches("trained already").count(), 2, "{}", run.stderr);
}

#[test]
fn models_that_do_not_belong_together_are_refused() {
    let place = trained();
    let train = |features: &str, out: &str, more: &[&str]| {
        let arguments = ["train", "--h5", "in.h5", "--features", features, "--out", out];
        place.succeed(&[&arguments[..], &SMALL, more].concat());
    };
    train("cells", "other.late", &["--seed", "3"]);
    let split = ["--validation", "samples", "--epochs", "2"];
    let arguments = ["train", "--h5", "in.h5", "--features", "cells", "--out", "samples.late"];
    place.succeed(&[&arguments[..], &SMALL[..6], &split].concat());
    let refuse = |genes: &str, cells: &str, parts: &[&str]| {
        let arguments = ["combine", "--genes-model", genes, "--cells-model", cells, "--input", "in.h5"];
        place.fail_with(2, &[&arguments[..], &["--out", "no.h5ad"]].concat(), parts);
    };
    refuse("in.late/genes", "other.late", &["--seed 2", "--seed 3", "--features both"]);
    refuse("in.late/genes", "samples.late", &["samples of its own", "--validation entries"]);
    refuse("in.late/genes", "in.late/genes", &["--cells-model has genes as features"]);
    refuse("in.late", "in.late/cells", &["two models", "in.late/genes"]);
    let both = ["train", "--h5", "in.h5", "--features", "both", "--validation", "samples", "--out", "x.late"];
    place.fail_with(2, &both, &["samples of its own", "--validation entries"]);
    let impute = ["impute", "--model", "in.late", "--input", "in.h5", "--out", "x.h5ad"];
    place.fail_with(2, &impute, &["late-fast combine --genes-model in.late/genes"]);
    place.fail(
        &["train", "--h5", "in.h5", "--features", "both", "--epochs", "1"],
        &["in.late/genes", "--force"],
    );
}

#[test]
fn another_matrix_than_both_were_trained_on_is_refused() {
    let place = trained();
    let refuse = |rows: &Rows| {
        write_tenx(&place.path("in.h5"), rows, GENES);
        let arguments = [&COMBINE[..], &["--out", "no.h5ad"]].concat();
        place.fail(&arguments, &["in.h5", "the model with genes as features was trained on", "same options"]);
    };
    // The same names, other counts; the same cells, one less.
    let mut rows = matrix();
    rows.swap(0, 1);
    refuse(&rows);
    rows = matrix();
    rows.pop();
    refuse(&rows);
}

#[test]
fn what_was_said_of_an_earlier_combination_is_not_kept() {
    let place = trained();
    combine(&place, "both.h5ad", &[]);
    let arguments = ["impute", "--model", "in.late/genes", "--input", "both.h5ad", "--out", "genes.h5ad"];
    place.succeed(&arguments);
    let [before, after] = ["both.h5ad", "genes.h5ad"].map(|name| var(&place.path(name)));
    for name in ["late_source", "late_error_genes", "late_error_cells"] {
        assert!(before.column(name).is_some() && after.column(name).is_none(), "{name}");
    }
    // What is read is not written over, be it a model or a list of genes.
    std::fs::write(place.path("genes.csv"), "gene0\n").unwrap();
    std::fs::copy(place.path("in.late/cells/model.safetensors"), place.path("cells.h5ad")).unwrap();
    let combine =
        ["combine", "--genes-model", "in.late/genes", "--cells-model", "cells.h5ad", "--input", "in.h5"];
    for out in ["cells.h5ad", "genes.csv"] {
        let force = ["--genes", "genes.csv", "--out", out, "--force"];
        place.fail_with(2, &[&combine[..], &force].concat(), &[out, "which is read"]);
    }
}

#[test]
fn the_plan_of_both_is_told_and_checked() {
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), &matrix(), GENES);
    let arguments = ["train", "--h5", "in.h5", "--features", "both", "--dry-run"];
    let run = place.succeed(&arguments);
    assert!(
        run.stdout.contains("genes as features: 149 -> 800")
            && run.stdout.contains("cells as features: 159 -> 800")
    );
    let run = place.succeed(&[&arguments[..], &["--json"]].concat());
    assert_eq!(run.stdout.lines().count(), 2, "{}", run.stdout);
    assert_eq!(place.listing(), ["in.h5"]);
}

#[test]
fn both_networks_may_start_from_others() {
    let place = trained();
    let translate =
        ["train", "--h5", "in.h5", "--features", "both", "--init", "in.late", "--out", "next.late"];
    let run = place.succeed(&[&translate[..], &["--epochs", "1", "--holdout", "0.2"]].concat());
    for kind in ["genes", "cells"] {
        let line = format!("starts from in.late/{kind}/model.safetensors");
        assert!(run.stderr.contains(&line), "{}", run.stderr);
        let history =
            |dir: &str| std::fs::read_to_string(place.path(&format!("{dir}/{kind}/history.csv"))).unwrap();
        let first =
            |text: &str| -> f64 { text.lines().nth(1).unwrap().split(',').nth(2).unwrap().parse().unwrap() };
        let (before, after) = (first(&history("in.late")), first(&history("next.late")));
        assert!(after < 0.5 * before, "{kind}: {before}, then {after}");
    }
    let one = ["train", "--h5", "in.h5", "--features", "both", "--init", "in.late/genes", "--out", "no.late"];
    place.fail(&one, &["in.late/genes/genes"]);
}

#[test]
fn the_report_shows_both_learning_curves_and_held_out_entries() {
    let place = trained();
    combine(&place, "both.h5ad", &[]);
    let arguments =
        ["evaluate", "--input", "in.h5", "--imputed", "both.h5ad", "--model", "in.late", "--no-tsne"];
    place.succeed(&[&arguments[..], &["--out", "both"]].concat());
    let read = |name: &str| std::fs::read_to_string(place.path(name)).unwrap();
    let curves = read("both/figures/learning-curve.csv");
    for line in ["validation error, genes as features", "training loss, cells as features"] {
        assert!(curves.contains(line), "{curves}");
    }
    assert!(read("both/figures/errors.csv").contains("held out"));
    assert!(read("both/report.html").contains("both.h5ad compared with its input"));
}
