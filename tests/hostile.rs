//! The corpus of the fuzz targets (`fuzz/`), given to the same functions: whatever the bytes, a value or an error.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

/// Gives every file of a target's corpus to it.
fn replay(name: &str, target: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{}", dir.display());
    for path in paths {
        // The last one that is named is the one that failed.
        println!("{}", path.display());
        target(&std::fs::read(&path).unwrap());
    }
}

#[test]
fn text_does_no_harm() {
    replay("text", targets::text);
}

#[test]
fn matrix_market_directories_do_no_harm() {
    replay("mtx", targets::mtx);
}

#[test]
fn compressed_chunks_do_no_harm() {
    replay("codecs", targets::codecs);
}

#[test]
fn hdf5_files_do_no_harm() {
    replay("hdf5", targets::hdf5);
}

#[test]
fn models_do_no_harm() {
    replay("model", targets::model);
}

#[test]
fn checkpoints_do_no_harm() {
    replay("checkpoint", targets::checkpoint);
}

#[test]
fn manifests_of_shards_do_no_harm() {
    replay("shard", targets::shard);
}

#[test]
fn records_of_runs_do_no_harm() {
    replay("records", targets::records);
}

#[test]
fn tables_of_labels_do_no_harm() {
    replay("labels", targets::labels);
}
