//! Loom files of all versions: made by loompy, anndata and h5py (`data/generate/pandas_loom.py`), or damaged here.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions")]

mod common;

use std::path::PathBuf;

use common::binary::Workplace;
use common::counts::unlocked;
use common::files::{assert_refused, damages, fixture, names, read, read_plain, write};
use hdf5::File;
use late_fast::io::ReadOptions;
use late_fast::matrix::{Column, Major};
use tempfile::TempDir;

const CELLS: usize = 23;
const GENES: usize = 17;

fn loom(name: &str) -> PathBuf {
    fixture(&format!("loom/{name}.loom"))
}

/// The generator's formula: rows of cells.
fn counts() -> Vec<Vec<f64>> {
    let value = |c: usize, g: usize| (((7 * c + 5 * g + c * g) % 11) as f64 - 6.0).max(0.0);
    (0..CELLS).map(|c| (0..GENES).map(|g| value(c, g)).collect()).collect()
}

fn reals() -> Vec<Vec<f64>> {
    counts().iter().map(|row| row.iter().map(|x| x * 1.25).collect()).collect()
}

fn transposed(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
}

fn gene_names() -> Vec<String> {
    let mut all = names("gene", GENES);
    all[0] = "β-actin".to_owned();
    all
}

#[test]
fn the_version_may_be_a_number() {
    let place = Workplace::new();
    let path = place.path("in.loom");
    std::fs::copy(loom("v3"), &path).unwrap();
    let file = unlocked().open_as(&path, hdf5::OpenMode::ReadWrite).unwrap();
    let attrs = file.group("attrs").unwrap();
    attrs.unlink("LOOM_SPEC_VERSION").unwrap();
    attrs.new_dataset::<f64>().create("LOOM_SPEC_VERSION").unwrap().write_scalar(&3.5).unwrap();
    drop(attrs);
    file.close().unwrap();
    let matrix = read_plain(&path);
    assert_eq!(matrix.source.head().layout, "loom 3.5 (matrix)");
    assert_eq!(matrix.rows, reals());
    let file = unlocked().open_as(&path, hdf5::OpenMode::ReadWrite).unwrap();
    file.group("attrs").unwrap().unlink("LOOM_SPEC_VERSION").unwrap();
    file.new_attr::<i32>().create("LOOM_SPEC_VERSION").unwrap().write_scalar(&2).unwrap();
    file.close().unwrap();
    assert_eq!(read_plain(&path).source.head().layout, "loom 2 (matrix)");
    // A list that declares terabytes is not read for it.
    let file = unlocked().open_as(&path, hdf5::OpenMode::ReadWrite).unwrap();
    let list = file.group("attrs").unwrap().new_dataset::<f64>().chunk(1024).shape(1_usize << 40);
    list.create("LOOM_SPEC_VERSION").unwrap();
    file.close().unwrap();
    assert_eq!(read_plain(&path).rows, reals());
}

#[test]
fn version_3_with_layers_and_attributes() {
    let matrix = read_plain(&loom("v3"));
    assert_eq!(matrix.source.head().layout, "loom 3.0.0 (matrix)");
    assert_eq!(matrix.source.major(), Major::Cells, "chunks are read in bands of cells");
    assert_eq!(matrix.rows, reals());
    assert_eq!(matrix.cells().names, names("cell", CELLS));
    assert_eq!(matrix.genes().names, gene_names());
    assert_eq!(matrix.genes().ids().unwrap(), names("ENSG", GENES));
    assert_eq!(matrix.cells().texts("Cluster").unwrap()[..3], ["T", "B", "T"]);
    let depth = (0..CELLS).map(|cell| cell as f64 / 2.0).collect();
    assert_eq!(matrix.cells().column("Depth"), Some(&Column::Floats(depth)));
    assert!(
        matrix.has_note("col_attrs/Map: skipped, it is not one-dimensional"),
        "{:?}",
        matrix.source.head().notes
    );
    let layer = |name: &str| ReadOptions { layer: Some(name.into()), ..ReadOptions::default() };
    let spliced = read(&loom("v3"), &layer("spliced")).unwrap();
    assert_eq!(spliced.source.head().layout, "loom 3.0.0 (layers/spliced)");
    assert_eq!(spliced.rows, counts());
    let parts = ["layers/unspliced", "only matrix, layers/spliced", "--layer"];
    assert_refused(&loom("v3"), &layer("unspliced"), &parts);
    let raw = ReadOptions { use_raw: true, ..ReadOptions::default() };
    assert_refused(&loom("v3"), &raw, &["--use-raw is for h5ad"]);
}

#[test]
fn version_2_has_references_in_its_strings() {
    let matrix = read_plain(&loom("v2"));
    assert_eq!(matrix.source.head().layout, "loom 2.0.1 (matrix)");
    assert_eq!(matrix.rows, counts());
    assert_eq!(matrix.genes().names, gene_names());
    assert_eq!(matrix.genes().texts("Accession").unwrap(), names("ENSG", GENES));
}

#[test]
fn names_are_those_of_anndata_or_chosen() {
    let matrix = read_plain(&loom("anndata"));
    assert_eq!(matrix.rows, reals());
    assert_eq!(
        (&matrix.cells().names, &matrix.genes().names),
        (&names("cell", CELLS), &names("gene", GENES))
    );
    assert_eq!(matrix.cells().texts("type").unwrap()[0], "T");

    let path = loom("other_names");
    assert_refused(
        &path,
        &ReadOptions::default(),
        &["row_attrs", "Gene or var_names", "Symbol", "--gene-attr"],
    );
    let mut options = ReadOptions { gene_attr: Some("Symbol".into()), ..ReadOptions::default() };
    assert_refused(&path, &options, &["col_attrs", "CellID or obs_names", "Barcode", "--cell-attr"]);
    options.cell_attr = Some("Name".into());
    assert_refused(&path, &options, &["col_attrs/Name", "Barcode, Number", "--cell-attr"]);
    options.cell_attr = Some("Number".into());
    let matrix = read(&path, &options).unwrap();
    assert_eq!(matrix.genes().names, gene_names());
    assert_eq!(matrix.cells().names[..2], ["0", "1"]);
    assert_eq!(matrix.cells().texts("Barcode").unwrap(), names("cell", CELLS));
    assert_eq!(matrix.rows, reals());
}

#[test]
fn rows_are_read_along_the_chunks() {
    let matrix = read_plain(&loom("one_piece"));
    assert_eq!(matrix.source.major(), Major::Genes, "one piece is read as it lies");
    assert_eq!(matrix.rows, transposed(&reals()));
    assert_eq!(matrix.cells().names[3], "3");
    let matrix = read_plain(&loom("tall_chunks"));
    assert_eq!(matrix.source.major(), Major::Cells);
    assert_eq!(matrix.rows, reals());
}

/// Larger than a band, in chunks of which the last ones stick out, some of them never written.
#[test]
fn bands_of_cells_put_chunks_together() {
    let (n_genes, n_cells) = (97, 50_001);
    let directory = TempDir::new().unwrap();
    for chunk in [(64, 64), (10, 30_011), (97, 1000), (1, 50_001)] {
        let path = directory.path().join("large.loom");
        let file = unlocked().create(&path).unwrap();
        let dataset =
            file.new_dataset::<u16>().chunk(chunk).shape((n_genes, n_cells)).create("matrix").unwrap();
        let value = |gene: usize, cell: usize| {
            u16::try_from((gene * 31 + cell * 17) % 251).unwrap() * u16::from((gene + cell).is_multiple_of(3))
        };
        // The last genes are not written.
        let written = 80;
        let values: Vec<u16> =
            (0..written).flat_map(|gene| (0..n_cells).map(move |cell| value(gene, cell))).collect();
        let values = ndarray::Array2::from_shape_vec((written, n_cells), values).unwrap();
        dataset.write_slice(&values, (0..written, 0..n_cells)).unwrap();
        let rows = file.create_group("row_attrs").unwrap();
        let columns = file.create_group("col_attrs").unwrap();
        write(&rows, "Gene", &(0..97_i64).collect::<Vec<_>>());
        write(&columns, "CellID", &(0..50_001_i64).collect::<Vec<_>>());
        drop((dataset, rows, columns));
        file.close().unwrap();
        let matrix = read_plain(&path);
        let by_cells = matrix.source.major() == Major::Cells;
        for (row, values) in matrix.rows.iter().enumerate() {
            for (column, &found) in values.iter().enumerate() {
                let (gene, cell) = if by_cells { (column, row) } else { (row, column) };
                let expected = if gene < written { value(gene, cell) } else { 0 };
                assert_eq!(found, f64::from(expected), "{chunk:?}: gene {gene}, cell {cell}");
            }
        }
    }
}

/// A copy that was changed.
fn damaged(directory: &TempDir, name: &str, change: impl FnOnce(&File)) -> PathBuf {
    let path = directory.path().join("damaged.loom");
    std::fs::copy(loom(name), &path).unwrap();
    let file = unlocked().open_rw(&path).unwrap();
    change(&file);
    file.close().unwrap();
    path
}

#[test]
fn damage_is_told_by_name() {
    let directory = TempDir::new().unwrap();
    let refuse = |change: &dyn Fn(&File), parts: &[&str]| {
        assert_refused(&damaged(&directory, "v2", change), &ReadOptions::default(), parts);
    };
    for name in ["row_attrs/Gene", "col_attrs/CellID"] {
        let (group, _) = name.split_once('/').unwrap();
        refuse(&|file| file.unlink(name).unwrap(), &[group, "name the attribute"]);
        let longer = |file: &File| {
            file.unlink(name).unwrap();
            write(file, name, &[1_i64; 40]);
        };
        refuse(&longer, &[name, "found 40"]);
        let broad = |file: &File| {
            file.unlink(name).unwrap();
            file.new_dataset::<i64>().shape([GENES, 2]).create(name).unwrap();
        };
        refuse(&broad, &[name, "not one-dimensional"]);
        let real = |file: &File| {
            file.unlink(name).unwrap();
            let length = if group == "row_attrs" { GENES } else { CELLS };
            write(file, name, &vec![0.5_f64; length]);
        };
        refuse(&real, &[name, "names as strings or integers"]);
    }
    let flat = |file: &File| {
        file.unlink("matrix").unwrap();
        write(file, "matrix", &[1.0_f64; 4]);
    };
    refuse(&flat, &["matrix", "genes by cells", "[4]"]);
    let huge = |file: &File| {
        file.unlink("matrix").unwrap();
        let builder = file.new_dataset::<f64>().chunk((64, 64)).deflate(1);
        builder.shape((1_usize << 30, 1_usize << 30)).create("matrix").unwrap();
    };
    refuse(&huge, &["matrix"]);
    let negative = |file: &File| {
        let values = ndarray::arr2(&[[-3_i64]]);
        file.dataset("matrix").unwrap().write_slice(&values, (5..6, 7..8)).unwrap();
    };
    refuse(&negative, &["matrix[5, 7]", "cell \"cell7\"", "gene \"gene5\"", "found -3"]);
    let text = |file: &File| {
        file.unlink("matrix").unwrap();
        common::files::write_texts(file, "matrix", &names("x", 3));
    };
    refuse(&text, &["matrix", "numbers"]);
}

#[test]
fn truncated_and_changed_files_never_bring_the_reader_down() {
    let place = Workplace::new();
    for (number, bytes) in damages(&loom("v3"), 150).iter().enumerate() {
        std::fs::write(place.path("damaged.loom"), bytes).unwrap();
        let run = place.run(&["inspect", "damaged.loom", "--memory", "1G"]);
        assert!(matches!(run.code, Some(0 | 1)), "{number}: {:?}\n{}", run.code, run.stderr);
        assert!(!run.stderr.contains("panicked"), "{number}: {}", run.stderr);
    }
}

#[test]
fn the_binary_describes_loom_files() {
    let place = Workplace::new();
    let path = loom("v3").to_str().unwrap().to_owned();
    let run = place.succeed(&["inspect", &path]);
    assert!(
        run.stderr.contains("loom 3.0.0 (matrix), 23 cells x 17 genes; first cell cell0, first gene β-actin")
    );
    for part in ["matrices", "matrix, layers/spliced", "chunks of"] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    let run = place.succeed(&["inspect", &path, "--layer", "spliced"]);
    assert!(run.stdout.contains("whole numbers (counts), at most 4"), "{}", run.stdout);
}
