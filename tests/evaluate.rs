//! `evaluate` on the real binary: its numbers are those of numpy, scipy and scikit-learn, and bad input is named.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashSet;
use std::path::Path;

use common::binary::Workplace;
use common::counts::{counts, unlocked, write_tenx};
use common::files::{Rows, attribute, names};
use late_fast::evaluate::{Imputed, ImputedRows, Inputs, LabelSource, Matrix, Options, Scale, evaluate};
use late_fast::h5ad::{create_dict, write_axis, write_root};
use late_fast::io::{ReadOptions, Values};
use late_fast::matrix::{Axis, Major};
use late_fast::report::{Chart, Figure, Report};
use late_fast::store::{StoreDtype, Storing, unpack};
use ndarray::Array2;
use serde_json::Value;

const FILES: [&str; 7] =
    ["truth.h5", "input.h5", "test.h5", "imputed.h5ad", "foreign.h5ad", "labels.csv", "expected.json"];

/// A directory with the files that `data/generate/evaluate.py` made.
fn workplace() -> Workplace {
    let place = Workplace::new();
    for name in FILES {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fixtures/evaluate").join(name);
        std::fs::copy(from, place.path(name)).unwrap();
    }
    place
}

const OURS: &[&str] =
    &["evaluate", "--input", "input.h5", "--truth", "truth.h5", "--imputed", "imputed.h5ad"];
const FOREIGN: &[&str] =
    &["evaluate", "--input", "input.h5", "--truth", "truth.h5", "--imputed", "foreign.h5ad"];
const AS_EXPORTED: &[&str] =
    &["--labels", "labels.csv", "--components", "6", "--correlated-genes", "25", "--out", "out"];

fn json(place: &Workplace, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(place.path(name)).unwrap()).unwrap()
}

/// Compares everything that is expected; found may hold more.
fn compare(path: &str, expected: &Value, found: &Value, wrong: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, value) in expected {
                compare(&format!("{path}/{key}"), value, found.get(key).unwrap_or(&Value::Null), wrong);
            }
        }
        (Value::Number(expected), Value::Number(found)) => {
            let (expected, found) = (expected.as_f64().unwrap(), found.as_f64().unwrap());
            if (expected - found).abs() > 1e-6 * expected.abs().max(1.0) {
                wrong.push(format!("{path}: expected {expected}, found {found}"));
            }
        }
        _ if expected == found => {}
        _ => wrong.push(format!("{path}: expected {expected}, found {found}")),
    }
}

#[track_caller]
fn assert_agrees(expected: &Value, found: &Value) {
    let mut wrong = Vec::new();
    compare("", expected, found, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn metrics_are_those_of_numpy_scipy_and_scikit_learn() {
    let place = workplace();
    place.succeed(&[OURS, AS_EXPORTED, &["--test", "test.h5"]].concat());
    assert_agrees(&json(&place, "expected.json")["imputed"], &json(&place, "out/metrics.json"));
}

#[test]
fn a_sparse_matrix_of_another_program_with_negative_values_is_measured_as_well() {
    let place = workplace();
    let run = place.succeed(&[FOREIGN, AS_EXPORTED, &["--imputed-scale", "counts"]].concat());
    let expected = &json(&place, "expected.json")["foreign"];
    assert_agrees(expected, &json(&place, "out/metrics.json"));
    assert!(run.stderr.contains(&format!("{} imputed values are negative", expected["negative_values"])));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let place = workplace();
    for threads in ["1", "2"] {
        let out = format!("out{threads}");
        let options = ["--labels", "labels.csv", "--test", "test.h5", "--threads", threads, "--out", &out];
        place.succeed(&[OURS, &options].concat());
    }
    for name in ["metrics.json", "genes.csv", "cells.csv", "report.html"] {
        let read = |dir: &str| std::fs::read(place.path(&format!("{dir}/{name}"))).unwrap();
        assert_eq!(read("out1"), read("out2"), "{name}");
    }
}

#[test]
fn tables_hold_every_gene_and_cell_and_leave_out_what_is_undefined() {
    let place = workplace();
    let run = place.succeed(&[OURS, AS_EXPORTED].concat());
    assert!(run.stderr.contains("1 of 60 cells have no label"), "{}", run.stderr);
    assert!(run.stdout.contains("adjusted Rand index") && run.stdout.contains("caution: "), "{}", run.stdout);
    assert!(
        run.stdout.lines().count() < 40 && run.stdout.lines().all(|line| line.chars().count() <= 120),
        "{}",
        run.stdout
    );
    let rows = |name: &str| {
        let text = std::fs::read_to_string(place.path(name)).unwrap();
        text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let (genes, cells) = (rows("out/genes.csv"), rows("out/cells.csv"));
    assert_eq!((genes.len(), cells.len()), (41, 61));
    assert_eq!(genes[0][..2], ["gene", "pearson"]);
    assert_eq!((genes[12][0].as_str(), genes[12][1].as_str()), ("gene11", ""), "constant in the truth");
    assert_eq!((cells[14][0].as_str(), cells[14][1].as_str()), ("cell13", ""), "unlabelled");
    assert!(!std::fs::read_to_string(place.path("out/metrics.json")).unwrap().contains("NaN"));
    assert_eq!(json(&place, "out/metrics.json")["per_gene"]["pearson"]["undefined"], 2);
}

#[test]
fn without_truth_and_labels_what_needs_none_is_measured() {
    let place = workplace();
    let command =
        ["evaluate", "--input", "input.h5", "--imputed", "imputed.h5ad", "--out", "out", "--no-tsne"];
    let run = place.succeed(&command);
    let (expected, found) = (&json(&place, "expected.json")["imputed"], json(&place, "out/metrics.json"));
    assert_eq!(found["entries"]["observed"]["n"], expected["entries"]["observed"]["n"]);
    for (key, number) in
        [("input_all", &found["mse"]["input_all"]), ("input_nonzero", &found["mse"]["input_nonzero"])]
    {
        assert!((number.as_f64().unwrap() - expected["mse"][key].as_f64().unwrap()).abs() < 1e-9, "{key}");
    }
    assert_eq!(found["entries"]["imputed"]["n"], 0);
    for key in ["per_gene", "per_cell", "gene_correlations", "clustering", "open_problems"] {
        assert!(found[key].is_null(), "{key}");
    }
    assert!(found["mse"]["truth_all"].is_null() && found["zeros"]["below_half"].is_null());
    assert!(!run.stdout.contains("truth"), "{}", run.stdout);
}

#[test]
fn the_input_may_be_its_own_truth() {
    let place = workplace();
    place.succeed(&[
        "evaluate",
        "-i",
        "input.h5",
        "--truth",
        "input.h5",
        "--imputed",
        "imputed.h5ad",
        "--out",
        "out",
    ]);
    let found = json(&place, "out/metrics.json");
    assert_eq!(found["entries"]["imputed"]["n"], 0);
    assert_eq!(found["mse"]["truth_all"], found["mse"]["input_all"]);
    assert_eq!(found["per_gene"]["rmse_input"]["median"], 0.0);
}

/// Writes an h5ad with a dense `X`.
fn write_dense(path: &Path, cells: &[String], genes: &[String], values: &Array2<f32>) {
    let file = unlocked().create(path).unwrap();
    write_root(&file).unwrap();
    write_axis(&file, "obs", &Axis::from_names(cells.to_vec())).unwrap();
    write_axis(&file, "var", &Axis::from_names(genes.to_vec())).unwrap();
    let dataset = file.new_dataset::<f32>().shape(values.dim()).create("X").unwrap();
    dataset.write(values).unwrap();
    attribute(&dataset, "encoding-type", "array");
    attribute(&dataset, "encoding-version", "0.2.0");
}

const CELLS: usize = 30;
const GENES: usize = 20;

/// Counts of an input, and a matrix of ones imputed from them with the given names.
fn small(cells: &[String], genes: &[String]) -> Workplace {
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), &counts(CELLS, GENES, 3), GENES);
    write_dense(&place.path("ones.h5ad"), cells, genes, &Array2::ones((cells.len(), genes.len())));
    place
}

const SMALL: &[&str] = &[
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

#[test]
fn files_are_joined_by_name_and_what_is_left_out_is_counted() {
    // Other cells first, and in another order.
    let mut cells = names("other", 2);
    cells.extend(names("cell", CELLS).into_iter().rev().skip(3));
    let mut genes: Vec<String> = names("gene", GENES).into_iter().rev().collect();
    genes[4] = "unknown".into();
    let place = small(&cells, &genes);
    let run = place.succeed(SMALL);
    for part in [
        "2 of 29 cells of ones.h5ad (imputed) are left out",
        "3 of 30 cells of in.h5 (input) are left out",
        "1 of 20 genes of ones.h5ad (imputed) are left out",
        "1 of 20 genes of in.h5 (truth) are left out",
    ] {
        assert!(run.stderr.contains(part), "{part}\n{}", run.stderr);
    }
    let found = json(&place, "out/metrics.json");
    assert_eq!((found["cells"].as_u64(), found["genes"].as_u64()), (Some(27), Some(19)));
    let rows = counts(CELLS, GENES, 3);
    let left = rows[..CELLS - 3].iter().flatten().filter(|entry| entry.0 != 15);
    let errors: Vec<f64> = left.map(|&(_, count)| (1.0 - (count + 1.0).log10()).powi(2)).collect();
    let mse = errors.iter().sum::<f64>() / errors.len() as f64;
    assert_eq!(found["entries"]["observed"]["n"], errors.len());
    assert!((found["mse"]["input_nonzero"].as_f64().unwrap() - mse).abs() < 1e-12);
}

#[test]
fn files_of_other_cells_or_genes_are_refused_with_the_first_names() {
    let place = small(&names("barcode", CELLS), &names("gene", GENES));
    place.fail(SMALL, &["in.h5: cells: expected", "\"barcode0\"", "\"cell0\"", "inspect"]);
    let place = small(&names("cell", CELLS), &names("symbol", GENES));
    place.fail(SMALL, &["in.h5: genes: expected", "\"symbol0\"", "\"gene0\""]);
}

#[test]
fn values_that_are_no_numbers_are_named() {
    let (cells, genes) = (names("cell", CELLS), names("gene", GENES));
    for (value, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let place = small(&cells, &genes);
        let mut values = Array2::ones((CELLS, GENES));
        values[[5, 7]] = value;
        write_dense(&place.path("ones.h5ad"), &cells, &genes, &values);
        place.fail(SMALL, &["cell \"cell5\"", "gene \"gene7\"", "a finite number", name]);
    }
}

#[test]
fn a_scale_that_the_file_does_not_tell_has_to_be_given_and_to_fit() {
    let place = small(&names("cell", CELLS), &names("gene", GENES));
    let untold: Vec<&str> =
        SMALL.iter().copied().filter(|word| !["--imputed-scale", "log10"].contains(word)).collect();
    place.fail(&untold, &["scale of the imputed values", "--imputed-scale log10, ln or counts"]);
    let values = Array2::from_elem((CELLS, GENES), 500.0);
    write_dense(&place.path("ones.h5ad"), &names("cell", CELLS), &names("gene", GENES), &values);
    place.fail(SMALL, &["cell \"cell0\", gene \"gene0\"", "log10(x+1)", "500", "--imputed-scale"]);
}

#[test]
fn labels_that_cannot_be_used_are_refused() {
    let place = small(&names("cell", CELLS), &names("gene", GENES));
    for (text, parts) in [
        ("barcode,label\nother,T\n", &["labels.csv: barcodes", "\"cell0\"", "\"other\""][..]),
        ("barcode,label\ncell1,T\ncell1,B\n", &["line 3", "\"cell1\"", "\"T\" as in line 2", "\"B\""]),
        ("barcode,donor,type\ncell1,a,T\n", &["line 1", "--labels-column", "barcode,donor,type"]),
    ] {
        std::fs::write(place.path("labels.csv"), text).unwrap();
        place.fail(&[SMALL, &["--labels", "labels.csv"]].concat(), parts);
    }
    place.fail(&[SMALL, &["--labels-column", "type"]].concat(), &["obs/type", "--labels"]);
    place.fail(&[SMALL, &["--labels", "none.csv"]].concat(), &["none.csv: cannot open"]);
    place.fail_with(2, &[SMALL, &["--gene-pairs", "gene1:CD3D"]].concat(), &["\"CD3D\""]);
}

#[test]
fn one_label_alone_and_equal_cells_are_no_reason_to_stop() {
    let place = small(&names("cell", CELLS), &names("gene", GENES));
    let text: String = names("cell", CELLS).iter().map(|cell| format!("{cell},T\n")).collect();
    std::fs::write(place.path("labels.csv"), format!("barcode,label\n{text}")).unwrap();
    place.succeed(&[SMALL, &["--labels", "labels.csv"]].concat());
    // A single component is a column and a row at once.
    let narrow = SMALL.iter().map(|&word| if word == "out" { "narrow" } else { word }).collect::<Vec<_>>();
    place.succeed(&[&narrow[..], &["--labels", "labels.csv", "--components", "1"]].concat());
    let found = json(&place, "out/metrics.json");
    assert!(found["clustering"]["imputed"]["ari"].is_null(), "{found}");
    assert!(found["pca"]["variance_imputed"].is_null() && found["pca"]["variance_input"].is_number());
    assert!(found["entries"]["observed"]["log10"]["pearson"].is_null());
}

#[test]
fn existing_metrics_are_replaced_by_force_only() {
    let place = small(&names("cell", CELLS), &names("gene", GENES));
    place.succeed(SMALL);
    place.fail(SMALL, &["out/metrics.json: exists already", "--force"]);
    place.succeed(&[SMALL, &["--force"]].concat());
}

#[test]
fn a_budget_that_is_too_small_is_refused() {
    let place = small(&names("cell", CELLS), &names("gene", GENES));
    place.fail(&[SMALL, &["--memory", "134500000"]].concat(), &["--memory allows 128.27 MiB", "--max-cells"]);
}

#[test]
fn a_model_tells_what_it_was_trained_on() {
    let place = Workplace::new();
    let truth = counts(200, 30, 5);
    let masked: Rows = truth
        .iter()
        .enumerate()
        .map(|(cell, row)| row.iter().copied().filter(|entry| (cell as i64 + entry.0) % 3 != 0).collect())
        .collect();
    write_tenx(&place.path("truth.h5"), &truth, 30);
    write_tenx(&place.path("in.h5"), &masked, 30);
    for (validation, groups) in [
        ("entries", &["observed, trained on", "observed, held out", "imputed"][..]),
        (
            "samples",
            &[
                "training, observed",
                "training, imputed",
                "validation, observed",
                "validation, imputed",
                "test, observed",
                "test, imputed",
            ],
        ),
    ] {
        let (run, out) = (format!("{validation}.late"), format!("{validation}.h5ad"));
        place.succeed(&[
            "train",
            "--h5",
            "in.h5",
            "--hidden",
            "16,4",
            "--epochs",
            "5",
            "--out",
            &run,
            "--impute",
            &out,
            "--validation",
            validation,
        ]);
        let directory = format!("{validation}.evaluated");
        let command = [
            "evaluate",
            "-i",
            "in.h5",
            "--truth",
            "truth.h5",
            "--imputed",
            &out,
            "--model",
            &run,
            "--out",
            &directory,
        ];
        let told = place.succeed(&command);
        assert!(!told.stderr.contains("warning"), "{}", told.stderr);
        let found = json(&place, &format!("{directory}/metrics.json"));
        let all = found["groups"].as_array().unwrap();
        assert_eq!(all.iter().map(|group| group["name"].as_str().unwrap()).collect::<Vec<_>>(), groups);
        let n = |name: &str| all.iter().find(|group| group["name"] == name).unwrap()["n"].as_u64().unwrap();
        let record = json(&place, &format!("{run}/split.json"));
        let expected = &record["counts"];
        let (trained, scored) = match validation {
            "entries" => (n(groups[0]), n(groups[1])),
            _ => (n(groups[0]), n(groups[2])),
        };
        assert_eq!(expected["train_entries"], trained, "{validation}");
        assert_eq!(expected["validation_entries"], scored, "{validation}");
        let entries = &found["entries"];
        let total: u64 = all.iter().map(|group| group["n"].as_u64().unwrap()).sum();
        assert_eq!(
            total,
            entries["imputed"]["n"].as_u64().unwrap() + entries["observed"]["n"].as_u64().unwrap()
        );
    }
    // Of another matrix, held-out entries cannot be told.
    let told = place.succeed(&[
        "evaluate",
        "-i",
        "truth.h5",
        "--imputed",
        "entries.h5ad",
        "--model",
        "entries.late",
        "--out",
        "other",
    ]);
    assert!(
        told.stderr.contains("warning: ") && told.stderr.contains("not those of the input"),
        "{}",
        told.stderr
    );
    place.fail(
        &["evaluate", "-i", "in.h5", "--imputed", "entries.h5ad", "--model", "other", "--out", "no"],
        &["history.csv: cannot open"],
    );
}

#[test]
fn one_file_may_hold_input_truth_labels_and_genes_side_by_side() {
    let place = Workplace::new();
    let (cells, genes) = (names("cell", 12), names("gene", 6));
    let values = Array2::from_shape_fn((12, 6), |(cell, gene)| ((cell * 7 + gene * 3) % 5) as f32);
    write_dense(&place.path("both.h5ad"), &cells, &genes, &values);
    let file = unlocked().open_as(place.path("both.h5ad"), hdf5::file::OpenMode::ReadWrite).unwrap();
    let layers = create_dict(&file, "layers").unwrap();
    let dataset = layers.new_dataset::<f32>().shape((12, 6)).create("truth").unwrap();
    dataset.write(&values.mapv(|value| value + 1.0)).unwrap();
    file.unlink("obs").unwrap();
    let kinds = (0..12).map(|cell| if cell == 3 { String::new() } else { format!("kind {}", cell % 2) });
    let axis = Axis {
        names: cells,
        columns: vec![("kind".into(), late_fast::matrix::Column::Strings(kinds.collect()))],
    };
    write_axis(&file, "obs", &axis).unwrap();
    // The same again as columns, genes by cells.
    let columns = layers.create_group("turned").unwrap();
    attribute(&columns, "encoding-type", "csc_matrix");
    columns.new_attr::<i64>().shape([2]).create("shape").unwrap().write_raw(&[12_i64, 6]).unwrap();
    let rows: Rows = (0..6)
        .map(|gene| {
            (0..12)
                .map(|cell| (cell, f64::from(values[[usize::try_from(cell).unwrap(), gene]])))
                .filter(|e| e.1 > 0.0)
                .collect()
        })
        .collect();
    common::files::write_arrays(&columns, &rows);
    drop((dataset, columns, layers, file));
    let command = [
        "evaluate",
        "-i",
        "both.h5ad",
        "--truth",
        "both.h5ad",
        "--truth-layer",
        "truth",
        "--labels-column",
        "kind",
        "--imputed",
        "both.h5ad",
        "--imputed-scale",
        "counts",
    ];
    place.succeed(&[&command[..], &["--out", "dense"]].concat());
    place.succeed(&[&command[..], &["--imputed-layer", "turned", "--out", "turned"]].concat());
    let (dense, turned) = (json(&place, "dense/metrics.json"), json(&place, "turned/metrics.json"));
    assert_eq!(dense["entries"]["nonzero"]["counts"]["bias"], -1.0);
    assert_eq!(
        (dense["clustering"]["labels"].as_u64(), dense["clustering"]["unlabelled"].as_u64()),
        (Some(2), Some(1))
    );
    for key in ["mse", "entries", "per_gene", "clustering", "zeros"] {
        assert_eq!(dense[key], turned[key], "{key}");
    }
}

/// Checks that names are unique and fit file names, and that everything has the length it has to have.
fn check_report(report: &Report) {
    let mut ids = HashSet::new();
    let mut check_id = |id: &str| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(!id.is_empty() && id.chars().all(fits), "{id}");
        assert!(ids.insert(id.to_owned()), "{id} stands twice");
    };
    for section in &report.sections {
        for table in &section.tables {
            check_id(&table.id);
            assert!(table.rows.iter().all(|row| row.len() == table.columns.len()), "{}", table.id);
        }
        for figure in &section.figures {
            check_id(&figure.id);
            check_chart(&figure.id, &figure.chart);
        }
    }
}

fn check_chart(id: &str, chart: &Chart) {
    let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
    match chart {
        Chart::Lines { series, .. } => {
            assert!(!series.is_empty(), "{id}");
            for line in series {
                assert!(line.points.is_sorted_by(|a, b| a.0 <= b.0), "{id}");
                assert!(line.points.iter().all(|point| finite(&[point.0, point.1])), "{id}");
            }
        }
        Chart::Violins { groups, kinds, .. } => {
            for group in groups {
                assert!(group.n > 0 && group.kind < kinds.len() && !group.density.is_empty(), "{id}");
                assert!(
                    finite(&group.quartiles) && group.quartiles.is_sorted() && finite(&[group.mean]),
                    "{id}"
                );
            }
        }
        Chart::Histogram { edges, series, .. } => {
            assert!(
                edges.is_sorted() && series.iter().all(|(_, counts)| counts.len() + 1 == edges.len()),
                "{id}"
            );
        }
        Chart::Density { x_edges, y_edges, counts, .. } => {
            assert!(x_edges.is_sorted() && y_edges.is_sorted(), "{id}");
            assert_eq!(counts.len(), (x_edges.len() - 1) * (y_edges.len() - 1), "{id}");
        }
        Chart::Scatter { points, categories, .. } => {
            for point in points {
                assert!(point.category < categories.len() && finite(&[point.x, point.y]), "{id}: {point:?}");
            }
        }
    }
}

#[test]
fn the_report_has_all_figures_and_they_fit_together() {
    let place = workplace();
    let open = |name: &str| {
        let source = late_fast::io::open(&place.path(name), &ReadOptions::default()).unwrap();
        let dir = place.path("");
        let storing = Storing { dir: &dir, wanted: &[Major::Cells], memory: 1 << 30, cache: None };
        let store = unpack(source.as_ref(), StoreDtype::F32, &storing, &|_, _| {}).unwrap();
        (source, store)
    };
    let (input, truth) = (open("input.h5"), open("truth.h5"));
    let layer = ReadOptions { layer: Some("late".into()), values: Values::Finite, ..ReadOptions::default() };
    let imputed = late_fast::io::open(&place.path("imputed.h5ad"), &layer).unwrap();
    let labels = place.path("labels.csv");
    let inputs = Inputs {
        input: Matrix { source: input.0.as_ref(), store: &input.1 },
        truth: Some(Matrix { source: truth.0.as_ref(), store: &truth.1 }),
        test: None,
        imputed: Imputed {
            source: imputed.as_ref(),
            rows: ImputedRows::Stream(imputed.as_ref()),
            scale: Scale::Log10,
            record: &[("scale".into(), "log10(x+1)".into())],
        },
        labels: Some(LabelSource::Table(&labels, None)),
        run: None,
    };
    let pairs = vec![("gene1".to_owned(), "gene2".to_owned())];
    let options = Options { gene_pairs: pairs, ..Options::default() };
    let found = evaluate(&inputs, &options, &|_, _, _| {}).unwrap();
    check_report(&found.report);
    let figures: Vec<&Figure> = found.report.sections.iter().flat_map(|section| &section.figures).collect();
    let ids: Vec<&str> = figures.iter().map(|figure| figure.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "errors",
            "density-imputed",
            "density-observed",
            "gene-correlation",
            "gene-sd-ratio",
            "cell-correlation",
            "cell-sd-ratio",
            "zero-rates",
            "pca-input",
            "pca-imputed",
            "pca-latent",
            "tsne-input",
            "tsne-imputed",
            "tsne-latent",
            "genes-1-truth",
            "genes-1-input",
            "genes-1-imputed",
        ]
    );
    let Chart::Scatter { points, categories, .. } = &figures[11].chart else {
        panic!("{:?}", figures[11].chart)
    };
    assert_eq!(categories, &["type 0", "type 1", "type 2", "unlabelled"]);
    assert_eq!(points.len(), 60, "every cell is shown");
    assert_eq!(
        points.iter().filter(|point| point.category == 3).map(|p| &p.name[..]).collect::<Vec<_>>(),
        ["cell13"]
    );
    let Chart::Density { counts, .. } = &figures[1].chart else { panic!("{:?}", figures[1].chart) };
    assert_eq!(counts.iter().sum::<f64>(), found.metrics.entries.imputed.n as f64);
    assert_eq!(found.report.caution, late_fast::CAUTION);
}
