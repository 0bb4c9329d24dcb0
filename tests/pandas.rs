//! Frames of pandas in HDF5, the original LATE's `.hd5`: made by pandas (`data/generate/pandas_loom.py`), or damaged here.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions")]

mod common;

use std::path::{Path, PathBuf};

use common::binary::Workplace;
use common::counts::unlocked;
use common::files::{assert_refused, damages, fixture, names, read, read_plain, replace};
use hdf5::Group;
use hdf5::types::FixedAscii;
use late_fast::io::{Dtype, ReadOptions};
use late_fast::matrix::{Axis, Major, RowBlock};
use late_fast::output::{Content, Format, MatrixFile, Record};
use tempfile::TempDir;

const CELLS: usize = 23;
const GENES: usize = 17;

fn frame(name: &str) -> PathBuf {
    fixture(&format!("pandas/{name}.hd5"))
}

/// The generator's formula.
fn counts(cells: usize) -> Vec<Vec<f64>> {
    let value = |c: usize, g: usize| (((7 * c + 5 * g + c * g) % 11) as f64 - 6.0).max(0.0);
    (0..cells).map(|c| (0..GENES).map(|g| value(c, g)).collect()).collect()
}

fn reals(cells: usize) -> Vec<Vec<f64>> {
    counts(cells).iter().map(|row| row.iter().map(|x| x * 1.25).collect()).collect()
}

#[test]
fn every_level_and_codec_is_read() {
    let mut expected = reals(120);
    expected.iter_mut().zip(counts(120)).for_each(|(row, counts)| row[3] = counts[3]);
    let levels = (1..=9).map(|level| format!("blosc_{level}"));
    let codecs = ["blosclz", "lz4", "lz4hc", "zlib", "zstd"].map(|codec| format!("codec_{codec}"));
    for name in levels.chain(codecs).chain(["zlib".to_owned()]) {
        let matrix = read_plain(&frame(&name));
        assert_eq!(matrix.rows, expected, "{name}");
        assert_eq!(matrix.cells().names, names("cell", 120));
        assert_eq!(matrix.genes().names, names("gene", GENES));
        assert!(matrix.source.head().notes.is_empty(), "{name}: {:?}", matrix.source.head().notes);
    }
}

#[test]
fn every_type_and_key_is_read() {
    for (name, expected) in [
        ("plain", reals(CELLS)),
        ("singles", reals(CELLS)),
        ("integers", counts(CELLS)),
        ("small_types", counts(CELLS)),
        ("nested", counts(CELLS)),
    ] {
        let matrix = read_plain(&frame(name));
        assert_eq!(matrix.rows, expected, "{name}");
        assert_eq!(matrix.source.head().layout, "pandas HDFStore (a row is a cell)");
        assert_eq!(matrix.source.declared_nnz(), (CELLS * GENES) as u64);
    }
    let described = read_plain(&frame("nested")).source.describe();
    assert!(described.contains(&("key".to_owned(), "a/b".to_owned())), "{described:?}");
}

#[test]
fn columns_of_several_blocks_find_their_places() {
    let mut expected = reals(CELLS);
    for (row, counts) in expected.iter_mut().zip(counts(CELLS)) {
        (0..GENES).step_by(3).for_each(|gene| row[gene] = counts[gene]);
    }
    let matrix = read_plain(&frame("blocks"));
    assert_eq!(matrix.rows, expected);
    assert_eq!(matrix.genes().names, names("gene", GENES));
    assert_eq!(matrix.source.describe()[1], ("blocks".to_owned(), "3".to_owned()));
}

#[test]
fn repeated_labels_keep_their_order() {
    let matrix = read_plain(&frame("repeated"));
    assert_eq!(matrix.genes().names[..4], ["same", "same", "same", "gene3"]);
    assert!(matrix.has_note("1 gene names stand more than once"), "{:?}", matrix.source.head().notes);
    assert!(matrix.has_note("1 cell names stand more than once"));
    // Block 0 has gene1, gene2 and others, block 1 has gene0 (cut to whole numbers) and gene5: the labels do not tell which
    // of the three is which.
    let mut expected = reals(CELLS);
    for (row, values) in expected.iter_mut().zip(reals(CELLS)) {
        (row[0], row[1], row[2], row[5]) = (values[1], values[2], values[0].floor(), values[5].floor());
    }
    assert_eq!(matrix.rows, expected);
}

#[test]
fn a_row_may_be_a_gene() {
    let genes = ReadOptions { orientation: Some(Major::Genes), ..ReadOptions::default() };
    let matrix = read(&frame("plain"), &genes).unwrap();
    assert_eq!(matrix.source.major(), Major::Genes);
    assert_eq!(matrix.source.head().layout, "pandas HDFStore (a row is a gene)");
    assert_eq!(matrix.rows, reals(CELLS));
    assert_eq!((matrix.cells().len(), matrix.genes().len()), (GENES, CELLS));
    assert_eq!(matrix.genes().names[0], "cell0");
    let cells = ReadOptions { orientation: Some(Major::Cells), ..ReadOptions::default() };
    assert_eq!(read(&frame("plain"), &cells).unwrap().cells().names[0], "cell0");
}

#[test]
fn without_the_attribute_a_row_of_the_dataset_is_a_column() {
    let matrix = read_plain(&frame("not_transposed"));
    assert_eq!(matrix.rows, reals(CELLS));
    assert_eq!(matrix.source.major(), Major::Cells);
}

#[test]
fn labels_are_strings_of_either_encoding_or_numbers() {
    let matrix = read_plain(&frame("numbered"));
    assert_eq!(matrix.cells().names[..3], ["0", "10", "20"]);
    assert_eq!(matrix.genes().names[..3], ["0.0", "0.25", "0.5"]);
    assert_eq!(read_plain(&frame("letters")).genes().names[0], "β-actin");
    assert_eq!(read_plain(&frame("latin")).genes().names[0], "Müller");
}

#[test]
fn empty_frames_keep_their_labels() {
    let matrix = read_plain(&frame("no_rows"));
    assert_eq!((matrix.cells().len(), matrix.genes().names.as_slice()), (0, &names("gene", GENES)[..]));
    let matrix = read_plain(&frame("no_columns"));
    assert_eq!((matrix.cells().len(), matrix.genes().len()), (GENES, 0));
    assert_eq!(matrix.rows, vec![Vec::<f64>::new(); GENES]);
}

#[test]
fn missing_values_are_zeros_only_when_asked_for() {
    let path = frame("missing");
    let found = ["null/block0_values[4, 6]", "cell \"cell4\"", "gene \"gene6\"", "NaN", "--nan-as-zero"];
    assert_refused(&path, &ReadOptions::default(), &found);
    let options = ReadOptions { nan_as_zero: true, ..ReadOptions::default() };
    let matrix = read(&path, &options).unwrap();
    assert_eq!(matrix.tally.missing, 2);
    let mut expected = reals(CELLS);
    (expected[4][6], expected[20][2]) = (0.0, 0.0);
    assert_eq!(matrix.rows, expected);
    assert_refused(&frame("negative"), &options, &["[4, 6]", "found -1", "counts"]);
}

#[test]
fn what_is_not_numbers_with_plain_labels_is_refused_with_a_way_out() {
    for (name, parts) in [
        ("table", &["null@pandas_type", "table format", "re-save it with format='fixed'"][..]),
        ("series", &["null@pandas_type", "\"series\"", "frame.to_hdf("]),
        ("text_column", &["null/block1_values", "pickled Python objects", "never read", "frame.to_hdf("]),
        ("odd_labels", &["null/axis1", "pickled Python objects", "never read"]),
        ("no_labels", &["null/axis1", "pickled Python objects", "none at all"]),
        ("bool_column", &["null/block1_values", "truth values (bool)"]),
        ("date_column", &["null/block1_values", "datetime64"]),
        ("date_labels", &["null/axis1", "a kind of dates"]),
        ("period_labels", &["null/axis1", "a kind of dates"]),
        ("multi_index", &["null/axis1", "MultiIndex"]),
        ("two_frames", &["2: first, second", "into a file of its own"]),
    ] {
        assert_refused(&frame(name), &ReadOptions::default(), parts);
    }
    let matrix = read_plain(&frame("with_series"));
    assert!(matrix.has_note("left out sums, a pandas \"series\""), "{:?}", matrix.source.head().notes);
    let genome = ReadOptions { genome: Some("hg19".into()), ..ReadOptions::default() };
    assert_refused(&frame("plain"), &genome, &["--genome is for 10x"]);
    let attribute = ReadOptions { gene_attr: Some("Gene".into()), ..ReadOptions::default() };
    assert_refused(&frame("plain"), &attribute, &["--gene-attr is for loom"]);
    let nan = ReadOptions { nan_as_zero: true, ..ReadOptions::default() };
    assert_refused(&fixture("loom/v3.loom"), &nan, &["--nan-as-zero is for pandas"]);
    let genes = ReadOptions { orientation: Some(Major::Genes), ..ReadOptions::default() };
    assert_refused(&fixture("loom/v3.loom"), &genes, &["--orientation is for csv, tsv and pandas files"]);
}

/// A copy of a frame that was changed.
fn damaged(directory: &TempDir, name: &str, change: impl FnOnce(&Group)) -> PathBuf {
    let path = directory.path().join("damaged.hd5");
    std::fs::copy(frame(name), &path).unwrap();
    let file = unlocked().open_rw(&path).unwrap();
    change(&file.group("null").unwrap());
    file.close().unwrap();
    path
}

fn labels(texts: &[String]) -> Vec<FixedAscii<16>> {
    texts.iter().map(|text| FixedAscii::from_ascii(text.as_bytes()).unwrap()).collect()
}

fn set_integer(group: &Group, name: &str, value: i64) {
    group.delete_attr(name).unwrap();
    group.new_attr::<i64>().create(name).unwrap().write_scalar(&value).unwrap();
}

/// Replaces labels of strings.
fn relabel(group: &Group, name: &str, texts: &[String]) {
    replace(group, name, &labels(texts));
    let kind = FixedAscii::<6>::from_ascii(b"string").unwrap();
    let dataset = group.dataset(name).unwrap();
    dataset.new_attr::<FixedAscii<6>>().create("kind").unwrap().write_scalar(&kind).unwrap();
}

#[test]
fn damage_is_told_by_name() {
    let directory = TempDir::new().unwrap();
    let refuse = |name: &str, change: &dyn Fn(&Group), parts: &[&str]| {
        assert_refused(&damaged(&directory, name, change), &ReadOptions::default(), parts);
    };
    for attribute in ["axis0_variety", "axis1_variety", "block0_items_variety", "nblocks"] {
        let expected = format!("null@{attribute}");
        refuse("plain", &|group| group.delete_attr(attribute).unwrap(), &[&expected, "found nothing"]);
    }
    for dataset in ["axis0", "axis1", "block0_items"] {
        let object = format!("null/{dataset}");
        refuse("plain", &|group| group.unlink(dataset).unwrap(), &[&object, "found nothing"]);
        let object = format!("null/{dataset}@kind");
        let change = |group: &Group| group.dataset(dataset).unwrap().delete_attr("kind").unwrap();
        refuse("plain", &change, &[&object, "found nothing"]);
    }
    refuse(
        "plain",
        &|group| group.unlink("block0_values").unwrap(),
        &["null/block0_values", "found nothing"],
    );
    let no_attribute =
        |group: &Group| group.dataset("block0_values").unwrap().delete_attr("transposed").unwrap();
    refuse("plain", &no_attribute, &["null/block0_values", "[17, 23]", "@transposed", "[23, 17]"]);
    for n in [0, -1, 2, i64::MAX] {
        refuse("plain", &|group| set_integer(group, "nblocks", n), &["null"]);
    }
    let shorter = |group: &Group| relabel(group, "axis1", &names("cell", CELLS - 1));
    refuse("plain", &shorter, &["null/block0_values", "[22, 17]", "[23, 17]"]);
    let fewer = |group: &Group| relabel(group, "block0_items", &names("gene", GENES - 1));
    refuse("plain", &fewer, &["null/block0_values", "[23, 16]"]);
    let unknown = |group: &Group| relabel(group, "block0_items", &names("other", GENES));
    refuse("plain", &unknown, &["null/block0_items[0]", "a label of axis0", "other0"]);
    let twice = |group: &Group| {
        relabel(group, "block0_items", &[names("gene", GENES - 1), names("gene", 1)].concat());
    };
    refuse("plain", &twice, &["null/block0_items[16]", "\"gene0\" once more"]);
    let more = |group: &Group| relabel(group, "axis0", &names("gene", GENES + 1));
    refuse("plain", &more, &["null/axis0", "none for \"gene17\""]);
    let flat = |group: &Group| replace(group, "block0_values", &[1.0_f64; CELLS * GENES]);
    refuse("plain", &flat, &["null/block0_values", "[391]"]);
    let table = |group: &Group| {
        group.unlink("axis0").unwrap();
        group.new_dataset::<f64>().shape([3, 3]).create("axis0").unwrap();
    };
    refuse("plain", &table, &["null/axis0", "a list of labels", "[3, 3]"]);
}

#[test]
fn a_shape_of_terabytes_is_refused_before_memory_is_taken() {
    let directory = TempDir::new().unwrap();
    let path = damaged(&directory, "plain", |group| {
        for name in ["axis1", "block0_values"] {
            group.unlink(name).unwrap();
        }
        let create = |name: &str, shape: hdf5::Extents| {
            group.new_dataset::<f64>().chunk_min_kb(4).deflate(1).shape(shape).create(name).unwrap()
        };
        let kind = FixedAscii::<5>::from_ascii(b"float").unwrap();
        let axis = create("axis1", (1_usize << 40).into());
        axis.new_attr::<FixedAscii<5>>().create("kind").unwrap().write_scalar(&kind).unwrap();
        let values = create("block0_values", (1_usize << 40, GENES).into());
        values.new_attr::<u8>().create("transposed").unwrap().write_scalar(&1_u8).unwrap();
    });
    assert_refused(&path, &ReadOptions::default(), &["null/axis1", "incomplete or damaged"]);
}

#[test]
fn truncated_and_changed_files_never_bring_the_reader_down() {
    let place = Workplace::new();
    for name in ["blocks", "codec_zlib", "codec_blosclz", "plain"] {
        for (number, bytes) in damages(&frame(name), 60).iter().enumerate() {
            std::fs::write(place.path("damaged.hd5"), bytes).unwrap();
            let run = place.run(&["inspect", "damaged.hd5", "--memory", "1G"]);
            assert!(matches!(run.code, Some(0 | 1)), "{name} {number}: {:?}\n{}", run.code, run.stderr);
            assert!(!run.stderr.contains("panicked"), "{name} {number}: {}", run.stderr);
        }
    }
}

#[test]
fn the_binary_describes_and_imputes_frames() {
    let place = Workplace::new();
    let path = |name: &str| frame(name).to_str().unwrap().to_owned();
    let run = place.succeed(&["inspect", &path("blocks")]);
    assert!(run.stderr.contains(
        "pandas HDFStore (a row is a cell), 23 cells x 17 genes; first cell cell0, first gene gene0"
    ));
    for part in ["key", "null/block2_values", "Blosc", "real numbers"] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    let run = place.succeed(&["inspect", &path("plain"), "--orientation", "genes"]);
    assert!(
        run.stderr.contains("(a row is a gene), 17 cells x 23 genes; first cell gene0"),
        "{}",
        run.stderr
    );
    let run = place.succeed(&["inspect", &path("missing"), "--nan-as-zero"]);
    assert!(run.stderr.contains("2 missing values (NaN) were read as zeros"), "{}", run.stderr);
    let train =
        ["train", "--input", &path("integers"), "--hidden", "4", "--epochs", "2", "--batch-size", "8"];
    place.succeed(&[&train[..], &["--out", "run.late", "--impute", "imputed.h5ad"]].concat());
    assert!(Path::new(&place.path("imputed.h5ad")).exists());
}

/// Writes a frame of `counts`-like values in blocks of seven rows.
fn write_frame(
    path: &Path,
    cells: &[String],
    genes: &[String],
    value: impl Fn(usize, usize) -> f64,
) -> late_fast::Result<()> {
    let record = Record { command: "test", input: "none".into(), options: Vec::new(), seed: None };
    let [cells, genes] = [cells, genes].map(|names| Axis::from_names(names.to_vec()));
    let values = Dtype::F32;
    let content = Content {
        cells: &cells,
        genes: &genes,
        genome: None,
        values,
        whole: false,
        dense: false,
        layers: &[],
        record: &record,
    };
    let mut file = MatrixFile::create(path, Format::Hd5, content)?;
    for first in (0..cells.len()).step_by(7) {
        let mut block = RowBlock { indptr: vec![0], ..RowBlock::default() };
        for cell in first..cells.len().min(first + 7) {
            for gene in 0..genes.len() {
                if value(cell, gene) > 0.0 {
                    block.push(u32::try_from(gene).unwrap(), value(cell, gene));
                }
            }
            block.end_row();
        }
        file.write_rows(0, &block)?;
    }
    file.finish()
}

#[test]
fn what_is_written_is_read_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("written.hd5");
    let value = |cell: usize, gene: usize| {
        if (cell * 13 + gene * 7).is_multiple_of(5) { (cell + gene) as f64 } else { 0.0 }
    };
    // The second has several chunks of rows, the last of them cut off.
    for (n_cells, n_genes) in [(3, 2), (1203, 611), (0, 4), (4, 0), (0, 0)] {
        let (cells, mut genes) = (names("cell", n_cells), names("gene", n_genes));
        if let Some(gene) = genes.first_mut() {
            *gene = "a longer name than others, in Greek: β".into();
        }
        write_frame(&path, &cells, &genes, value).unwrap();
        let matrix = read_plain(&path);
        assert_eq!((&matrix.cells().names, &matrix.genes().names), (&cells, &genes));
        let expected: Vec<Vec<f64>> =
            (0..n_cells).map(|cell| (0..n_genes).map(|gene| value(cell, gene)).collect()).collect();
        assert_eq!(matrix.rows, expected, "{n_cells} x {n_genes}");
    }
    let error = write_frame(&path, &["x".repeat(1025)], &names("gene", 1), value).unwrap_err().to_string();
    assert!(error.contains("null/axis1") && error.contains("at most 1024 bytes"), "{error}");
}

#[test]
fn frames_that_seem_to_lie_on_their_side_are_told() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sideways.hd5");
    let genes: Vec<String> = (0..20).map(|number| format!("ENSG{number:011}")).collect();
    write_frame(&path, &genes, &names("cell", 3), |_, _| 1.0).unwrap();
    let warning = read_plain(&path).source.head().warnings.concat();
    for part in ["a row is read as a cell", "\"ENSG00000000000\" as a cell", "--orientation genes"] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
    let genes = ReadOptions { orientation: Some(Major::Genes), ..ReadOptions::default() };
    assert!(read(&path, &genes).unwrap().source.head().warnings.is_empty());
}
