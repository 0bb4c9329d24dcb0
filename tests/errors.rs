//! Bad input and full disks on the real binary: a clear message, exit code 1 (2 for usage), nothing left behind.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::binary::Workplace;
use common::counts::{counts, unlocked, write_tenx};
use common::files::{Rows, names, replace, write, write_texts};

const CELLS: usize = 40;
const GENES: usize = 30;

/// A workplace with a sound `in.h5`.
fn workplace() -> Workplace {
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), &counts(CELLS, GENES, 1), GENES);
    place
}

/// A workplace whose `in.h5` was changed by `damage`.
fn damaged(damage: impl FnOnce(&hdf5::Group)) -> Workplace {
    let place = workplace();
    let file = unlocked().open_rw(place.path("in.h5")).unwrap();
    damage(&file.group("matrix").unwrap());
    file.close().unwrap();
    place
}

fn with_rows(rows: &Rows, n_genes: usize) -> Workplace {
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), rows, n_genes);
    place
}

const TRAIN: &[&str] = &["train", "--h5", "in.h5", "--hidden", "8", "--epochs", "2"];

fn train_and(more: &[&'static str]) -> Vec<&'static str> {
    [TRAIN, more].concat()
}

/// Every command that reads a matrix refuses it with the same words.
#[track_caller]
fn refused_by_all(place: &Workplace, parts: &[&str]) {
    place.fail(TRAIN, parts);
    place.fail(&train_and(&["--features", "cells"]), parts);
    place.fail(&["inspect", "in.h5"], parts);
}

#[test]
fn missing_file() {
    let place = Workplace::new();
    refused_by_all(&place, &["in.h5", "No such file", "check the path"]);
}

#[test]
fn not_hdf5() {
    let place = Workplace::new();
    std::fs::write(place.path("in.h5"), "<html>Not found</html>").unwrap();
    refused_by_all(&place, &["in.h5", "a web page", "download it again"]);
    std::fs::write(place.path("in.h5"), b"\0\0\0\0").unwrap();
    refused_by_all(&place, &["in.h5", "not an HDF5 file"]);
}

#[test]
fn truncated_download() {
    let place = workplace();
    let bytes = std::fs::read(place.path("in.h5")).unwrap();
    std::fs::write(place.path("in.h5"), &bytes[..bytes.len() * 2 / 3]).unwrap();
    refused_by_all(&place, &["in.h5", "incomplete", "download"]);
}

#[test]
fn hdf5_of_another_kind() {
    let place = Workplace::new();
    let file = unlocked().create(place.path("in.h5")).unwrap();
    file.create_group("model_weights").unwrap();
    file.close().unwrap();
    refused_by_all(&place, &["in.h5", "model_weights"]);
}

#[test]
fn missing_dataset() {
    let place = damaged(|matrix| matrix.unlink("barcodes").unwrap());
    refused_by_all(&place, &["in.h5", "barcodes"]);
}

#[test]
fn index_out_of_range() {
    let place = damaged(|matrix| {
        let mut indices: Vec<i64> = matrix.dataset("indices").unwrap().read_raw().unwrap();
        let last = indices.len() - 1;
        indices[last] = 30;
        replace(matrix, "indices", &indices);
    });
    refused_by_all(&place, &["in.h5", "matrix/indices", "cell39", "30"]);
}

#[test]
fn decreasing_indptr() {
    let place = damaged(|matrix| {
        let mut indptr: Vec<i64> = matrix.dataset("indptr").unwrap().read_raw().unwrap();
        indptr[3] = indptr[5];
        replace(matrix, "indptr", &indptr);
    });
    refused_by_all(&place, &["in.h5", "matrix/indptr"]);
}

#[test]
fn negative_value() {
    let place = damaged(|matrix| {
        let mut data: Vec<i32> = matrix.dataset("data").unwrap().read_raw().unwrap();
        data[0] = -4;
        replace(matrix, "data", &data);
    });
    refused_by_all(&place, &["in.h5", "matrix/data", "cell0", "gene", "-4"]);
}

#[test]
fn nan_value() {
    let place = damaged(|matrix| {
        let data: Vec<i32> = matrix.dataset("data").unwrap().read_raw().unwrap();
        let mut data: Vec<f64> = data.into_iter().map(f64::from).collect();
        data[0] = f64::NAN;
        replace(matrix, "data", &data);
    });
    refused_by_all(&place, &["in.h5", "matrix/data", "cell0", "gene", "NaN"]);
}

#[test]
fn no_observed_entries() {
    let place = with_rows(&vec![vec![]; 5], 4);
    refused_by_all(&place, &["in.h5", "observed", "all zero", "--layer"]);
}

#[test]
fn one_observed_entry_cannot_train_and_validate() {
    let place = with_rows(&vec![vec![(0, 3.0)]], 1);
    place.fail(TRAIN, &["in.h5", "of 1 in 1 cell", "--holdout"]);
    let by_samples = train_and(&["--validation", "samples"]);
    place.fail(&by_samples, &["in.h5", "of 1 in 1 cell", "--validation entries"]);
}

#[test]
fn one_cell_trains_and_imputes() {
    let place = with_rows(&counts(1, 200, 3), 200);
    place.succeed(&train_and(&["--impute", "out.h5ad"]));
    place.succeed(&train_and(&["--features", "cells", "--out", "cells.late", "--impute", "cells.h5ad"]));
}

#[test]
fn one_gene_trains_and_imputes() {
    let place = with_rows(&vec![vec![(0, 2.0)]; 200], 1);
    place.succeed(&train_and(&["--impute", "out.h5ad"]));
    place.succeed(&train_and(&["--features", "cells", "--out", "cells.late", "--impute", "cells.h5ad"]));
}

#[test]
fn fewer_samples_than_a_batch_train() {
    let place = workplace();
    let run = place.succeed(&train_and(&["--batch-size", "4096"]));
    assert!(run.stderr.contains("40 cells in 1 minibatches"), "{}", run.stderr);
}

#[test]
fn existing_outputs_are_kept_unless_forced() {
    let place = workplace();
    place.succeed(&train_and(&["--impute", "out.h5ad"]));
    let model = std::fs::read(place.path("in.late/model.safetensors")).unwrap();
    let imputed = std::fs::read(place.path("out.h5ad")).unwrap();
    place.fail(&train_and(&["--seed", "5"]), &["in.late/model.safetensors", "exists", "--force"]);
    let elsewhere = train_and(&["--out", "other.late", "--impute", "out.h5ad"]);
    place.fail(&elsewhere, &["out.h5ad", "exists", "--force"]);
    let impute = ["impute", "--model", "in.late", "--input", "in.h5", "--out", "out.h5ad"];
    place.fail(&impute, &["out.h5ad", "exists", "--force"]);
    // A forced run that fails leaves everything as it was.
    place.fail(&["train", "--h5", "missing.h5", "--out", "in.late", "--force"], &["missing.h5"]);
    assert_eq!(std::fs::read(place.path("in.late/model.safetensors")).unwrap(), model);
    assert_eq!(std::fs::read(place.path("out.h5ad")).unwrap(), imputed);
    place.succeed(&train_and(&["--seed", "5", "--force"]));
    assert_ne!(std::fs::read(place.path("in.late/model.safetensors")).unwrap(), model);
}

#[test]
fn settings_that_cannot_be_used_are_usage_errors() {
    let place = workplace();
    for (options, part) in [
        (["--hidden", "0"], "--hidden"),
        (["--hidden", "8,x"], "--hidden"),
        (["--dropout-in", "1"], "--dropout-in"),
        (["--lr", "nan"], "--lr"),
        (["--batch-size", "0"], "--batch-size"),
        (["--epochs", "0"], "--epochs"),
        (["--holdout", "1.5"], "--holdout"),
        (["--memory", "8 apples"], "--memory"),
        (["--features", "peaks"], "--features"),
    ] {
        place.fail_with(2, &train_and(&options), &[part]);
    }
    place.fail_with(2, &train_and(&["--validation", "samples", "--split", "1,2"]), &["--split"]);
    place.fail_with(2, &["train"], &["--input"]);
}

#[test]
fn a_plan_above_the_budget_is_refused_before_anything_is_written() {
    let place = workplace();
    let wide = ["train", "--h5", "in.h5", "--hidden", "16000", "--memory", "140M"];
    let parts = ["memory", "140.00 MiB", "--hidden", "--memory"];
    place.fail(&wide, &parts);
    place.fail(&[&wide[..], &["--dry-run"]].concat(), &parts);
    // Too little even to read the matrix.
    place.fail(&["inspect", "in.h5", "--memory", "16M"], &["memory", "16.00 MiB", "--memory"]);
}

#[test]
fn outputs_that_cannot_be_written_are_found_before_training() {
    let place = workplace();
    std::fs::write(place.path("taken"), "a file").unwrap();
    let missing = &["missing/out.h5ad", "No such file"];
    place.fail(&train_and(&["--impute", "missing/out.h5ad"]), &missing[1..]);
    place.fail(&train_and(&["--out", "missing/run.late"]), &["missing/run.late", "No such file"]);
    place.fail(&train_and(&["--out", "taken"]), &["taken"]);
    place.fail_with(2, &train_and(&["--out", "same", "--impute", "same"]), &["same"]);
    std::fs::copy(place.path("in.h5"), place.path("in.h5ad")).unwrap();
    let over = ["train", "--h5", "in.h5ad", "--impute", "in.h5ad", "--force"];
    place.fail_with(2, &over, &["in.h5ad", "which is read"]);
}

#[test]
fn options_without_effect_are_refused() {
    let place = workplace();
    place.fail_with(2, &train_and(&["--policy", "max"]), &["--policy", "--impute"]);
    place.fail_with(2, &train_and(&["--split", "1,1,1"]), &["--split", "--validation samples"]);
    let samples = train_and(&["--validation", "samples", "--holdout", "0.1"]);
    place.fail_with(2, &samples, &["--holdout", "--validation entries"]);
    place.fail_with(2, &train_and(&["--threads", "100000"]), &["--threads"]);
}

#[test]
fn a_network_that_explodes_keeps_its_last_good_state() {
    let place = workplace();
    let arguments = [
        "train",
        "--h5",
        "in.h5",
        "--hidden",
        "8,4",
        "--epochs",
        "9",
        "--lr",
        "1e6",
        "--dropout-hidden",
        "0",
    ];
    let run = place.run(&arguments);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    for part in ["no longer a finite number", "--lr", "the weights of epoch", "in.late"] {
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    late_fast::model::ModelFile::read(&place.path("in.late/model.safetensors")).unwrap();
}

#[test]
fn values_beyond_half_precision_are_refused() {
    let mut rows = counts(CELLS, GENES, 1);
    rows[3][0].1 = 100_000.0;
    let place = with_rows(&rows, GENES);
    place.succeed(TRAIN);
    let impute = ["impute", "--model", "in.late", "--input", "in.h5", "--out", "out.h5ad"];
    let half = ["--dtype", "f16", "--output-scale", "counts", "--policy", "keep-observed"];
    place.fail(&[&impute[..], &half].concat(), &["cell 4", "--dtype f32"]);
}

#[test]
fn nobody_listening_does_not_cost_the_results() {
    let place = workplace();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_late-fast"))
        .args(train_and(&["--json", "--impute", "out.h5ad"]))
        .current_dir(place.path(""))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert!(place.path("in.late/model.safetensors").exists() && place.path("out.h5ad").exists());
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let place = workplace();
    let before = place.listing();
    let run = place.succeed(&train_and(&["--dry-run"]));
    assert!(run.stdout.contains("-> 8 ->") && run.stdout.contains("memory"), "{}", run.stdout);
    assert_eq!(place.listing(), before);
}

#[test]
fn damaged_and_foreign_models() {
    let place = workplace();
    place.succeed(TRAIN);
    let path = place.path("in.late/model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let impute = ["impute", "--model", "in.late", "--input", "in.h5", "--out", "out.h5ad"];
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        place.fail(&impute, &["model.safetensors", "train again"]);
    }
    let mut nan = whole.clone();
    let header = 8 + usize::try_from(u64::from_le_bytes(whole[..8].try_into().unwrap())).unwrap();
    nan[header..header + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, &nan).unwrap();
    place.fail(&impute, &["model.safetensors", "finite"]);
    std::fs::write(&path, "{}").unwrap();
    place.fail(&impute, &["model.safetensors"]);
    std::fs::remove_file(&path).unwrap();
    place.fail(&impute, &["model.safetensors", "check the path"]);
}

#[test]
fn every_byte_of_a_models_header_may_be_wrong() {
    let place = workplace();
    place.succeed(TRAIN);
    let path = place.path("in.late/model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let header = 8 + usize::try_from(u64::from_le_bytes(whole[..8].try_into().unwrap())).unwrap();
    for at in 0..header {
        let mut changed = whole.clone();
        changed[at] ^= 0x15;
        std::fs::write(&path, &changed).unwrap();
        // Either an error or a model: what must not happen is a panic or a huge allocation.
        if let Ok(model) = late_fast::model::ModelFile::read(&path) {
            assert_eq!(model.features.len(), model.network.architecture.n_features);
        }
    }
}

#[test]
fn a_model_of_other_genes() {
    let place = workplace();
    place.succeed(TRAIN);
    let file = unlocked().open_rw(place.path("in.h5")).unwrap();
    let features = file.group("matrix/features").unwrap();
    for name in ["id", "name"] {
        features.unlink(name).unwrap();
        write_texts(&features, name, &names("mouse", GENES));
    }
    drop(features);
    file.close().unwrap();
    let impute = ["impute", "--model", "in.late", "--input", "in.h5", "--out", "out.h5ad"];
    place.fail(&impute, &["in.h5", "gene names", "0 of its", "mouse0"]);
}

#[test]
fn unknown_genes_in_a_list() {
    let place = workplace();
    std::fs::write(place.path("genes.txt"), "gene1\nCD8A\n").unwrap();
    let arguments = train_and(&["--impute", "out.h5ad", "--genes", "genes.txt"]);
    place.fail(&arguments, &["genes.txt", "line 2", "CD8A"]);
}

#[test]
fn a_store_that_does_not_fit_the_disk() {
    let Some(disk) = SmallDisk::mount(256) else {
        println!("SKIPPED a_store_that_does_not_fit_the_disk: mounting a tmpfs needs root");
        return;
    };
    let place = with_rows(&counts(3000, 100, 2), 100);
    let cache = disk.path.to_str().unwrap();
    place.fail(&train_and(&["--features", "cells", "--cache", cache.to_owned().leak()]), &[cache, "space"]);
    assert_eq!(std::fs::read_dir(&disk.path).unwrap().count(), 0);
}

#[test]
fn an_output_that_does_not_fit_the_disk() {
    let Some(disk) = SmallDisk::mount(420) else {
        println!("SKIPPED an_output_that_does_not_fit_the_disk: mounting a tmpfs needs root");
        return;
    };
    let place = with_rows(&counts(1000, 100, 2), 100);
    place.succeed(TRAIN);
    let cache = tempfile::tempdir().unwrap();
    let impute = |out: &str, dtype: &str| {
        let cache = cache.path().to_str().unwrap();
        ["impute", "--model", "in.late", "--input", "in.h5", "--cache", cache, "--out", out, "--dtype", dtype]
            .map(str::to_owned)
    };
    let out = disk.path.join("out.h5ad");
    let out = out.to_str().unwrap();
    // 1000 x 100 x 4 bytes leave too little for counts, names and latent code: found while writing.
    let arguments = impute(out, "f32");
    place.fail(&arguments.each_ref().map(String::as_str), &[out, "space"]);
    assert_eq!(std::fs::read_dir(&disk.path).unwrap().count(), 0);
    // A disk that is too small for the layer alone is found before any work.
    std::fs::write(disk.path.join("filler"), vec![0; 100 << 10]).unwrap();
    place.fail(&arguments.each_ref().map(String::as_str), &[out, "space", "--genes"]);
    // And the same for the model and its checkpoints.
    let model = disk.path.join("run.late");
    std::fs::write(disk.path.join("more"), vec![0; 200 << 10]).unwrap();
    let model = model.to_str().unwrap();
    let cache = cache.path().to_str().unwrap();
    let arguments =
        ["train", "--h5", "in.h5", "--hidden", "400", "--epochs", "1", "--cache", cache, "--out", model];
    place.fail(&arguments, &[model, "are free there", "--checkpoint-interval never"]);
}

/// A file system of its own, unmounted in the end.
struct SmallDisk {
    path: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(kib: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        std::fs::create_dir(&path).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(&path)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self { path, _dir: dir })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg(&self.path).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "cannot unmount {}", self.path.display());
    }
}

#[test]
fn the_workplace_notices_what_is_left_behind() {
    let place = workplace();
    let before = place.listing();
    write(&unlocked().create(place.path("more.h5")).unwrap(), "x", &[1]);
    assert_ne!(place.listing(), before);
}
