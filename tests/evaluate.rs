//! `evaluate` on the real binary: its numbers are those of numpy, scipy and scikit-learn, and bad input is named.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::binary::Workplace;
use common::counts::{counts, unlocked};
use common::evaluation::{
    AS_EXPORTED, CELLS, FOREIGN, GENES, OURS, SMALL, json, small, workplace, write_dense,
};
use common::files::{Rows, attribute, names};
use late_fast::h5ad::{create_dict, write_axis};
use late_fast::matrix::Axis;
use ndarray::Array2;
use serde_json::Value;

/// What numpy and scikit-learn cannot know: the program, its reading of files, and clusters of the input, which overlap, so
/// that k-means ends in one of many optima.
const NOT_EXPECTED: [&str; 4] = ["/late_fast", "/files", "/clustering/input/ari", "/clustering/input/nmi"];

/// Compares everything; either side has to have every key.
fn compare(path: &str, expected: &Value, found: &Value, wrong: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let keys: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
            for key in keys {
                let path = format!("{path}/{key}");
                match (expected.get(key), found.get(key)) {
                    (None, Some(_)) if NOT_EXPECTED.contains(&&*path) => {}
                    (Some(expected), Some(found)) => compare(&path, expected, found, wrong),
                    (expected, _) => {
                        wrong.push(format!(
                            "{path} is {}",
                            if expected.is_some() { "missing" } else { "unexpected" }
                        ));
                    }
                }
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (k, (expected, found)) in expected.iter().zip(found).enumerate() {
                compare(&format!("{path}/{k}"), expected, found, wrong);
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

/// The keys of all values, as `groups[].name`.
fn keys(path: &str, value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                keys(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, out);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(&format!("{path}[]"), value, out)),
        _ => drop(out.insert(path.to_owned())),
    }
}

/// `a.{b,c}` as `a.b` and `a.c`.
fn expand(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let (inside, after) = rest.split_once('}').unwrap();
    inside.split(',').flat_map(|one| expand(&format!("{before}{one}{after}"))).collect()
}

#[test]
fn the_readme_documents_every_key_of_the_metrics_and_no_other() {
    let place = workplace();
    place.succeed(&[OURS, AS_EXPORTED, &["--test", "test.h5"]].concat());
    let mut found = BTreeSet::new();
    keys("", &json(&place, "out/metrics.json"), &mut found);
    let readme = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/evaluate/README.md"),
    );
    let readme = readme.unwrap();
    let first_cells = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let patterns: Vec<String> = first_cells
        .flat_map(|cell| cell.split("`, `"))
        .flat_map(|key| expand(key.trim_end_matches('`')))
        .collect();
    assert!(patterns.len() > 50, "{patterns:?}");
    let fits = |pattern: &str, key: &str| {
        let (pattern, key): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), key.split('.').collect());
        pattern.len() == key.len() && pattern.iter().zip(&key).all(|(a, b)| *a == "*" || a == b)
    };
    let undocumented: Vec<_> =
        found.iter().filter(|key| !patterns.iter().any(|pattern| fits(pattern, key))).collect();
    assert!(undocumented.is_empty(), "not in the README: {undocumented:?}");
    let unknown: Vec<_> =
        patterns.iter().filter(|pattern| !found.iter().any(|key| fits(pattern, key))).collect();
    assert!(unknown.is_empty(), "not in metrics.json: {unknown:?}");
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
fn a_budget_that_is_too_small_is_refused() {
    let place = small(&names("cell", CELLS), &names("gene", GENES));
    place.fail(&[SMALL, &["--memory", "134500000"]].concat(), &["--memory allows 128.27 MiB", "--max-cells"]);
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

/// Adds an empty sparse layer of columns to an h5ad, to be filled with arrays.
fn add_columns(path: &std::path::Path, name: &str, (n_cells, n_genes): (i64, i64)) -> hdf5::Group {
    let file = unlocked().open_as(path, hdf5::file::OpenMode::ReadWrite).unwrap();
    let layers = file.group("layers").or_else(|_| create_dict(&file, "layers")).unwrap();
    let columns = layers.create_group(name).unwrap();
    attribute(&columns, "encoding-type", "csc_matrix");
    columns.new_attr::<i64>().shape([2]).create("shape").unwrap().write_raw(&[n_cells, n_genes]).unwrap();
    columns
}

#[test]
fn negative_values_stored_gene_by_gene_are_refused_with_a_way_out() {
    let (cells, genes) = (names("cell", CELLS), names("gene", GENES));
    let place = small(&cells, &genes);
    let columns = add_columns(&place.path("ones.h5ad"), "turned", (CELLS as i64, GENES as i64));
    let value = |gene: i64, cell: i64| if (gene, cell) == (4, 5) { -2.0 } else { 1.0 };
    let rows: Rows = (0..GENES as i64)
        .map(|gene| (0..CELLS as i64).map(|cell| (cell, value(gene, cell))).collect())
        .collect();
    common::files::write_arrays(&columns, &rows);
    drop(columns);
    place.fail(
        &[SMALL, &["--imputed-layer", "turned"]].concat(),
        &[
            "gene \"gene4\"",
            "cell \"cell5\"",
            "gene by gene (CSC)",
            "found -2",
            "save it as CSR (cells as rows)",
        ],
    );
}
