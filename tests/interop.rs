//! The files we write, imputed, simulated and made for benchmarks, in anndata, scanpy and pandas, and theirs and loompy's in
//! ours: an old and a new version of each, installed by pip into an environment of its own under the target directory.
//!
//! Skipped only where there is no Python. The old versions need Python 3.8 to 3.11: elsewhere they are skipped.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::binary::Workplace;
use common::counts::{counts, write_tenx};
use common::python;

const CELLS: usize = 200;
const GENES: usize = 90;
/// Python versions for which the old packages have wheels.
const OLD_PYTHON: std::ops::RangeInclusive<(u32, u32)> = (3, 8)..=(3, 11);

#[test]
fn scanpy_and_anndata_open_what_is_imputed() {
    let Some(version) = python::version() else {
        println!("SKIPPED scanpy_and_anndata_open_what_is_imputed: no python3 on this machine");
        return;
    };
    let place = Workplace::new();
    let mut rows = counts(CELLS, GENES, 9);
    rows[17].clear();
    rows.iter_mut().for_each(|row| row.retain(|&(gene, _)| gene != 23));
    write_tenx(&place.path("in.h5"), &rows, GENES);
    for features in ["genes", "cells"] {
        let out = format!("{features}.h5ad");
        let run = format!("{features}.late");
        place.succeed(&[
            "train",
            "--h5",
            "in.h5",
            "--features",
            features,
            "--hidden",
            "32,8",
            "--epochs",
            "60",
            "--batch-size",
            "32",
            "--lr",
            "3e-3",
            "--out",
            &run,
            "--impute",
            &out,
        ]);
    }
    let impute = ["impute", "--model", "genes.late", "--input", "in.h5", "--out"];
    for more in [
        &["merged.h5ad", "--shard", "1/2"][..],
        &["merged.h5ad", "--shard", "2/2"],
        &["latent.h5ad", "--latent-only"],
    ] {
        place.succeed(&[&impute[..], more].concat());
    }
    // The matrix is one batch: the first shard is empty.
    let shards = ["merged.shard-0001-of-0002.h5ad", "merged.shard-0002-of-0002.h5ad"];
    place.succeed(&[&["merge", "merged.h5ad"][..], &shards].concat());
    check_in_every_version(
        version,
        "check.py",
        &["in.h5", "genes.h5ad", "cells.h5ad", "merged.h5ad", "latent.h5ad", shards[0], shards[1]]
            .map(|name| place.path(name)),
    );
}

#[test]
fn scanpy_opens_what_is_simulated() {
    let Some(version) = python::version() else {
        println!("SKIPPED scanpy_opens_what_is_simulated: no python3 on this machine");
        return;
    };
    let place = Workplace::new();
    for layout in ["v2", "v3"] {
        let out = format!("{layout}.h5");
        let arguments = ["simulate", &out, "--layout", layout, "--genome", "mm10", "--truth", "truth.h5ad"];
        place.succeed(&[&arguments[..], &["--cells", "300", "--genes", "900", "--force"]].concat());
    }
    let names = ["v2.h5", "v3.h5", "v3.labels.csv", "truth.h5ad"];
    check_in_every_version(version, "check_simulated.py", &names.map(|name| place.path(name)));
}

#[test]
fn scanpy_opens_benchmark_inputs() {
    let Some(version) = python::version() else {
        println!("SKIPPED scanpy_opens_benchmark_inputs: no python3 on this machine");
        return;
    };
    let place = Workplace::new();
    let size = ["--cells", "400", "--genes", "300", "--density", "0.2", "--genome", "mm10"];
    // Both as inputs: the expected counts are real numbers, and have columns of cells.
    place.succeed(&[&["simulate", "in.h5", "--truth", "in.h5ad"][..], &size].concat());
    for command in [
        &["mask", "--input", "in.h5", "--out", "masked.h5", "--density", "0.1"][..],
        &["mask", "--input", "in.h5", "--out", "masked.h5ad", "--density", "0.1"],
        &["mask", "--input", "in.h5ad", "--out", "real.h5ad", "--density", "0.1"],
        &["downsample", "--input", "in.h5", "--out", "thin.h5ad", "--per-cell", "50"],
        &["split", "--input", "in.h5", "--train", "train.h5", "--test", "test.h5ad"],
    ] {
        place.succeed(command);
    }
    let names =
        ["in.h5", "in.h5ad", "masked.h5", "masked.h5ad", "real.h5ad", "thin.h5ad", "train.h5", "test.h5ad"];
    check_in_every_version(version, "check_perturbed.py", &names.map(|name| place.path(name)));
}

#[test]
fn text_goes_to_scanpy_pandas_and_scipy_and_comes_from_them() {
    let Some(version) = python::version() else {
        println!(
            "SKIPPED text_goes_to_scanpy_pandas_and_scipy_and_comes_from_them: no python3 on this machine"
        );
        return;
    };
    for requirements in versions(version) {
        let place = Workplace::new();
        let mut rows = counts(CELLS, GENES, 9);
        rows[17].clear();
        write_tenx(&place.path("in.h5"), &rows, GENES);
        let run = |action: &str| {
            let arguments = [action.into(), place.path("in.h5"), place.path(".")];
            run_script(requirements, "check_text.py", &arguments);
        };
        run("write");
        for name in place.listing() {
            let is_table = name.starts_with("pandas_");
            if is_table || (name.starts_with("mmwrite_") && !name.contains('/')) {
                let out = format!("read_{name}.h5");
                let orientation = if name.contains("genes") { "genes" } else { "cells" };
                let options: &[&str] = if is_table { &["--orientation", orientation] } else { &[] };
                place.succeed(&[&["convert", &name, &out][..], options].concat());
            }
        }
        for (out, options) in [
            ("mtx/", &[][..]),
            ("out.csv", &[]),
            ("out.tsv", &[]),
            ("out.csv.gz", &[]),
            ("out.tsv.gz", &[]),
            ("sparse.h5ad", &[]),
            ("dense.h5ad", &["--dense"]),
            ("out.h5", &[]),
        ] {
            place.succeed(&[&["convert", "in.h5", out][..], options].concat());
        }
        let converted = place.listing().iter().filter(|name| name.starts_with("read_")).count();
        assert_eq!(converted, 9, "{:?}", place.listing());
        run("read");
    }
}

#[test]
fn tables_of_pandas_loompy_and_anndata_are_exchanged() {
    let Some(version) = python::version() else {
        println!("SKIPPED tables_of_pandas_loompy_and_anndata_are_exchanged: no python3 on this machine");
        return;
    };
    for requirements in versions(version).into_iter().map(|version| format!("tables_{version}")) {
        let place = Workplace::new();
        run_script(&requirements, "make_tables.py", &[place.path("")]);
        let mask = |input: &str, out: &str, more: &[&str]| {
            let all = ["mask", "--input", input, "--out", out, "--keep", "1", "--no-truth"];
            place.succeed(&[&all[..], more].concat());
        };
        for name in ["blosc.hd5", "plain.hd5", "loompy.loom", "anndata.loom", "columns.h5ad"] {
            for extension in ["hd5", "h5ad"] {
                mask(name, &format!("{name}.{extension}"), &[]);
            }
        }
        mask("plain.hd5", "gene-rows.hd5", &["--orientation", "genes"]);
        run_script(&requirements, "check_tables.py", &[place.path("")]);
    }
}

/// Runs a script of `tests/interop` on these files.
fn check_in_every_version(version: (u32, u32), script: &str, files: &[PathBuf]) {
    for requirements in versions(version) {
        run_script(requirements, script, files);
    }
}

/// The environments that can be made with this Python.
fn versions(version: (u32, u32)) -> Vec<&'static str> {
    if OLD_PYTHON.contains(&version) {
        return vec!["new", "old"];
    }
    println!("SKIPPED the old versions: they have no packages for Python {version:?}");
    vec!["new"]
}

/// Runs a script of `tests/interop` in the environment with these requirements.
fn run_script(requirements: &str, script: &str, arguments: &[PathBuf]) {
    let python = python::environment(requirements, &interop().join(format!("{requirements}.txt")));
    let output = Command::new(python).arg(interop().join(script)).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}", text(&output.stdout));
    assert!(output.status.success(), "{requirements}: {}", text(&output.stderr));
}

fn interop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}
