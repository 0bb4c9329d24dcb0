//! Imputed values in other formats than h5ad.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::binary::Workplace;
use common::counts::{counts, write_tenx};
use common::files::{Matrix, read, read_plain};
use late_fast::io::ReadOptions;
use late_fast::matrix::Major;

const CELLS: usize = 180;
const GENES: usize = 90;
const SMALL: [&str; 8] = ["--hidden", "16,6", "--batch-size", "32", "--lr", "3e-3", "--epochs", "3"];
const OUTPUTS: [&str; 6] = ["out.hd5", "out.csv", "out.tsv", "out.csv.gz", "out.tsv.gz", "out/"];

/// The matrix, and both networks in `in.late`.
fn trained() -> Workplace {
    let place = Workplace::new();
    let mut rows = counts(CELLS, GENES, 3);
    rows[5].clear();
    rows.iter_mut().for_each(|row| row.retain(|&(gene, _)| gene != 7));
    write_tenx(&place.path("in.h5"), &rows, GENES);
    place.succeed(&[&["train", "--h5", "in.h5", "--features", "both"], &SMALL[..]].concat());
    place
}

fn layer(place: &Workplace, name: &str) -> Matrix {
    let options = ReadOptions { layer: Some("late".into()), ..ReadOptions::default() };
    read(&place.path(name), &options).unwrap()
}

fn singles(matrix: &Matrix) -> Vec<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "they were 32-bit numbers")]
    matrix.rows.iter().flatten().map(|&value| value as f32).collect()
}

#[track_caller]
fn assert_same(place: &Workplace, name: &str, expected: &Matrix) {
    let found = read_plain(&place.path(name));
    assert_eq!(found.source.major(), Major::Cells, "{name}");
    // In text as short as 32 bits need.
    assert!(singles(&found) == singles(expected), "{name}: values differ");
    assert_eq!(found.cells().names, expected.cells().names, "{name}");
    assert_eq!(found.genes().names, expected.genes().names, "{name}");
}

#[test]
fn every_format_has_the_values_of_the_h5ad() {
    let place = trained();
    let chosen: Vec<String> = (0..GENES).step_by(2).map(|gene| format!("gene{gene}\n")).collect();
    std::fs::write(place.path("genes.txt"), chosen.concat()).unwrap();
    let ways: [&[&str]; 3] = [
        &["impute", "--model", "in.late/genes"],
        &["impute", "--model", "in.late/cells", "--genes", "genes.txt"],
        &["combine", "--genes-model", "in.late/genes", "--cells-model", "in.late/cells"],
    ];
    for way in ways {
        for more in [&["--policy", "max"][..], &["--output-scale", "counts", "--dtype", "f16"]] {
            let write = |out| {
                let output = ["--input", "in.h5", "--force", "--out", out];
                place.succeed(&[way, &output, more].concat())
            };
            write("out.h5ad");
            let expected = layer(&place, "out.h5ad");
            assert_eq!(expected.cells().len(), CELLS);
            for out in OUTPUTS {
                let run = write(out);
                assert!(run.stdout.contains(": imputed values\n"), "{}", run.stdout);
                assert_same(&place, out, &expected);
            }
        }
    }
    let left = place.listing();
    assert!(left.iter().all(|name| !name.contains(".tmp")), "{left:?}");
}

#[test]
fn training_may_end_in_any_of_them() {
    let place = trained();
    let train = |features, out: &str| {
        let run = ["train", "--h5", "in.h5", "--features", features, "--impute", out, "--out", "next.late"];
        place.succeed(&[&run[..], &SMALL, &["--force", "--resume"]].concat());
    };
    train("genes", "next.h5ad");
    train("genes", "next.csv.gz");
    assert_same(&place, "next.csv.gz", &layer(&place, "next.h5ad"));
    std::fs::remove_dir_all(place.path("next.late")).unwrap();
    train("both", "both.h5ad");
    train("both", "both/");
    assert_same(&place, "both/", &layer(&place, "both.h5ad"));
}

#[test]
fn what_a_format_cannot_hold_is_refused_before_any_work() {
    let place = trained();
    let impute = ["impute", "--model", "in.late/genes", "--input", "in.h5"];
    let refuse = |more: &[&str], parts: &[&str]| place.fail_with(2, &[&impute[..], more].concat(), parts);
    refuse(&["--out", "out.h5"], &["out.h5", "whole numbers", ".csv.gz"]);
    refuse(&["--out", "out.loom"], &["out.loom", "does not say", ".h5ad"]);
    refuse(&["--out", "out.csv", "--latent-only"], &["--latent-only", "out.csv", ".h5ad"]);
    refuse(&["--out", "out.csv", "--shard", "1/2"], &["--shard", "out.csv", ".h5ad"]);
    let train = ["train", "--h5", "in.h5", "--out", "x.late", "--impute", "out.h5"];
    place.fail_with(2, &train, &["out.h5", "whole numbers"]);
    // What is there stays.
    std::fs::create_dir(place.path("mine")).unwrap();
    std::fs::write(place.path("mine/thesis.txt"), "years").unwrap();
    std::fs::write(place.path("out.csv"), "mine").unwrap();
    for (out, parts) in [("out.csv", ["out.csv", "exists already"]), ("mine/", ["mine/", "exists already"])] {
        place.fail(&[&impute[..], &["--out", out]].concat(), &parts);
    }
    place.fail(&[&impute[..], &["--out", "mine/", "--force"]].concat(), &["mine", "thesis.txt"]);
    assert_eq!(std::fs::read_to_string(place.path("out.csv")).unwrap(), "mine");
}
