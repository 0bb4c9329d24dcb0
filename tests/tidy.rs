//! Rules of the house that no lint knows.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

const LONGEST_FILE: usize = 600;

fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    fn visit(dir: &Path, out: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, out);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                out.push((path.clone(), std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    let mut out = Vec::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut out);
    assert!(!out.is_empty());
    out
}

#[test]
fn files_stay_readable() {
    for dir in ["src", "kernels", "tests", "benches"] {
        for (path, text) in sources(dir) {
            let lines = text.lines().count();
            assert!(lines <= LONGEST_FILE, "{} has {lines} lines", path.display());
            assert!(
                text.starts_with("//!") || dir == "kernels",
                "{} does not say what it is for",
                path.display()
            );
        }
    }
}

#[test]
fn unsafe_code_lives_in_the_kernels_and_in_one_file() {
    for (path, text) in sources("src") {
        let allowed = path.ends_with("src/store/mmap.rs");
        assert!(allowed || !text.contains("unsafe {"), "{} has unsafe code", path.display());
    }
}

/// A process that another test starts at this moment inherits the lock of a file, and holds it while it runs.
#[test]
fn tests_open_without_locks() {
    for (path, text) in sources("tests") {
        let name = path.file_name().unwrap();
        let locked = [
            concat!("hdf5::", "File::"),
            " File::create(",
            "&File::create(",
            " File::open_rw(",
            "FileBuilder::new()",
        ];
        for call in
            locked.iter().filter(|_| text.contains("hdf5") && name != "tidy.rs" && name != "counts.rs")
        {
            assert!(!text.contains(call), "{}: {call} locks its file; use unlocked()", path.display());
        }
    }
}

/// Arrows of the layers: what a module may not mention.
#[test]
fn dependencies_point_one_way() {
    let above: &[(&str, &[&str])] = &[
        ("src/matrix", &["io", "store", "minibatch", "model", "train", "impute", "cli", "hdf", "h5ad"]),
        ("src/hdf", &["store", "minibatch", "model", "train", "impute", "cli", "h5ad", "output", "perturb"]),
        ("src/h5ad", &["store", "minibatch", "model", "train", "impute", "cli", "output", "perturb"]),
        (
            "src/tenx",
            &["store", "minibatch", "model", "train", "impute", "simulate", "cli", "output", "perturb"],
        ),
        (
            "src/text",
            &["io", "store", "minibatch", "model", "train", "impute", "simulate", "cli", "output", "perturb"],
        ),
        ("src/output", &["store", "minibatch", "model", "train", "impute", "simulate", "perturb", "cli"]),
        ("src/simulate", &["store", "minibatch", "model", "train", "impute", "perturb", "cli"]),
        ("src/io", &["store", "minibatch", "model", "train", "impute", "cli", "output", "perturb"]),
        ("src/store", &["minibatch", "model", "train", "impute", "cli", "output", "perturb"]),
        ("src/perturb", &["minibatch", "model", "train", "impute", "evaluate", "simulate", "cli"]),
        ("src/minibatch", &["model", "train", "impute", "evaluate", "cli"]),
        ("src/model", &["train", "impute", "evaluate", "report", "cli"]),
        ("src/train", &["impute", "evaluate", "report", "cli"]),
        ("src/impute", &["train", "evaluate", "report", "cli"]),
        (
            "src/evaluate",
            &["model", "train", "impute", "simulate", "perturb", "output", "cli", "h5ad", "tenx"],
        ),
        (
            "src/report",
            &[
                "io",
                "store",
                "matrix",
                "minibatch",
                "model",
                "train",
                "impute",
                "evaluate",
                "cli",
                "hdf",
                "h5ad",
                "tenx",
                "simulate",
            ],
        ),
    ];
    for (dir, forbidden) in above {
        for (path, text) in sources(dir) {
            for module in *forbidden {
                let mentioned = text.contains(&format!("use crate::{module}::"))
                    || text.contains(&format!("use crate::{module};"));
                assert!(!mentioned, "{} must not use {module}", path.display());
            }
        }
    }
}

#[test]
fn no_instruction_set_is_fixed_at_build_time() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("target-cpu"));
    assert!(!root.join(".cargo/config.toml").exists());
}
