//! `late-fast convert` between all formats, and commands that read text.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::Read;
use std::path::Path;

use common::anndata::{axes, write_h5ad};
use common::binary::Workplace;
use common::counts::{counts, write_tenx};
use common::files::{Matrix, fixture, read, read_plain};
use flate2::read::GzDecoder;
use late_fast::io::{Dtype, ReadOptions};
use late_fast::matrix::Major;

const CELLS: usize = 120;
const GENES: usize = 70;
const MTX: [&str; 3] = ["matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz"];

/// A matrix with empty cells and genes in `in.h5`.
fn place() -> Workplace {
    let place = Workplace::new();
    let mut rows = counts(CELLS, GENES, 5);
    rows[0].clear();
    rows[CELLS - 1].clear();
    rows.iter_mut().for_each(|row| row.retain(|&(gene, _)| gene != 3));
    rows[7][0].1 = 70_000.0;
    write_tenx(&place.path("in.h5"), &rows, GENES);
    place
}

fn inflate(path: &Path) -> String {
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

#[track_caller]
fn assert_same(found: &Matrix, expected: &Matrix) {
    assert_eq!(found.source.major(), Major::Cells);
    assert!(found.rows == expected.rows, "values differ");
    assert_eq!(found.cells().names, expected.cells().names);
    assert_eq!(found.genes().names, expected.genes().names);
}

#[test]
fn every_format_holds_the_same_matrix() {
    let place = place();
    let original = read_plain(&place.path("in.h5"));
    let columns = |matrix: &Matrix| -> Vec<Option<Vec<String>>> {
        ["gene_ids", "feature_types", "genome"].iter().map(|name| matrix.genes().texts(name)).collect()
    };
    let mut from = "in.h5".to_owned();
    // Each from the one before.
    for (out, options) in [
        ("a.h5ad", &[][..]),
        ("dense.h5ad", &["--dense"]),
        ("b.h5", &[]),
        ("dir/", &[]),
        ("named", &["--to", "mtx"]),
        ("c.csv", &[]),
        ("d.tsv.gz", &[]),
        ("e.csv.gz", &[]),
        ("f.tsv", &[]),
        ("h.hd5", &[]),
        ("other.txt", &["--to", "tsv.gz"]),
        ("g.h5", &[]),
    ] {
        let run = place.succeed(&[&["convert", &from, out][..], options].concat());
        assert!(run.stdout.contains(&format!("of {CELLS} cells x {GENES} genes")), "{}", run.stdout);
        let matrix = read_plain(&place.path(out));
        assert_same(&matrix, &original);
        if ["a.h5ad", "dense.h5ad", "b.h5"].contains(&out) {
            assert_eq!(columns(&matrix), columns(&original), "{out}");
        }
        if ["dir/", "named"].contains(&out) {
            assert_eq!(columns(&matrix)[..2], columns(&original)[..2], "{out}");
        }
        from = out.to_owned();
    }
    assert!(read_plain(&place.path("dense.h5ad")).source.head().layout.contains("dense"));
    let left: Vec<String> = place.listing().into_iter().filter(|name| name.contains(".tmp")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_directory_is_written_as_cell_ranger_does() {
    let place = place();
    place.succeed(&["convert", "in.h5", "out/"]);
    let files: Vec<String> = place.listing().into_iter().filter(|name| name.starts_with("out/")).collect();
    assert_eq!(files, ["out/barcodes.tsv.gz", "out/features.tsv.gz", "out/matrix.mtx.gz"]);
    let matrix = inflate(&place.path("out/matrix.mtx.gz"));
    let lines: Vec<&str> = matrix.lines().collect();
    assert_eq!(lines[0], "%%MatrixMarket matrix coordinate integer general");
    assert!(
        lines[1].starts_with("%metadata_json: {")
            && lines[1].contains("late-fast")
            && lines[1].contains("convert")
    );
    let record = lines[1].strip_prefix("%metadata_json: ").unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(record).is_ok(), "{record}");
    assert_eq!(lines[2], format!("{GENES} {CELLS} {}", lines.len() - 3));
    assert!(inflate(&place.path("out/features.tsv.gz")).starts_with("id0\tgene0\tGene Expression\nid1\t"));
    assert!(inflate(&place.path("out/barcodes.tsv.gz")).starts_with("cell0\ncell1\n"));
    for name in MTX {
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &place.path("out").join(name).metadata().unwrap().permissions(),
        );
        assert_eq!(
            mode & 0o777,
            std::os::unix::fs::PermissionsExt::mode(&place.path("in.h5").metadata().unwrap().permissions())
                & 0o777
        );
    }
}

#[test]
fn what_exists_is_replaced_with_force_only() {
    let place = place();
    for out in ["out/", "out.csv", "out.h5ad"] {
        place.succeed(&["convert", "in.h5", out]);
        place.fail(&["convert", "in.h5", out], &["exists already", "--force"]);
        place.succeed(&["convert", "in.h5", out, "--force"]);
    }
    assert_same(&read_plain(&place.path("out")), &read_plain(&place.path("in.h5")));
    std::fs::write(place.path("out/notes"), "mine").unwrap();
    place.fail(&["convert", "in.h5", "out", "--force"], &["out", "other files", "notes"]);
    place.fail(&["convert", "in.h5", "out.csv", "--to", "mtx", "--force"], &["not a directory"]);
    place.fail(&["convert", "in.h5", "out", "--to", "csv", "--force"], &["not a regular file"]);
    place.fail_with(2, &["convert", "in.h5", "out.txt"], &[".h5 (10x HDF5)", ".csv"]);
    place.fail_with(2, &["convert", "in.h5", "new.csv", "--dense"], &["--dense is for h5ad"]);
}

#[test]
fn no_file_that_is_read_is_replaced() {
    let place = place();
    place.succeed(&["convert", "in.h5", "dir/"]);
    std::fs::create_dir(place.path("genomes")).unwrap();
    std::fs::rename(place.path("dir"), place.path("genomes/hg19")).unwrap();
    place.succeed(&["convert", "in.h5", "dir/"]);
    std::fs::hard_link(place.path("dir/barcodes.tsv.gz"), place.path("linked.tsv.gz")).unwrap();
    std::os::unix::fs::symlink("dir", place.path("link")).unwrap();
    for (input, out) in [
        ("in.h5", "in.h5"),
        ("in.h5", "./dir/../in.h5"),
        ("dir", "dir"),
        ("dir/matrix.mtx.gz", "dir/"),
        ("dir", "dir/matrix.mtx.gz"),
        ("dir", "dir/barcodes.tsv.gz"),
        ("dir", "dir/features.tsv.gz"),
        ("dir/matrix.mtx.gz", "dir/barcodes.tsv.gz"),
        ("dir", "linked.tsv.gz"),
        ("link", "dir/"),
        ("genomes", "genomes/hg19/"),
        ("genomes", "genomes/hg19/barcodes.tsv.gz"),
    ] {
        let to = if out.ends_with(".mtx.gz") { &["--to", "tsv.gz"][..] } else { &[] };
        place.fail_with(2, &[&["convert", input, out, "--force"][..], to].concat(), &["which is read"]);
        if to.is_empty() {
            let mask = ["mask", "--keep", "0.5", "--input", input, "--out", out, "--force"];
            place.fail_with(2, &mask, &["which is read"]);
            let split = ["split", "--input", input, "--train", "new.h5", "--test", out, "--force"];
            place.fail_with(2, &split, &["which is read"]);
        }
    }
    assert_same(&read_plain(&place.path("dir")), &read_plain(&place.path("in.h5")));
    assert_same(&read_plain(&place.path("genomes")), &read_plain(&place.path("in.h5")));
}

#[test]
fn real_numbers_go_where_there_is_a_place_for_them() {
    let place = Workplace::new();
    let text = ",g0,g1,g2\nc0,0.1,0,2.5\nc1,1e-7,3,0\n";
    std::fs::write(place.path("in.csv"), text).unwrap();
    for (out, options) in
        [("a.h5ad", &[][..]), ("b.h5ad", &["--dense"]), ("c/", &[]), ("d.tsv", &[]), ("e.csv.gz", &[])]
    {
        place.succeed(&[&["convert", "in.csv", out][..], options].concat());
        let rows = read_plain(&place.path(out)).rows;
        let single = |value: f32| f64::from(value);
        let near: Vec<Vec<f64>> = vec![vec![single(0.1), 0.0, 2.5], vec![single(1e-7), 3.0, 0.0]];
        let same = rows.iter().flatten().zip(near.iter().flatten()).all(|(a, b)| {
            #[expect(clippy::cast_possible_truncation, reason = "compared as they are stored")]
            let (a, b) = (*a as f32, *b as f32);
            a == b
        });
        assert!(same, "{out}: {rows:?}");
    }
    assert!(inflate(&place.path("c/matrix.mtx.gz")).contains("coordinate real general"));
    let note = "rounded values: 2; they are kept as 32-bit numbers, with about 7 digits";
    place.succeed(&["convert", "in.csv", "f.hd5"]);
    std::fs::write(place.path("large.csv"), ",g0,g1,g2\nc0,1,4294967297,4294967295\n").unwrap();
    std::fs::write(place.path("counts.csv"), ",g0,g1\nc0,1,4294967295\n").unwrap();
    let columns = vec![vec![(0, 1.0)], vec![(0, 5_000_000_001.0)]];
    write_h5ad(&place.path("csc.h5ad"), &axes(1, 2), &columns, Major::Genes, Dtype::I64, false);
    let note_of_one = note.replace(": 2;", ": 1;");
    assert!(place.succeed(&["convert", "csc.h5ad", "again.h5ad", "--force"]).stderr.contains(&note_of_one));
    let exact = ["a.h5ad", "b.h5ad", "f.hd5", "counts.csv"].map(|input| (input, false));
    for (input, is_rounded) in
        ["in.csv", "c", "large.csv"].map(|input| (input, true)).into_iter().chain(exact)
    {
        let run = place.succeed(&["convert", input, "again.h5ad", "--force"]);
        assert_eq!(run.stderr.contains(note), is_rounded, "{input}: {}", run.stderr);
    }
    assert_eq!(std::fs::read_to_string(place.path("d.tsv")).unwrap(), text.replace(',', "\t"));
    place.fail(&["convert", "in.csv", "out.h5"], &["cell \"c0\"", "gene \"g0\"", "whole numbers", "h5ad"]);
}

#[test]
fn losses_are_told() {
    let place = Workplace::new();
    let input = fixture("h5ad/anndata_v0.7.8.h5ad");
    let input = input.to_str().unwrap();
    let told = |out: &str, part: &str| {
        let run = place.succeed(&["convert", input, out]);
        assert!(run.stderr.contains(part), "{}", run.stderr);
    };
    told("out.h5", "10x HDF5 files have no place for columns of cells");
    told("out/", "10x Matrix Market files have no place for columns of cells");
    told("out.hd5", "pandas files have no place for columns of cells");
    told("out.csv", "csv and tsv files have no place for columns of genes");
    let run = place.succeed(&["convert", input, "out.h5ad"]);
    assert!(!run.stderr.contains("no place"), "{}", run.stderr);
    let (before, after) = (read_plain(Path::new(input)), read_plain(&place.path("out.h5ad")));
    let names = |matrix: &Matrix| -> Vec<String> {
        matrix.cells().columns.iter().chain(&matrix.genes().columns).map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&before), names(&after));
}

#[test]
fn names_that_need_quotes_survive() {
    let place = Workplace::new();
    let text = "x,\"one, two\",\"say \"\"x\"\"\",tab\tin\n\"c,1\",1,2,3\nd;2,4,5,6\n";
    std::fs::write(place.path("in.csv"), text).unwrap();
    let original = read_plain(&place.path("in.csv"));
    for out in ["a.csv", "b.tsv", "c.tsv.gz", "d.h5ad", "e.h5", "g.hd5"] {
        place.succeed(&["convert", "in.csv", out]);
        assert_same(&read_plain(&place.path(out)), &original);
    }
    place.succeed(&["convert", "in.csv", "f/"]);
    assert_eq!(read_plain(&place.path("f")).genes().names, ["one, two", "say \"x\"", "tab in"]);
}

#[test]
fn nameless_cells_and_outputs_are_refused() {
    let place = Workplace::new();
    std::fs::write(place.path("in.csv"), ",g0,g1\nc0,1,2\n,3,4\n").unwrap();
    place.fail(&["convert", "in.csv", "out/"], &["out", "cell 2", "an empty one", "h5ad"]);
    std::fs::write(place.path("genes.csv"), "x,,g1\nc0,1,2\n").unwrap();
    place.fail(&["convert", "genes.csv", "out/"], &["out", "gene 1", "an empty one"]);
    for out in ["a.h5", "b.h5ad", "c.hd5", "d.tsv"] {
        place.succeed(&["convert", "in.csv", out]);
        assert_eq!(read_plain(&place.path(out)).cells().names, ["c0", ""], "{out}");
        place.succeed(&["convert", "genes.csv", out, "--force"]);
        assert_eq!(read_plain(&place.path(out)).genes().names, ["", "g1"], "{out}");
    }
    std::fs::create_dir(place.path("sub")).unwrap();
    std::fs::rename(place.path("in.csv"), place.path("sub/in.csv")).unwrap();
    for out in ["./", ".", "..", "/"] {
        let convert = ["convert", "sub/in.csv", out];
        place.fail_with(2, &convert, &["no name for an output"]);
        let forced = [&convert[..], &["--to", "mtx", "--force"]].concat();
        place.fail_with(2, &forced, &["no name for an output"]);
    }
}

#[test]
fn orientation_and_prefix_reach_the_reader() {
    let place = Workplace::new();
    std::fs::write(
        place.path("in.csv"),
        ",AAACATACATTTCC-1,AAACATACCATGCA-1\nACTB,1,0\nMALAT1,2,3\nCD3E,0,4\n",
    )
    .unwrap();
    let run = place.succeed(&["convert", "in.csv", "wrong.h5"]);
    assert!(run.stderr.contains("warning: cells and genes seem to be mixed up"), "{}", run.stderr);
    let run = place.succeed(&["convert", "in.csv", "--orientation", "genes", "right.h5ad"]);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    assert!(
        run.stderr.contains("2 cells x 3 genes; first cell AAACATACATTTCC-1, first gene ACTB"),
        "{}",
        run.stderr
    );
    let matrix = read_plain(&place.path("right.h5ad"));
    assert_eq!(matrix.rows, [[1.0, 2.0, 0.0], [0.0, 3.0, 4.0]]);
    assert_eq!(matrix.genes().names, ["ACTB", "MALAT1", "CD3E"]);
    place.succeed(&["convert", "right.h5ad", "many/"]);
    for prefix in ["a_", "b_"] {
        for name in MTX {
            std::fs::copy(place.path("many").join(name), place.path("many").join(format!("{prefix}{name}")))
                .unwrap();
        }
    }
    MTX.iter().for_each(|name| std::fs::remove_file(place.path("many").join(name)).unwrap());
    place.fail_with(2, &["inspect", "many"], &["several matrices", "--prefix"]);
    place.succeed(&["inspect", "many", "--prefix", "b_"]);
    place.fail_with(2, &["inspect", "right.h5ad", "--orientation", "cells"], &["--orientation is for csv"]);
}

#[test]
fn kept_stores_of_text_are_used_again() {
    let place = place();
    place.succeed(&["convert", "in.h5", "mtx/"]);
    place.succeed(&["convert", "in.h5", "in.csv"]);
    for input in ["mtx", "in.csv"] {
        let convert = ["convert", input, "out.h5", "--cache", ".", "--force"];
        assert!(!place.succeed(&convert).stderr.contains("reusing"));
        assert!(place.succeed(&convert).stderr.contains("reusing"));
        assert_same(&read_plain(&place.path("out.h5")), &read_plain(&place.path("in.h5")));
    }
    let genes = ["convert", "in.csv", "out.h5", "--cache", ".", "--force", "--orientation", "genes"];
    assert!(!place.succeed(&genes).stderr.contains("reusing"), "another orientation is another store");
    std::fs::copy(place.path("mtx/features.tsv.gz"), place.path("mtx/barcodes2")).unwrap();
    let changed = inflate(&place.path("mtx/barcodes.tsv.gz")).replace("cell0\n", "cell-0\n");
    std::fs::write(place.path("mtx/barcodes.tsv.gz"), changed).unwrap();
    let again = place.succeed(&["convert", "mtx", "out.h5", "--cache", ".", "--force"]);
    assert!(!again.stderr.contains("reusing"), "other names are another store");
}

#[test]
fn training_reads_text_and_benchmark_inputs_are_written_as_text() {
    let place = place();
    place.succeed(&["convert", "in.h5", "mtx/"]);
    place.succeed(&["convert", "in.h5", "in.csv.gz"]);
    let train = |input: &str| {
        let out = format!("{input}.late");
        let more = ["--hidden", "16,4", "--epochs", "3", "--batch-size", "32", "--out", &out, "--quiet"];
        place.succeed(&[&["train", "--input", input][..], &more].concat());
        std::fs::read_to_string(place.path(&out).join("split.json")).unwrap()
    };
    assert_eq!(train("mtx"), train("in.csv.gz"));
    place.succeed(&["mask", "--input", "mtx", "--out", "masked/", "--keep", "0.5"]);
    place.succeed(&["mask", "--input", "in.h5", "--out", "masked.h5", "--keep", "0.5"]);
    assert_same(&read_plain(&place.path("masked")), &read_plain(&place.path("masked.h5")));
    place.succeed(&["mask", "--input", "in.h5", "--out", "masked.hd5", "--keep", "0.5"]);
    assert_same(&read_plain(&place.path("masked.hd5")), &read_plain(&place.path("masked.h5")));
    place.succeed(&["split", "--input", "in.h5", "--train", "train.hd5", "--test", "test.hd5"]);
    place.succeed(&["split", "--input", "in.h5", "--train", "train.tsv", "--test", "test/"]);
    place.succeed(&["split", "--input", "in.h5", "--train", "train.h5", "--test", "test.h5"]);
    assert_same(&read_plain(&place.path("train.tsv")), &read_plain(&place.path("train.h5")));
    assert_same(&read_plain(&place.path("test")), &read_plain(&place.path("test.h5")));
    assert_same(&read_plain(&place.path("train.hd5")), &read_plain(&place.path("train.h5")));
    assert_same(&read_plain(&place.path("test.hd5")), &read_plain(&place.path("test.h5")));
}

#[test]
fn results_do_not_depend_on_the_threads() {
    let place = place();
    for (threads, out) in [("1", "one"), ("3", "three")] {
        for name in ["x.csv.gz", "x.h5ad", "x.h5"] {
            place.succeed(&["convert", "in.h5", &format!("{out}.{name}"), "--threads", threads]);
        }
        place.succeed(&["convert", "in.h5", &format!("{out}/"), "--threads", threads]);
    }
    let bytes = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert!(bytes("one.x.csv.gz") == bytes("three.x.csv.gz"));
    for name in MTX {
        assert!(bytes(&format!("one/{name}")) == bytes(&format!("three/{name}")), "{name}");
    }
}

#[test]
fn columns_of_every_kind_are_kept_in_h5ad() {
    let place = Workplace::new();
    let input = fixture("h5ad/anndataR_50x100.h5ad");
    place.succeed(&["convert", input.to_str().unwrap(), "out.h5ad", "--layer", "counts"]);
    let options = ReadOptions { layer: Some("counts".into()), ..ReadOptions::default() };
    let (before, after) = (read(&input, &options).unwrap(), read_plain(&place.path("out.h5ad")));
    assert_same(&after, &before);
    for (found, expected) in [(after.cells(), before.cells()), (after.genes(), before.genes())] {
        assert!(!expected.columns.is_empty());
        assert_eq!(found.columns.len(), expected.columns.len());
        for ((found_name, found), (name, expected)) in found.columns.iter().zip(&expected.columns) {
            assert_eq!(found_name, name);
            // NaN, a missing value, is not equal to itself.
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{name}");
        }
    }
}
