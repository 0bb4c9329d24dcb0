//! Tables of text with every oddity, and damaged ones, as sources.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::PathBuf;

use common::files::{Matrix, assert_refused, gzip, names, put, read, read_plain, small_dense};
use late_fast::io::{ReadOptions, Tally};
use late_fast::matrix::Major;

const SMALL: &str = ",gene0,gene1,gene2,gene3\ncell0,1,0,5,0\ncell1,0,0,0,0\ncell2,0,2,3,70\n";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        put(&path, content);
        path
    }
}

fn parse(content: impl AsRef<[u8]>) -> Matrix {
    read_plain(&Place::new().put("table.csv", content))
}

#[track_caller]
fn refused(content: impl AsRef<[u8]>, parts: &[&str]) {
    assert_refused(
        &Place::new().put("table.csv", content),
        &ReadOptions::default(),
        &[&["table.csv"], parts].concat(),
    );
}

#[track_caller]
fn assert_small(matrix: &Matrix) {
    assert_eq!(matrix.rows, small_dense());
    assert_eq!(matrix.cells().names, names("cell", 3));
    assert_eq!(matrix.genes().names, names("gene", 4));
    assert_eq!(matrix.tally, Tally { nnz: 5, ..Tally::default() });
}

fn lines_are_genes() -> ReadOptions {
    ReadOptions { orientation: Some(Major::Genes), ..ReadOptions::default() }
}

#[test]
fn tables_are_read_whatever_their_dress() {
    let quoted: String = SMALL
        .lines()
        .map(|line| line.split(',').map(|field| format!("\"{field}\"")).collect::<Vec<_>>().join(",") + "\n")
        .collect();
    let names_quoted = quoted.replace(",\"0\"", ",0").replace(",\"70\"", ",70");
    for (what, text) in [
        ("as it is", SMALL.to_owned()),
        ("CRLF", SMALL.replace('\n', "\r\n")),
        ("no final newline", SMALL.trim_end().to_owned()),
        ("no final newline, CRLF", SMALL.replace('\n', "\r\n").trim_end().to_owned()),
        ("blank last lines", format!("{SMALL}\n\r\n  \n")),
        ("a mark", format!("\u{feff}{SMALL}")),
        ("a name above the names", format!("barcode{SMALL}")),
        ("tabs", SMALL.replace(',', "\t")),
        ("semicolons", SMALL.replace(',', ";")),
        ("quotes", quoted),
        ("some quotes", names_quoted),
        ("a mark and quotes", format!("\u{feff}\"\"{SMALL}")),
        ("as R writes it", SMALL.replacen(',', "", 1)),
        ("real numbers", SMALL.replace(",0", ",0.0").replace("70", "7e1").replace(",5", ", 5.000000 ")),
        ("signs", SMALL.replace(",0", ",-0").replace(",70", ",+70")),
    ] {
        let place = Place::new();
        for name in ["table.csv", "table.csv.gz", "no-extension"] {
            println!("{what}: {name}");
            let matrix = read_plain(&place.put(name, &text));
            assert_small(&matrix);
            assert_eq!(matrix.has_note("as R writes it"), what == "as R writes it");
            assert!(matrix.source.head().warnings.is_empty());
        }
    }
}

#[test]
fn lines_are_cells_or_genes() {
    let path = Place::new();
    let path = path.put("table.csv", "gene,cell0,cell1\nA,1,0\nB,0,2\nC,0,3\n");
    let matrix = read(&path, &lines_are_genes()).unwrap();
    assert_eq!(matrix.source.major(), Major::Genes);
    assert_eq!(matrix.genes().names, ["A", "B", "C"]);
    assert_eq!(matrix.cells().names, ["cell0", "cell1"]);
    assert_eq!(matrix.rows, [[1.0, 0.0], [0.0, 2.0], [0.0, 3.0]]);
    let cells = ReadOptions { orientation: Some(Major::Cells), ..ReadOptions::default() };
    assert_eq!(read(&path, &cells).unwrap().cells().names, ["A", "B", "C"]);
}

#[test]
fn axes_that_look_mixed_up_are_warned_of() {
    let genes = ["ENSG00000187608", "ENSG00000175756.2", "ENSMUSG00000051951"];
    let symbols = ["ACTB", "MALAT1", "CD3E"];
    let barcodes = ["AAACATACATTTCC-1", "AAACATACCATGCA-1", "AAACCGTGTGTATC-1"];
    let numbered = ["cell1", "cell2", "cell3"];
    for (rows, columns, warns) in [
        (genes, barcodes, true),
        (symbols, barcodes, true),
        (genes, numbered, true),
        (symbols, numbered, true),
        (numbered, barcodes, true),
        (barcodes, genes, false),
        (barcodes, symbols, false),
        (numbered, symbols, false),
        (numbered, numbered, false),
    ] {
        let text = format!(",{}\n", columns.join(","))
            + &rows.iter().map(|row| format!("{row},1,2,3\n")).collect::<String>();
        let path = Place::new();
        let path = path.put("table.csv", text);
        let warning = read_plain(&path).source.head().warnings.concat();
        assert_eq!(warning.contains("--orientation genes"), warns, "{rows:?} {columns:?}: {warning}");
        let other = read(&path, &lines_are_genes()).unwrap().source.head().warnings.concat();
        if warns {
            assert!(warning.contains(rows[0]) && warning.contains(columns[0]), "{warning}");
            assert_eq!(other, "");
        } else if rows != numbered || columns != numbered {
            assert!(other.contains("--orientation cells"), "{rows:?} {columns:?}: {other}");
        }
    }
}

#[test]
fn names_keep_their_letters() {
    let text = "\"a, \"\"b\"\"\",\"one, two\",\"say \"\"x\"\"\",β\n\"c,\"\"1\"\"\",1,2,3\nd'e,4,5,6\n";
    let matrix = parse(text);
    assert_eq!(matrix.genes().names, ["one, two", "say \"x\"", "β"]);
    assert_eq!(matrix.cells().names, ["c,\"1\"", "d'e"]);
    let matrix = parse(b",g\xff\nc\xfe,1\n");
    assert_eq!((&*matrix.genes().names[0], &*matrix.cells().names[0]), ("g\u{fffd}", "c\u{fffd}"));
    assert!(matrix.has_note("2 names are not UTF-8"));
    let matrix = parse(",g,g,h\na,1,2,3\na,4,5,6\n");
    assert!(matrix.has_note("1 gene names stand more than once") && matrix.has_note("1 cell names"));
    let matrix = parse(",b'ENSG1',b'ENSG2'\nb'AAAC-1',1,2\nb\"d'e\",0,3\n");
    assert_eq!(matrix.genes().names, ["ENSG1", "ENSG2"]);
    assert_eq!(matrix.cells().names, ["AAAC-1", "d'e"]);
    assert!(matrix.has_note("gene names were like b'ENSG1'; they are read as ENSG1"));
    let matrix = parse(",b'ENSG1',b2\nb,1,2\n");
    assert_eq!(matrix.genes().names, ["b'ENSG1'", "b2"], "not all of them");
}

#[test]
fn delimiters_and_returns_inside_quotes_belong_to_the_name() {
    let matrix = parse(";\"T cells, naive, CD4, CD8\";g1\n\"c,0,1,2\";1;2\nc1;3;4\n");
    assert_eq!(matrix.genes().names, ["T cells, naive, CD4, CD8", "g1"]);
    assert_eq!(matrix.cells().names, ["c,0,1,2", "c1"]);
    assert_eq!(matrix.rows, [[1.0, 2.0], [3.0, 4.0]]);
    for end in ["\n", "\r\n"] {
        let text = ["x,\"one\rgene\",g1,g2", "\"a\rcell\",1,2,3", "c1,4,5,6", ""].join(end);
        let matrix = parse(text);
        assert_eq!(matrix.genes().names, ["one\rgene", "g1", "g2"]);
        assert_eq!(matrix.cells().names, ["a\rcell", "c1"]);
    }
}

#[test]
fn what_is_no_number_is_named_by_line_and_column() {
    let with = |word: &str| SMALL.replace("0,2,3", &format!("0,{word},3"));
    for (word, parts) in [
        ("NA", &["expected a number, found \"NA\"", "0 where nothing was counted"][..]),
        ("", &["expected a number, found nothing"]),
        (" ", &["found nothing"]),
        ("\"\"", &["found nothing"]),
        ("nan", &["a finite number, zero or more", "\"nan\""]),
        ("inf", &["a finite number"]),
        ("1e999", &["a finite number"]),
        ("-1", &["zero or more", "\"-1\"", "raw counts"]),
        ("\"-0.5\"", &["zero or more", "\"-0.5\""]),
        ("1e39", &["3.4e38"]),
        ("0x1", &["\"0x1\""]),
        ("1.2.3", &["\"1.2.3\""]),
        ("word", &["\"word\""]),
    ] {
        let place = ["line 4, cell \"cell2\", gene \"gene1\" (column 3)"];
        refused(with(word), &[&place, parts].concat());
    }
    let text = SMALL.replace("cell0,1", "cell0,MIR1");
    let path = Place::new();
    assert_refused(
        &path.put("table.csv", text),
        &lines_are_genes(),
        &["line 2, gene \"cell0\", cell \"gene0\" (column 2)", "\"MIR1\""],
    );
}

#[test]
fn lines_of_other_lengths_are_named() {
    for (line, found) in
        [("cell1,0,0,0", "3"), ("cell1,0,0,0,0,0", "5"), ("cell1", "0"), ("cell1,0,0,0,0,0,7", "6")]
    {
        let parts = ["line 3, cell \"cell1\"", "4 values, one for each gene", &format!("found {found}")];
        refused(SMALL.replace("cell1,0,0,0,0", line), &parts);
    }
    refused(format!("{SMALL}\ncell3,1\n"), &["line 6, cell \"cell3\""]);
    refused(SMALL.replace("0,2,3", "0,\"2,3"), &["line 4", "quotes"]);
    refused(SMALL.replace("cell2", "\"cell2"), &["line 4", "quotes"]);
    refused(SMALL.replace("cell2", "\"cell\"2"), &["line 4", "quotes"]);
    refused(SMALL.replace("gene3", "\"gene3"), &["line 1", "quotes"]);
    refused(SMALL.replace("cell0", "\"cell0"), &["line 2", "quotes"]);
}

#[test]
fn what_is_no_table_is_refused() {
    refused(",a,b\n", &["a line for each cell or gene", "found 0"]);
    refused(",a,b\n\n\n", &["found 0"]);
    refused("a\nb\nc\n", &["line 1", "commas, tabs or semicolons"]);
    refused(SMALL.replace('\n', "\r"), &["table.csv"]);
    let place = Place::new();
    for (name, content, parts) in [
        ("empty.csv.gz", gzip(b""), &["nothing in it"][..]),
        ("twice.gz", gzip(&gzip(SMALL.as_bytes())), &["compressed twice", "unpack it"]),
        ("hdf5.gz", gzip(b"\x89HDF\r\n\x1a\n"), &["compressed HDF5", "unpack it"]),
        ("binary.gz", gzip(b"\x00\x01\x02"), &["of another kind"]),
        ("a.npz", b"PK\x03\x04".to_vec(), &["a zip archive", "unpack it"]),
        ("wide.csv", b"\xff\xfe,\x00a\x00".to_vec(), &["UTF-16", "save it as UTF-8"]),
        ("a.tar.gz", gzip(&[&[b'x'; 257][..], b"ustar"].concat()), &["a tar archive"]),
    ] {
        let path = place.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        assert_refused(&path, &ReadOptions::default(), parts);
    }
    let zarr = place.0.path().join("a.zarr");
    std::fs::create_dir(&zarr).unwrap();
    std::fs::write(zarr.join(".zgroup"), "{}").unwrap();
    assert_refused(&zarr, &ReadOptions::default(), &["a Zarr directory", "write_h5ad"]);
    let options = ReadOptions { genome: Some("hg19".into()), ..ReadOptions::default() };
    assert_refused(&place.put("table.csv", SMALL), &options, &["--genome is for 10x files"]);
    let options = ReadOptions { layer: Some("a".into()), ..ReadOptions::default() };
    assert_refused(&place.put("table.csv", SMALL), &options, &["--layer is for h5ad and loom files"]);
    let options = ReadOptions { prefix: Some("a".into()), ..ReadOptions::default() };
    assert_refused(&place.put("table.csv", SMALL), &options, &["--prefix is for Matrix Market"]);
}

#[test]
fn all_members_of_a_compressed_file_are_read() {
    let place = Place::new();
    let path = place.0.path().join("table.csv.gz");
    let members: Vec<u8> = SMALL.as_bytes().chunks(11).flat_map(gzip).collect();
    std::fs::write(&path, &members).unwrap();
    assert_small(&read_plain(&path));
    std::fs::write(&path, &members[..members.len() - 1]).unwrap();
    assert_refused(&path, &ReadOptions::default(), &["whole gzip file", "its end is missing", "incomplete"]);
}

#[test]
fn long_lines_and_many_blocks_are_read() {
    let n_columns = 300_000;
    let mut text = String::from("name");
    (0..n_columns).for_each(|column| text += &format!(",AAACCTGAGAAACCAT-{column}"));
    for row in 0..9 {
        text += &format!("\nG{row}");
        (0..n_columns).for_each(|column| text += if (row + column) % 10 == 0 { ",12" } else { ",0" });
    }
    let path = Place::new();
    let path = path.put("wide.csv.gz", &text);
    let matrix = read(&path, &lines_are_genes()).unwrap();
    assert_eq!((matrix.rows.len(), matrix.cells().len()), (9, n_columns));
    assert_eq!(matrix.tally.nnz, 9 * n_columns as u64 / 10);
    assert!(
        (0..9).all(|row| (0..n_columns)
            .all(|column| { matrix.rows[row][column] == if (row + column) % 10 == 0 { 12.0 } else { 0.0 } }))
    );
    let mut text = String::from(",a,b\n");
    (0..400_000).for_each(|row| text += &format!("c{row},{},{}\n", row % 3, row));
    let matrix = parse(&text);
    assert_eq!(matrix.rows.len(), 400_000);
    assert!(matrix.rows.iter().enumerate().all(|(row, values)| *values == [(row % 3) as f64, row as f64]));
    assert_eq!(matrix.cells().names[399_999], "c399999");
    refused(
        text.replace("c399000,0", "c399000,x"),
        &["line 399002, cell \"c399000\", gene \"a\" (column 2)"],
    );
}

/// Every truncation and every change of a byte is an error or another table, soon and without much memory.
#[test]
fn damaged_bytes_never_panic() {
    let place = Place::new();
    let quoted = format!("{SMALL}\"cell \"\"3\"\"\",1,\"2\",3.5,4e0\n");
    for text in [SMALL, &quoted] {
        let text = text.as_bytes();
        let path = place.0.path().join("table.csv");
        let check = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let _ = read(&path, &ReadOptions::default());
        };
        (0..text.len()).for_each(|end| check(&text[..end]));
        for at in 0..text.len() {
            for byte in [0, b'\n', b'\r', b',', b';', b'"', b'-', b'9', b'e', 0xff] {
                let mut changed = text.to_vec();
                changed[at] = byte;
                check(&changed);
            }
        }
    }
    let whole = gzip(SMALL.as_bytes());
    let path = place.0.path().join("table.csv.gz");
    for end in 0..whole.len() {
        std::fs::write(&path, &whole[..end]).unwrap();
        assert!(read(&path, &ReadOptions::default()).is_err(), "cut at {end}");
    }
    for at in 0..whole.len() {
        for bits in [0x01, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at] ^= bits;
            std::fs::write(&path, &changed).unwrap();
            if let Ok(matrix) = read(&path, &ReadOptions::default()) {
                assert_small(&matrix);
            }
        }
    }
}
