//! 10x Matrix Market directories of every kind, and damaged ones, as sources.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::files::{Matrix, assert_refused, fixture, gzip, names, put, read, read_plain, small_dense};
use late_fast::io::{ReadOptions, Tally};
use late_fast::matrix::Column;

const HEADER: &str = "%%MatrixMarket matrix coordinate integer general\n%metadata_json: {}\n";
/// The entries of `small_dense`, cell after cell.
const ENTRIES: &str = "1 1 1\n3 1 5\n2 3 2\n3 3 3\n4 3 70\n";

fn features(columns: usize) -> String {
    let line = |gene: usize| {
        let fields = [format!("id{gene}"), format!("gene{gene}"), "Gene Expression".to_owned()];
        fields[..columns].join("\t") + "\n"
    };
    (0..4).map(line).collect()
}

fn barcodes() -> String {
    names("cell", 3).iter().map(|name| format!("{name}\n")).collect()
}

fn small(entries: &str) -> String {
    format!("{HEADER}4 3 {}\n{entries}", entries.lines().count())
}

/// A directory with three files of these names.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new(matrix: &str, genes: &str, cells: &str, content: impl AsRef<[u8]>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        put(&dir.path().join(matrix), content);
        let columns = if genes.contains("genes") { 2 } else { 3 };
        put(&dir.path().join(genes), features(columns));
        put(&dir.path().join(cells), barcodes());
        Self(dir)
    }

    fn v3(content: impl AsRef<[u8]>) -> Self {
        Self::new("matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz", content)
    }

    fn plain(content: impl AsRef<[u8]>) -> Self {
        Self::new("matrix.mtx", "features.tsv", "barcodes.tsv", content)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[track_caller]
fn assert_small(matrix: &Matrix) {
    assert_eq!(matrix.rows, small_dense());
    assert_eq!(matrix.cells().names, names("cell", 3));
    assert_eq!(matrix.genes().names, names("gene", 4));
    assert_eq!(matrix.genes().ids(), Some(names("id", 4)));
}

#[track_caller]
fn refused(content: impl AsRef<[u8]>, parts: &[&str]) {
    for directory in [Directory::v3(&content), Directory::plain(&content)] {
        assert_refused(directory.path(), &ReadOptions::default(), &[&["matrix.mtx"], parts].concat());
    }
}

#[test]
fn every_version_of_the_files_is_read() {
    for (matrix, genes, cells, layout) in [
        ("matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz", "10x Matrix Market v3"),
        ("matrix.mtx", "features.tsv", "barcodes.tsv", "10x Matrix Market v3"),
        ("matrix.mtx", "genes.tsv", "barcodes.tsv", "10x Matrix Market v2"),
        ("matrix.mtx.gz", "genes.tsv.gz", "barcodes.tsv", "10x Matrix Market v2"),
        ("GSM1_a_matrix.mtx.gz", "GSM1_a_features.tsv.gz", "GSM1_a_barcodes.tsv.gz", "10x Matrix Market v3"),
    ] {
        let directory = Directory::new(matrix, genes, cells, small(ENTRIES));
        for path in [directory.path().to_owned(), directory.file(matrix)] {
            let read = read_plain(&path);
            assert_small(&read);
            assert_eq!(read.source.head().layout, layout);
            assert_eq!(read.tally, Tally { nnz: 5, ..Tally::default() });
            assert_eq!(read.source.files().len(), 3);
        }
    }
}

#[test]
fn one_of_several_prefixes_is_chosen() {
    let directory = Directory::new("a_matrix.mtx", "a_genes.tsv", "a_barcodes.tsv", small(ENTRIES));
    let prefix = |prefix: &str| ReadOptions { prefix: Some(prefix.to_owned()), ..ReadOptions::default() };
    assert_small(&read(directory.path(), &prefix("a_")).unwrap());
    put(&directory.file("b_matrix.mtx"), small(ENTRIES));
    let plain = ReadOptions::default();
    assert_refused(directory.path(), &plain, &["several matrices", "\"a_\", \"b_\"", "--prefix"]);
    assert_small(&read(directory.path(), &prefix("a_")).unwrap());
    assert_small(&read_plain(&directory.file("a_matrix.mtx")));
    assert_refused(directory.path(), &prefix("c_"), &["c_matrix.mtx", "\"a_\", \"b_\""]);
    assert_refused(directory.path(), &prefix("b_"), &["b_genes.tsv or b_", "the names of the genes"]);
    assert_refused(&directory.file("a_matrix.mtx"), &prefix("a_"), &["--prefix is for directories"]);
}

#[test]
fn directories_of_genomes_are_chosen_by_name() {
    let outer = tempfile::tempdir().unwrap();
    let genome = |name: &str| {
        let dir = outer.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        put(&dir.join("matrix.mtx"), small(ENTRIES));
        put(&dir.join("genes.tsv"), features(2));
        put(&dir.join("barcodes.tsv"), barcodes());
    };
    let plain = ReadOptions::default();
    let named = |name: &str| ReadOptions { genome: Some(name.to_owned()), ..ReadOptions::default() };
    assert_refused(outer.path(), &plain, &["no matrix.mtx", "barcodes.tsv"]);
    genome("hg19");
    let matrix = read_plain(outer.path());
    assert_small(&matrix);
    assert_eq!(
        (matrix.source.head().layout.as_str(), matrix.source.head().genome.as_deref()),
        ("10x Matrix Market v2 (hg19)", Some("hg19"))
    );
    genome("mm10");
    assert_refused(outer.path(), &plain, &["hg19, mm10", "--genome"]);
    assert_small(&read(outer.path(), &named("mm10")).unwrap());
    assert_refused(outer.path(), &named("dm6"), &["\"dm6\"", "hg19, mm10"]);
    assert_refused(&outer.path().join("hg19"), &named("hg19"), &["--genome is for", "leave out --genome"]);
    assert_refused(&outer.path().join("hg19/matrix.mtx"), &named("hg19"), &["leave out --genome"]);
}

#[test]
fn missing_files_are_named() {
    for (name, expected) in
        [("features.tsv", "genes.tsv"), ("barcodes.tsv", "barcodes.tsv.gz or barcodes.tsv")]
    {
        let directory = Directory::plain(small(ENTRIES));
        std::fs::remove_file(directory.file(name)).unwrap();
        assert_refused(directory.path(), &ReadOptions::default(), &[expected, "none of these"]);
        assert_refused(&directory.file("matrix.mtx"), &ReadOptions::default(), &[expected]);
    }
}

#[test]
fn headers_are_read_as_the_standard_says() {
    for header in [
        "%%MATRIXMARKET Matrix COORDINATE Integer General\n",
        "%%MatrixMarket  matrix coordinate real general \r\n% one\n%\n%two\n\n",
        "\u{feff}%%MatrixMarket matrix coordinate unsigned-integer general\n",
    ] {
        let text = format!("{header} 4  3\t5\r\n{}", ENTRIES.replace('\n', "\r\n"));
        assert_small(&read_plain(Directory::v3(&text).path()));
        assert_small(&read_plain(Directory::plain(&text).path()));
    }
    let real = "%%MatrixMarket matrix coordinate real general\n4 3 5\n1 1 1.0\n3 1 5e0\n 2  3\t2.\n3 3 +3\n4 3 7E+01 \n\n";
    assert_small(&read_plain(Directory::plain(real).path()));
    let pattern = "%%MatrixMarket matrix coordinate pattern general\n4 3 2\n2 1\n4 3";
    let rows = read_plain(Directory::plain(pattern).path()).rows;
    assert_eq!(rows, [[0.0, 1.0, 0.0, 0.0], [0.0; 4], [0.0, 0.0, 0.0, 1.0]]);
}

#[test]
fn other_kinds_of_matrices_are_refused() {
    for (kind, remedy) in [
        ("matrix coordinate real symmetric", "not symmetric"),
        ("matrix coordinate pattern skew-symmetric", "not symmetric"),
        ("matrix array real general", "dense array"),
        ("matrix coordinate complex general", "not complex"),
        ("matrix coordinate strange general", "download it again"),
        ("tensor coordinate real general", "download it again"),
        ("matrix coordinate", "download it again"),
    ] {
        refused(
            format!("%%MatrixMarket {kind}\n4 3 0\n"),
            &["line 1", "coordinate integer|real|pattern", remedy],
        );
    }
    let directory = Directory::plain("1 1 1\n");
    assert_refused(directory.path(), &ReadOptions::default(), &["line 1", "%%MatrixMarket"]);
}

#[test]
fn wrong_sizes_and_numbers_of_entries_are_found() {
    let with = |size: &str| format!("{HEADER}{size}\n{ENTRIES}");
    refused(with("4 3 6"), &["6 entries, as line 3 says", "found 5"]);
    refused(with("4 3 4"), &["4 entries", "more, up to line 8"]);
    refused(with("4 3 18446744073709551615"), &["18446744073709551615 entries"]);
    refused(with("5 3 5"), &["line 3", "4 genes and 3 cells", "found 5 and 3", "do not belong together"]);
    refused(with("4294967296 99999999999 5"), &["4 genes and 3 cells"]);
    refused(with("4 3"), &["line 3", "numbers of genes, cells and entries", "\"4 3\""]);
    refused(with("4 3 -5"), &["line 3"]);
    refused(with("4 3 99999999999999999999999"), &["line 3"]);
    refused(HEADER, &["line 3", "found nothing"]);
    refused(format!("{HEADER}% {}", "x".repeat(17 << 20)), &["numbers of genes"]);
}

#[test]
fn wrong_entries_are_named_by_line() {
    let with = |line: &str| small(&format!("1 1 1\n{line}\n4 3 70\n"));
    for (line, parts) in [
        ("5 3 2", &["a gene from 1 to 4", "gene 5"][..]),
        ("0 3 2", &["a gene from 1 to 4", "gene 0"]),
        ("2 4 2", &["a cell from 1 to 3", "cell 4"]),
        ("2 99999999999999999999 2", &["a cell from 1 to 3"]),
        ("2 3 -1", &["cell \"cell2\"", "gene \"gene1\"", "zero or more", "found -1", "raw counts"]),
        ("2 3 nan", &["a finite number", "NaN"]),
        ("2 3 inf", &["a finite number", "inf"]),
        ("2 3 1e39", &["1.2e-38 to 3.4e38"]),
        ("2 3", &["gene cell value, as numbers", "\"2 3\""]),
        ("2 3 x", &["as numbers", "\"2 3 x\""]),
        ("2 3 4 5", &["as numbers"]),
        ("2.5 3 4", &["as numbers"]),
        ("-2 3 4", &["as numbers"]),
        ("% comment", &["as numbers"]),
        ("2,3,4", &["as numbers", "\"2,3,4\""]),
        ("\u{0}", &["as numbers"]),
    ] {
        refused(with(line), &[&["line 5"], parts].concat());
    }
    let pattern = "%%MatrixMarket matrix coordinate pattern general\n4 3 1\n2 1 5\n";
    refused(pattern, &["line 3", "gene cell, as numbers"]);
}

#[test]
fn entries_in_any_order_are_sorted_and_repeated_ones_added_up() {
    let lines: Vec<&str> = ENTRIES.lines().collect();
    for order in [[4, 3, 2, 1, 0], [1, 0, 4, 3, 2], [2, 0, 3, 1, 4]] {
        let entries: String = order.iter().map(|&line| format!("{}\n", lines[line])).collect();
        let matrix = read_plain(Directory::v3(small(&entries)).path());
        assert_small(&matrix);
        assert_eq!(matrix.tally, Tally { nnz: 5, ..Tally::default() });
    }
    let entries = "1 1 1\n3 1 2\n2 3 2\n3 3 3\n2 2 0\n4 3 60\n4 3 4\n3 1 3\n4 3 6\n";
    let matrix = read_plain(Directory::v3(small(entries)).path());
    assert_small(&matrix);
    let tally = Tally { nnz: 5, explicit_zeros: 1, merged_duplicates: 3, ..Tally::default() };
    assert_eq!((matrix.tally, matrix.source.declared_nnz()), (tally, 5));
}

#[test]
fn cells_by_genes_are_read_as_well() {
    let swapped: String = ENTRIES
        .lines()
        .map(|line| {
            let [gene, cell, value] = line.split(' ').collect::<Vec<_>>()[..] else { panic!() };
            format!("{cell} {gene} {value}\n")
        })
        .collect();
    let matrix = read_plain(Directory::plain(format!("{HEADER}3 4 5\n{swapped}")).path());
    assert_small(&matrix);
    assert!(matrix.has_note("cells as rows"));
    let text = format!("{HEADER}3 4 1\n1 5 1\n");
    refused(text, &["line 4", "a gene from 1 to 4"]);
}

#[test]
fn names_keep_their_letters() {
    let directory = Directory::plain(small(ENTRIES));
    let genes = "id0\tHLA-A (\"one\")\tGene Expression\r\nid1\t\"two, three\tGene Expression\r\nid2\tTNF-α\tGene Expression\nid3\t\tGene Expression";
    std::fs::write(directory.file("features.tsv"), genes).unwrap();
    std::fs::write(directory.file("barcodes.tsv"), "AAAC-1\tmore\r\nAAAG-1\tmore\r\nAAAT-1").unwrap();
    let matrix = read_plain(directory.path());
    assert_eq!(matrix.genes().names, ["HLA-A (\"one\")", "\"two, three", "TNF-α", ""]);
    assert_eq!(matrix.cells().names, ["AAAC-1", "AAAG-1", "AAAT-1"]);
    std::fs::write(directory.file("features.tsv"), b"a\nb\n\xff\nd\n").unwrap();
    let matrix = read_plain(directory.path());
    assert_eq!(matrix.genes().names, ["a", "b", "\u{fffd}", "d"]);
    assert!(matrix.has_note("1 lines are not UTF-8"));
    std::fs::write(directory.file("features.tsv"), "a\nb\n\nd\ne\n").unwrap();
    assert_refused(directory.path(), &ReadOptions::default(), &["features.tsv", "4 names on 5 lines"]);
    std::fs::write(directory.file("features.tsv"), "a\ta\tGene Expression\nb\nc\nd\n").unwrap();
    assert_refused(directory.path(), &ReadOptions::default(), &["features.tsv", "1 of 4 lines"]);
}

#[test]
fn only_gene_expression_is_kept() {
    let directory = Directory::plain(small(ENTRIES));
    let kinds = ["Gene Expression", "Antibody Capture", "Gene Expression", "Peaks"];
    let genes: String =
        (0..4).map(|gene| format!("id{gene}\tgene{gene}\t{}\tchr1\t5\t9\n", kinds[gene])).collect();
    std::fs::write(directory.file("features.tsv"), genes).unwrap();
    let matrix = read_plain(directory.path());
    assert_eq!(matrix.rows, [[1.0, 5.0], [0.0, 0.0], [0.0, 3.0]]);
    assert_eq!(matrix.genes().names, ["gene0", "gene2"]);
    assert_eq!(matrix.genes().column("start"), Some(&Column::Strings(vec!["5".into(), "5".into()])));
    assert!(matrix.has_note("Antibody Capture (1), Peaks (1)"));
    assert_eq!((matrix.tally.nnz, matrix.source.declared_nnz()), (3, 3));
    std::fs::write(directory.file("features.tsv"), "a\ta\tPeaks\n".repeat(4)).unwrap();
    assert_refused(directory.path(), &ReadOptions::default(), &["Gene Expression", "Peaks (4)"]);
}

#[test]
fn all_members_of_a_compressed_file_are_read() {
    let directory = Directory::v3("");
    let text = small(ENTRIES);
    let members: Vec<u8> = text.as_bytes().chunks(17).flat_map(gzip).chain(gzip(b"")).collect();
    std::fs::write(directory.file("matrix.mtx.gz"), &members).unwrap();
    assert_small(&read_plain(directory.path()));
    std::fs::write(directory.file("matrix.mtx.gz"), &members[..members.len() - 40]).unwrap();
    assert!(read(directory.path(), &ReadOptions::default()).is_err());
}

/// Tapes and block devices fill up with zeros.
#[test]
fn zeros_behind_a_compressed_file_are_ignored_and_nothing_else_is() {
    let whole = gzip(small(ENTRIES).as_bytes());
    let dir = Directory::v3(small(ENTRIES));
    for n in [1, 511, 400_000] {
        std::fs::write(dir.file("matrix.mtx.gz"), [&whole[..], &vec![0; n]].concat()).unwrap();
        assert_small(&read_plain(dir.path()));
    }
    for more in [&b"\0\0more"[..], b"more", &whole[..20]] {
        std::fs::write(dir.file("matrix.mtx.gz"), [&whole[..], more].concat()).unwrap();
        assert_refused(dir.path(), &ReadOptions::default(), &["matrix.mtx.gz", "a whole gzip file"]);
    }
}

/// Nothing is set aside on the word of the header.
#[test]
fn more_entries_than_the_file_can_hold_are_refused_on_opening() {
    let refused = |dir: &Directory, parts: &[&str]| {
        let Err(error) = late_fast::io::open(dir.path(), &ReadOptions::default()) else { panic!("opened") };
        let message = error.to_string();
        parts.iter().for_each(|part| assert!(message.contains(part), "{part}: {message}"));
    };
    for declared in ["18446744073709551615", "9223372036854775807", "4294967301", "1000"] {
        let content = format!("{HEADER}4 3 {declared}\n{ENTRIES}");
        refused(&Directory::plain(&content), &["matrix.mtx: line 3", "can hold", declared]);
        if declared != "1000" {
            refused(&Directory::v3(&content), &["matrix.mtx.gz: line 3", "can hold", declared]);
        }
    }
    let entries = ENTRIES.trim_end();
    assert_small(&read_plain(Directory::plain(format!("{HEADER}4 3 5\n{entries}")).path()));
    let pattern = "%%MatrixMarket matrix coordinate pattern general\n4 3 1\n1 1";
    assert_eq!(read_plain(Directory::plain(pattern).path()).rows[0], [1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn a_matrix_of_many_blocks_is_the_same_in_any_order() {
    let (n_cells, n_genes) = (3000_usize, 200_usize);
    let dir = tempfile::tempdir().unwrap();
    let lines = |count: usize, prefix: &str| names(prefix, count).join("\n");
    put(&dir.path().join("features.tsv.gz"), lines(n_genes, "gene"));
    put(&dir.path().join("barcodes.tsv.gz"), lines(n_cells, "cell"));
    let mut entries: Vec<(usize, usize, usize)> = (0..n_cells * n_genes)
        .filter(|place| place * place % 7 < 3)
        .map(|place| (place / n_genes, place % n_genes, place % 400 + 1))
        .collect();
    let read_all = |entries: &[(usize, usize, usize)]| {
        let text: String = entries
            .iter()
            .map(|(cell, gene, value)| format!("{} {} {value}\n", gene + 1, cell + 1))
            .collect();
        let text = format!("{HEADER}{n_genes} {n_cells} {}\n{text}", entries.len());
        put(&dir.path().join("matrix.mtx.gz"), text);
        read_plain(dir.path()).rows
    };
    let rows = read_all(&entries);
    for &(cell, gene, value) in &entries {
        assert_eq!(rows[cell][gene], value as f64);
    }
    entries.sort_by_key(|&(cell, gene, _)| (gene, cell));
    assert!(read_all(&entries) == rows, "by gene");
    entries.sort_by_key(|&(cell, gene, _)| (cell * 7919 + gene * 104_729) % 10_007);
    assert!(read_all(&entries) == rows, "shuffled");
}

#[test]
fn what_cell_ranger_wrote_is_the_same_as_its_hdf5_file() {
    let from_text = read_plain(&fixture("mtx/pbmc_1k_v3_chr21"));
    let from_hdf5 = read_plain(&fixture("tenx/pbmc_1k_v3_chr21_filtered_feature_bc_matrix.h5"));
    assert_eq!(from_text.rows, from_hdf5.rows);
    assert_eq!(from_text.cells(), from_hdf5.cells());
    assert_eq!(from_text.genes().names, from_hdf5.genes().names);
    for column in ["gene_ids", "feature_types"] {
        assert_eq!(from_text.genes().texts(column), from_hdf5.genes().texts(column));
    }
    assert_eq!(from_text.tally, Tally { unsorted_rows: 0, ..from_hdf5.tally });
}

/// Every truncation and every change of a byte is an error or another matrix, soon and without much memory.
#[test]
fn damaged_bytes_never_panic() {
    let directory = Directory::plain("");
    let check = |name: &str, bytes: &[u8]| {
        std::fs::write(directory.file(name), bytes).unwrap();
        let _ = read(directory.path(), &ReadOptions::default());
    };
    let files = [("matrix.mtx", small(ENTRIES)), ("features.tsv", features(3)), ("barcodes.tsv", barcodes())];
    for (name, text) in &files {
        let text = text.as_bytes();
        for end in 0..text.len() {
            check(name, &text[..end]);
        }
        for place in 0..text.len() {
            for byte in [0, b'\n', b'\r', b' ', b'%', b'-', b'9', b'e', 0xff] {
                let mut changed = text.to_vec();
                changed[place] = byte;
                check(name, &changed);
            }
        }
        check(name, text);
    }
    assert_small(&read_plain(directory.path()));
    let directory = Directory::v3("");
    let whole = gzip(small(ENTRIES).as_bytes());
    let path = directory.file("matrix.mtx.gz");
    for end in 0..whole.len() {
        std::fs::write(&path, &whole[..end]).unwrap();
        assert!(read(directory.path(), &ReadOptions::default()).is_err(), "cut at {end}");
    }
    for place in 0..whole.len() {
        for bits in [0x01, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[place] ^= bits;
            std::fs::write(&path, &changed).unwrap();
            if let Ok(matrix) = read(directory.path(), &ReadOptions::default()) {
                assert_small(&matrix);
            }
        }
    }
}
