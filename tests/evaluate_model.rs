//! `evaluate --model`: what the run that made the model tells.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::binary::Workplace;
use common::counts::{counts, write_tenx};
use common::evaluation::json;
use common::files::Rows;

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

/// Counts of `n_cells` x 30 genes, and the same with a third of them hidden and all of the cells `empty`.
fn masked(n_cells: usize, empty: &[usize]) -> Workplace {
    let place = Workplace::new();
    let truth = counts(n_cells, 30, 5);
    let hidden = |cell: usize, gene: i64| (cell as i64 + gene) % 3 == 0 || empty.contains(&cell);
    let masked: Rows = truth
        .iter()
        .enumerate()
        .map(|(cell, row)| row.iter().copied().filter(|entry| !hidden(cell, entry.0)).collect())
        .collect();
    write_tenx(&place.path("truth.h5"), &truth, 30);
    write_tenx(&place.path("in.h5"), &masked, 30);
    place
}

const TRAIN: &[&str] =
    &["train", "--h5", "in.h5", "--hidden", "16,4", "--epochs", "3", "--out", "run", "--impute", "out.h5ad"];
const EVALUATE: &[&str] = &[
    "evaluate",
    "-i",
    "in.h5",
    "--truth",
    "truth.h5",
    "--imputed",
    "out.h5ad",
    "--model",
    "run",
    "--out",
    "evaluated",
];

#[test]
fn samples_that_were_in_no_part_were_not_trained_on() {
    let empty = [3, 70, 141];
    let place = masked(200, &empty);
    place.succeed(&[TRAIN, &["--validation", "samples"]].concat());
    place.succeed(EVALUATE);
    let found = json(&place, "evaluated/metrics.json");
    let truth = counts(200, 30, 5);
    let expected: usize = empty.iter().map(|&cell| truth[cell].len()).sum();
    let n = |name: &str| {
        let all = found["groups"].as_array().unwrap();
        all.iter().find(|group| group["name"] == name).map(|group| group["n"].as_u64().unwrap())
    };
    assert_eq!(n("in no part, imputed"), Some(expected as u64));
    assert_eq!(n("in no part, observed"), None);
    let split = json(&place, "run/split.json");
    let trained: Vec<usize> = split["train"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().trim_start_matches("cell").parse().unwrap())
        .collect();
    let hidden = |cell: usize| truth[cell].iter().filter(|entry| (cell as i64 + entry.0) % 3 == 0).count();
    assert_eq!(n("training, imputed"), Some(trained.into_iter().map(hidden).sum::<usize>() as u64));
}

#[test]
fn of_two_networks_settings_and_timings_are_told_of_each() {
    let place = masked(200, &[]);
    place.succeed(&[TRAIN, &["--features", "both", "--batch-size", "64"]].concat());
    place.succeed(EVALUATE);
    let rows = |name: &str| {
        let mut csv = csv::Reader::from_path(place.path(&format!("evaluated/tables/{name}.csv"))).unwrap();
        let header: Vec<String> = csv.headers().unwrap().iter().map(str::to_owned).collect();
        let rows: Vec<Vec<String>> =
            csv.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
        (header, rows)
    };
    let columns = ["setting", "genes as features", "cells as features"];
    let ((header, settings), (timed, timings)) = (rows("configuration"), rows("timings"));
    assert_eq!((header, timed), (columns.map(str::to_owned).to_vec(), columns.map(str::to_owned).to_vec()));
    let of = |rows: &[Vec<String>], name: &str| rows.iter().find(|row| row[0] == name).unwrap()[1..].to_vec();
    assert_eq!(of(&settings, "samples"), ["cells", "genes"]);
    assert_eq!(of(&timings, "epochs"), ["3", "3"]);
    for (column, network) in ["genes", "cells"].into_iter().enumerate() {
        let history = std::fs::read_to_string(place.path(&format!("run/{network}/history.csv"))).unwrap();
        let best = history.lines().rfind(|line| line.split(',').nth(3) == Some("1")).unwrap();
        let error: f64 = best.split(',').nth(2).unwrap().parse().unwrap();
        assert_eq!(of(&timings, "best validation error")[column].parse::<f64>().unwrap(), error);
    }
}
