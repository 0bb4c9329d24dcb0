//! Small files that would take much memory: refused before they do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::binary::Workplace;
use common::counts::{unlocked, write_tenx};
use common::files::{names, put, read_plain, small_rows, write};
use hdf5::types::FixedAscii;
use late_fast::h5ad::{write_axis, write_root};
use late_fast::matrix::Axis;

/// So many names take more than the room that is left of [`MEMORY`].
const NAMES: usize = 1_000_000;
const MEMORY: [&str; 2] = ["--memory", "200M"];

fn put_in(place: &Workplace, name: &str, content: impl AsRef<[u8]>) {
    put(&place.path(name), content);
}

#[track_caller]
fn refused(place: &Workplace, input: &str, parts: &[&str]) {
    let arguments = ["inspect", input];
    place.fail(&[&arguments[..], &MEMORY].concat(), &[parts, &["--memory"]].concat());
}

#[test]
fn names_of_text_are_held_against_the_memory() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("dir")).unwrap();
    let header = "%%MatrixMarket matrix coordinate integer general\n4 1000000 1\n1 1 1\n";
    put_in(&place, "dir/matrix.mtx.gz", header.as_bytes());
    put_in(&place, "dir/features.tsv.gz", b"a\tA\tGene Expression\n");
    put_in(&place, "dir/barcodes.tsv.gz", b"c\n".repeat(NAMES));
    refused(&place, "dir", &["barcodes.tsv.gz: line 4", "names that take at most"]);
    put_in(&place, "dir/barcodes.tsv.gz", b"c\n");
    put_in(&place, "dir/features.tsv.gz", b"\ta\tb\tc\td\te\n".repeat(NAMES));
    refused(&place, "dir", &["features.tsv.gz: line 2", "names that take at most"]);
    put_in(&place, "wide.csv.gz", b",".repeat(NAMES));
    refused(&place, "wide.csv.gz", &["wide.csv.gz: line 1", "names that take at most"]);
    put_in(&place, "tall.csv.gz", [b",g\n".to_vec(), b"c,1\n".repeat(NAMES)].concat());
    refused(&place, "tall.csv.gz", &["tall.csv.gz: line 4", "names that take at most"]);
    put_in(&place, "long.csv.gz", b"x".repeat(26 << 20));
    refused(&place, "long.csv.gz", &["long.csv.gz: line 1", "at most 26214400 bytes"]);
}

#[test]
fn names_in_hdf5_files_are_held_against_the_memory() {
    let place = Workplace::new();
    let path = place.path("in.h5");
    write_tenx(&path, &small_rows(), 4);
    let file = unlocked().open_as(&path, hdf5::OpenMode::ReadWrite).unwrap();
    let matrix = file.group("matrix").unwrap();
    matrix.unlink("barcodes").unwrap();
    let names = vec![FixedAscii::<64>::from_ascii("cell").unwrap(); 1 << 16];
    let barcodes = matrix.new_dataset::<FixedAscii<64>>().chunk(1 << 16).deflate(1);
    let barcodes = barcodes.shape(names.len() * 16).create("barcodes").unwrap();
    for part in 0..16 {
        barcodes.write_slice(&names, part * names.len()..(part + 1) * names.len()).unwrap();
    }
    matrix.unlink("shape").unwrap();
    write(&matrix, "shape", &[4_i32, 1 << 20]);
    drop((barcodes, matrix));
    file.close().unwrap();
    refused(&place, "in.h5", &["in.h5: matrix/barcodes", "names that take at most"]);
}

/// A dense matrix in chunks that are as tall as it is: a band of whole chunks would be 256 MiB of numbers, several times.
#[test]
fn tall_chunks_are_read_in_pieces() {
    const ROWS: usize = 1 << 15;
    const COLUMNS: usize = 1000;
    const WIDTH: usize = 40;
    let place = Workplace::new();
    let file = unlocked().create(place.path("in.h5ad")).unwrap();
    write_root(&file).unwrap();
    write_axis(&file, "obs", &Axis::from_names(names("cell", ROWS))).unwrap();
    write_axis(&file, "var", &Axis::from_names(names("gene", COLUMNS))).unwrap();
    let x =
        file.new_dataset::<u8>().chunk([ROWS, WIDTH]).deflate(1).shape([ROWS, COLUMNS]).create("X").unwrap();
    let values = ndarray::Array2::<u8>::from_elem([ROWS, WIDTH], 3);
    for left in (0..COLUMNS).step_by(WIDTH) {
        x.write_slice(&values, (.., left..left + WIDTH)).unwrap();
    }
    drop(x);
    file.close().unwrap();
    let run = place.succeed(&["convert", "in.h5ad", "out.h5"]);
    let peak = run.stderr.lines().find_map(|line| line.strip_prefix("peak memory ")).unwrap();
    let number: f64 = peak.split(' ').next().unwrap().parse().unwrap();
    assert!(peak.ends_with(" MiB") && number < 512.0, "{peak}");
    place.fail(
        &["inspect", "in.h5ad", "--memory", "2M"],
        &["in.h5ad: X", "chunks that fit in memory", "chunks of 1.25 MiB", "--memory"],
    );
    assert!(read_plain(&place.path("out.h5")).rows.iter().flatten().all(|&count| count == 3.0));
}
