//! Same seed, same bits: whatever the threads, and whatever the file the matrix came from.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::binary::Workplace;
use common::counts::{counts, write_tenx};

const GENES: usize = 500;

fn train(place: &Workplace, features: &str, out: &str, more: &[&str]) -> Vec<u8> {
    let base = ["train", "--h5", "in.h5", "--features", features, "--out", out];
    let small = ["--hidden", "40,20", "--epochs", "4", "--batch-size", "64", "--lr", "3e-3", "--force"];
    place.succeed(&[&base[..], &small, more].concat());
    std::fs::read(place.path(out).join("model.safetensors")).unwrap()
}

#[test]
fn any_number_of_threads_gives_the_same_model() {
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), &counts(300, GENES, 1), GENES);
    for features in ["genes", "cells"] {
        for more in [
            &[][..],
            &["--loss", "mse"],
            &["--validation", "samples"],
            &["--kernel", "dense"],
            &["--param-dtype", "bf16", "--kernel", "sparse"],
            &["--param-dtype", "bf16", "--kernel", "dense"],
            &["--param-dtype", "bf16", "--loss", "mse"],
        ] {
            let model =
                |threads| train(&place, features, "run.late", &[more, &["--threads", threads]].concat());
            let one = model("1");
            assert!(one == model("2"), "{features} {more:?}: 1 and 2 threads differ");
            assert!(one == model("5"), "{features} {more:?}: 1 and 5 threads differ");
        }
    }
}

#[test]
fn another_seed_gives_another_model() {
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), &counts(100, GENES, 1), GENES);
    let first = train(&place, "genes", "run.late", &["--seed", "1"]);
    assert!(first != train(&place, "genes", "run.late", &["--seed", "2"]));
    assert!(first == train(&place, "genes", "run.late", &["--seed", "1"]));
}
