//! Reading 10x HDF5: what real and odd files give, and how broken ones are refused.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions")]

mod common;

use std::path::{Path, PathBuf};

use common::counts::unlocked;
use common::files::{
    assert_refused, attribute, fixture, names, read, read_plain, replace, small_dense, small_rows, text,
    typed, write, write_arrays, write_texts,
};
use hdf5::types::{FixedAscii, FloatSize, IntSize, TypeDescriptor};
use hdf5::{File, Group};
use late_fast::io::{ReadOptions, Tally, open};
use late_fast::matrix::Column;
use tempfile::TempDir;

const EXPRESSION: &str = "Gene Expression";

fn genome(name: &str) -> ReadOptions {
    ReadOptions { genome: Some(name.to_owned()), ..ReadOptions::default() }
}

fn plain() -> ReadOptions {
    ReadOptions::default()
}

/// Writes the v3 file of `small_rows` and hands its `matrix` group to `change`.
fn v3(directory: &TempDir, change: impl FnOnce(&Group)) -> PathBuf {
    let path = directory.path().join("matrix.h5");
    let file = unlocked().create(&path).unwrap();
    attribute(&file, "filetype", "matrix");
    let matrix = file.create_group("matrix").unwrap();
    write_arrays(&matrix, &small_rows());
    write(&matrix, "shape", &[4_i32, 3]);
    write_texts(&matrix, "barcodes", &names("CELL-", 3));
    let features = matrix.create_group("features").unwrap();
    write_texts(&features, "id", &names("ENSG", 4));
    write_texts(&features, "name", &names("Gene", 4));
    write_texts(&features, "feature_type", &vec![EXPRESSION.to_owned(); 4]);
    write_texts(&features, "genome", &vec!["GRCh38".to_owned(); 4]);
    write_texts(&features, "_all_tag_keys", &["genome".to_owned()]);
    change(&matrix);
    path
}

/// Adds a v2 group whose barcodes and rows are given.
fn v2_group(file: &File, genome: &str, barcodes: &[&str], rows: &common::files::Rows) {
    let group = file.create_group(genome).unwrap();
    write_arrays(&group, rows);
    write(&group, "shape", &[4_i32, i32::try_from(barcodes.len()).unwrap()]);
    write_texts(&group, "barcodes", &barcodes.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    write_texts(&group, "genes", &names(&format!("{genome}_ENSG"), 4));
    write_texts(&group, "gene_names", &names(&format!("{genome}_Gene"), 4));
}

#[test]
fn a_v3_file_is_read_with_empty_cells() {
    let directory = TempDir::new().unwrap();
    let matrix = read_plain(&v3(&directory, |_| {}));
    assert_eq!(matrix.rows, small_dense());
    assert_eq!(matrix.cells().names, names("CELL-", 3));
    assert_eq!(matrix.genes().names, names("Gene", 4));
    assert_eq!(matrix.genes().column("gene_ids"), Some(&Column::Strings(names("ENSG", 4))));
    let columns: Vec<_> = matrix.genes().columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        columns,
        ["gene_ids", "feature_types", "genome"],
        "as scanpy names them, without the tag keys"
    );
    assert_eq!(matrix.source.head().layout, "10x HDF5 v3");
    assert_eq!(matrix.source.declared_nnz(), 5);
    let in_place = matrix.source.in_place().unwrap();
    assert_eq!((in_place.indptr.len, in_place.indices.len, in_place.data.len), (4, 5, 5));
}

#[test]
fn every_numeric_type_and_byte_order_is_read() {
    let kinds = [
        TypeDescriptor::Unsigned(IntSize::U1),
        TypeDescriptor::Integer(IntSize::U1),
        TypeDescriptor::Unsigned(IntSize::U2),
        TypeDescriptor::Unsigned(IntSize::U4),
        TypeDescriptor::Integer(IntSize::U8),
        TypeDescriptor::Unsigned(IntSize::U8),
        TypeDescriptor::Float(FloatSize::U2),
        TypeDescriptor::Float(FloatSize::U4),
        TypeDescriptor::Float(FloatSize::U8),
    ];
    for kind in kinds {
        let directory = TempDir::new().unwrap();
        let path = v3(&directory, |matrix| {
            matrix.unlink("data").unwrap();
            typed(matrix, "data", &kind, &[1.0, 5.0, 2.0, 3.0, 70.0]);
            if !matches!(kind, TypeDescriptor::Float(_)) {
                matrix.unlink("indices").unwrap();
                typed(matrix, "indices", &kind, &[0.0, 2.0, 1.0, 2.0, 3.0]);
                matrix.unlink("indptr").unwrap();
                typed(matrix, "indptr", &kind, &[0.0, 2.0, 2.0, 5.0]);
            }
        });
        assert_eq!(read_plain(&path).rows, small_dense(), "{kind}");
    }
}

#[test]
fn features_of_other_types_are_left_out_with_a_note() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| {
        let features = matrix.group("features").unwrap();
        features.unlink("feature_type").unwrap();
        let types = [EXPRESSION, "Antibody Capture", EXPRESSION, EXPRESSION].map(str::to_owned);
        write_texts(&features, "feature_type", &types);
    });
    let matrix = read_plain(&path);
    assert_eq!(matrix.genes().names, ["Gene0", "Gene2", "Gene3"]);
    assert_eq!(matrix.rows, [vec![1.0, 5.0, 0.0], vec![0.0; 3], vec![0.0, 3.0, 70.0]]);
    assert!(matrix.has_note("Antibody Capture (1)"), "{:?}", matrix.source.head().notes);
}

#[test]
fn a_file_without_gene_expression_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| {
        let features = matrix.group("features").unwrap();
        features.unlink("feature_type").unwrap();
        write_texts(&features, "feature_type", &vec!["Peaks".to_owned(); 4]);
    });
    assert_refused(&path, &plain(), &["feature_type", "Gene Expression", "Peaks (4)"]);
}

#[test]
fn a_genome_is_chosen_by_name() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| {
        let features = matrix.group("features").unwrap();
        features.unlink("genome").unwrap();
        write_texts(&features, "genome", &["hg", "hg", "mm", "mm"].map(str::to_owned));
    });
    assert_eq!(read(&path, &genome("mm")).unwrap().genes().names, ["Gene2", "Gene3"]);
    assert_eq!(read(&path, &genome("mm")).unwrap().rows[2], [3.0, 70.0]);
    assert_eq!(read(&path, &genome("all")).unwrap().genes().len(), 4);
    assert_refused(&path, &genome("rat"), &["rat", "hg (2), mm (2)", "--genome"]);
}

#[test]
fn xml_references_in_names_are_decoded() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| {
        let features = matrix.group("features").unwrap();
        features.unlink("name").unwrap();
        write_texts(&features, "name", &["TNF-&#945;", "A", "A", "B"].map(str::to_owned));
    });
    let matrix = read_plain(&path);
    assert_eq!(matrix.genes().names, ["TNF-α", "A", "A", "B"]);
    assert!(matrix.has_note("1 gene names stand more than once"));
}

#[test]
fn fixed_length_strings_lose_their_padding() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| {
        matrix.unlink("barcodes").unwrap();
        let barcodes = ["AAAC-1", "", "AAAG TTT-1"].map(|name| FixedAscii::<18>::from_ascii(name).unwrap());
        let dataset = matrix.new_dataset_builder().with_data(&barcodes).deflate(1).create("barcodes");
        dataset.unwrap();
    });
    assert_eq!(read_plain(&path).cells().names, ["AAAC-1", "", "AAAG TTT-1"]);
}

#[test]
fn unsorted_and_repeated_entries_and_zeros_are_put_right_and_counted() {
    let directory = TempDir::new().unwrap();
    let rows =
        vec![vec![(2, 5.0), (0, 1.0)], vec![], vec![(1, 1.0), (1, 1.0), (2, 3.0), (3, 70.0), (0, 0.0)]];
    let path = v3(&directory, |matrix| {
        ["data", "indices", "indptr"].iter().for_each(|name| matrix.unlink(name).unwrap());
        write_arrays(matrix, &rows);
    });
    let matrix = read_plain(&path);
    assert_eq!(matrix.rows, small_dense());
    let expected = Tally { nnz: 5, explicit_zeros: 1, merged_duplicates: 1, unsorted_rows: 2, missing: 0 };
    assert_eq!(matrix.tally, expected);
}

#[test]
fn an_index_out_of_range_names_its_cell() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| replace(matrix, "indices", &[0_i64, 2, 1, 4, 3]));
    assert_refused(&path, &plain(), &["matrix/indices[3]", "CELL-2", "from 0 to 3", "found 4"]);
    let path = v3(&directory, |matrix| replace(matrix, "indices", &[0_i64, -1, 1, 2, 3]));
    assert_refused(&path, &plain(), &["matrix/indices[1]", "CELL-0", "found -1"]);
}

#[test]
fn bad_row_offsets_name_their_cell() {
    let cases: [(&[i64], &[&str]); 5] = [
        (&[0, 3, 2, 5], &["indptr[2]", "CELL-1", "found 2", "never decrease"]),
        (&[1, 2, 2, 5], &["indptr[0]", "found 1"]),
        (&[0, 2, 2, 4], &["indptr[3]", "5, the number of entries", "found 4"]),
        (&[0, 2, 99, 5], &["indptr[2]", "found 99"]),
        (&[0, -2, 2, 5], &["indptr[1]", "CELL-0", "found -2"]),
    ];
    for (indptr, parts) in cases {
        let directory = TempDir::new().unwrap();
        let path = v3(&directory, |matrix| replace(matrix, "indptr", indptr));
        assert_refused(&path, &plain(), parts);
    }
}

#[test]
fn lengths_that_disagree_are_refused() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| replace(matrix, "data", &[1_i32; 4]));
    assert_refused(&path, &plain(), &["matrix/data", "5 entries", "found 4"]);
    let path = v3(&directory, |matrix| replace(matrix, "indptr", &[0_i64, 5]));
    assert_refused(&path, &plain(), &["matrix/indptr", "4 offsets", "found 2"]);
    let path = v3(&directory, |matrix| replace(matrix, "shape", &[3_i32, 4]));
    assert_refused(&path, &plain(), &["matrix/shape", "[4, 3]", "found [3, 4]"]);
}

#[test]
fn values_that_are_no_counts_name_cell_and_gene() {
    for (value, found) in [(-1.5, "-1.5"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let directory = TempDir::new().unwrap();
        let path = v3(&directory, |matrix| replace(matrix, "data", &[1.0, 5.0, 2.0, value, 70.0]));
        assert_refused(&path, &plain(), &["matrix/data[3]", "CELL-2", "Gene2", found]);
    }
    for value in [1e300, 3.5e38, 1e-39, 1e-300] {
        let directory = TempDir::new().unwrap();
        let path = v3(&directory, |matrix| replace(matrix, "data", &[1.0, 5.0, 2.0, value, 70.0]));
        assert_refused(&path, &plain(), &["matrix/data[3]", "CELL-2", "Gene2", "32-bit reals"]);
    }
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| {
        replace(matrix, "data", &[1.0, 5.0, 3e38, 3e38, 70.0]);
        replace(matrix, "indices", &[0_i64, 2, 1, 1, 3]);
    });
    assert_refused(&path, &plain(), &["matrix/data", "CELL-2", "Gene1", "summed", "32-bit reals"]);
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| replace(matrix, "data", &[1_i64, 5, 2, (1 << 53) + 1, 70]));
    assert_refused(&path, &plain(), &["below 2^53", "found 9007199254740993"]);
}

#[test]
fn a_missing_dataset_is_named() {
    for (missing, named) in
        [("data", "matrix/data"), ("barcodes", "matrix/barcodes"), ("shape", "matrix/shape")]
    {
        let directory = TempDir::new().unwrap();
        let path = v3(&directory, |matrix| matrix.unlink(missing).unwrap());
        assert_refused(&path, &plain(), &[named, "found nothing"]);
    }
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| matrix.unlink("indptr").unwrap());
    assert_refused(&path, &plain(), &["missing dataset matrix/indptr"]);
}

#[test]
fn a_damaged_genome_does_not_disappear() {
    let directory = TempDir::new().unwrap();
    for missing in ["data", "indices", "indptr", "shape", "barcodes", "genes", "gene_names"] {
        let path = directory.path().join("v2.h5");
        let file = unlocked().create(&path).unwrap();
        v2_group(&file, "mm10", &["A", "B", "C"], &small_rows());
        file.group("mm10").unwrap().unlink(missing).unwrap();
        drop(file);
        let expected = format!("missing dataset mm10/{missing}");
        assert_refused(&path, &plain(), &[&expected]);
        let file = unlocked().open_rw(&path).unwrap();
        v2_group(&file, "hg19", &["A", "B", "C"], &small_rows());
        drop(file);
        assert_refused(&path, &genome("all"), &[&expected]);
    }
}

#[test]
fn a_row_of_far_more_entries_than_genes_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| {
        let count = (1 << 20) + 17;
        for name in ["data", "indices"] {
            matrix.unlink(name).unwrap();
            let values = vec![1_u8; count];
            let builder = matrix.new_dataset_builder().with_data(&values);
            builder.chunk(1 << 16).deflate(1).create(name).unwrap();
        }
        let count = i64::try_from(count).unwrap();
        replace(matrix, "indptr", &[0, 0, count, count]);
    });
    assert_refused(&path, &plain(), &["matrix/indptr[2]", "CELL-1", "at most 1048592", "1048593 entries"]);
}

#[test]
fn a_truncated_file_is_called_incomplete() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |_| {});
    let size = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(size / 2).unwrap();
    assert_refused(&path, &plain(), &["incomplete", &size.to_string(), &(size / 2).to_string()]);
}

#[test]
fn no_truncation_panics() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |_| {});
    let bytes = std::fs::read(&path).unwrap();
    for length in (0..bytes.len()).step_by(97) {
        let cut = directory.path().join("cut.h5");
        std::fs::write(&cut, &bytes[..length]).unwrap();
        assert!(read(&cut, &plain()).is_err(), "{length} bytes");
    }
}

#[test]
fn changed_bytes_of_chunks_never_panic() {
    let directory = TempDir::new().unwrap();
    let path = compressed(&directory);
    let file = unlocked().open(&path).unwrap();
    let mut positions = Vec::new();
    for name in ["data", "indices", "indptr"] {
        let dataset = file.dataset(&format!("matrix/{name}")).unwrap();
        for index in 0..dataset.num_chunks().unwrap() {
            let chunk = dataset.chunk_info(index).unwrap();
            positions.extend(chunk.addr..chunk.addr + chunk.size);
        }
    }
    file.close().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let changed = directory.path().join("changed.h5");
    for position in positions {
        let mut bytes = bytes.clone();
        bytes[usize::try_from(position).unwrap()] ^= 0x41;
        std::fs::write(&changed, &bytes).unwrap();
        assert_refused(&changed, &plain(), &["matrix/", "damaged", "download"]);
    }
}

/// The same file with small compressed chunks.
fn compressed(directory: &TempDir) -> PathBuf {
    v3(directory, |matrix| {
        for name in ["data", "indices", "indptr"] {
            let values = matrix.dataset(name).unwrap().read_raw::<i64>().unwrap();
            matrix.unlink(name).unwrap();
            let builder = matrix.new_dataset_builder().with_data(&values);
            builder.chunk(2).shuffle().deflate(6).fletcher32().create(name).unwrap();
        }
    })
}

#[test]
fn chunks_with_every_known_filter_are_read() {
    let directory = TempDir::new().unwrap();
    assert_eq!(read_plain(&compressed(&directory)).rows, small_dense());
}

#[test]
fn a_chunk_that_was_never_written_holds_the_fill_value() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| {
        matrix.unlink("data").unwrap();
        let builder = matrix.new_dataset::<i32>().chunk(2).deflate(1).fill_value(7_i32);
        let dataset = builder.shape([5]).create("data").unwrap();
        dataset.write_slice(&[1, 5], 0..2).unwrap();
    });
    assert_eq!(read_plain(&path).rows[2], [0.0, 7.0, 7.0, 7.0]);
}

#[test]
fn an_unknown_filter_is_named_with_a_remedy() {
    let directory = TempDir::new().unwrap();
    // libhdf5 writes no filter it does not have: scale-offset stands for the others.
    let path = v3(&directory, |matrix| {
        matrix.unlink("data").unwrap();
        let builder = matrix.new_dataset_builder().with_data(&[1_i32, 5, 2, 3, 70]);
        let mode = hdf5::filters::ScaleOffset::Integer(0);
        builder.chunk(5).scale_offset(mode).create("data").unwrap();
    });
    assert_refused(&path, &plain(), &["matrix/data", "HDF5 filter 6 (scale-offset)", "re-save", "gzip"]);
}

#[test]
fn a_hostile_shape_allocates_nothing() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| {
        for name in ["data", "indices"] {
            matrix.unlink(name).unwrap();
            let builder = matrix.new_dataset::<i64>().chunk(1024).deflate(1);
            builder.shape([1_usize << 45]).create(name).unwrap();
        }
        replace(matrix, "indptr", &[0_i64, 0, 0, 1 << 45]);
    });
    assert_refused(&path, &plain(), &["35184372088832 stored elements", "at most 0"]);
    let path = v3(&directory, |matrix| {
        matrix.unlink("barcodes").unwrap();
        let kind = TypeDescriptor::FixedAscii(1 << 16);
        let builder = matrix.new_dataset_builder().empty_as(&kind).chunk(4);
        builder.shape([4_000_000]).create("barcodes").unwrap();
    });
    assert_refused(&path, &plain(), &["matrix/barcodes", "4000000 stored elements", "at most 0"]);
}

#[test]
fn links_to_other_files_are_not_followed() {
    let directory = TempDir::new().unwrap();
    let other = directory.path().join("other.h5");
    write(&unlocked().create(&other).unwrap(), "data", &[1_i32, 5, 2, 3, 70]);
    let path = v3(&directory, |matrix| {
        matrix.unlink("data").unwrap();
        matrix.link_external(other.to_str().unwrap(), "data", "data").unwrap();
    });
    assert_refused(&path, &plain(), &["matrix/data", "a link to another file"]);
}

#[test]
fn a_v2_file_with_one_genome_is_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("v2.h5");
    v2_group(&unlocked().create(&path).unwrap(), "hg19", &["A", "B", "C"], &small_rows());
    let matrix = read_plain(&path);
    assert_eq!(matrix.rows, small_dense());
    assert_eq!(matrix.source.head().layout, "10x HDF5 v2 (hg19)");
    assert_eq!(matrix.genes().column("gene_ids"), Some(&Column::Strings(names("hg19_ENSG", 4))));
    assert_refused(&path, &genome("mm10"), &["\"mm10\"", "found hg19"]);
}

#[test]
fn genomes_of_a_v2_file_are_chosen_or_merged_by_barcode() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("v2.h5");
    let file = unlocked().create(&path).unwrap();
    v2_group(&file, "hg19", &["A", "B", "C"], &small_rows());
    v2_group(
        &file,
        "mm10",
        &["C", "D", "A"],
        &vec![vec![(0, 9.0)], vec![(3, 4.0)], vec![(1, 0.0), (2, 8.0)]],
    );
    drop(file);
    assert_refused(&path, &plain(), &["several genomes: hg19, mm10", "--genome"]);
    assert_eq!(read(&path, &genome("mm10")).unwrap().cells().names, ["C", "D", "A"]);
    let merged = read(&path, &genome("all")).unwrap();
    assert_eq!(merged.cells().names, ["A", "B", "C", "D"]);
    assert_eq!(merged.genes().len(), 8);
    assert_eq!(
        merged.rows,
        [
            [1.0, 0.0, 5.0, 0.0, 0.0, 0.0, 8.0, 0.0],
            [0.0; 8],
            [0.0, 2.0, 3.0, 70.0, 9.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0],
        ]
    );
    assert_eq!(merged.tally.explicit_zeros, 1);
}

#[test]
fn blocks_of_large_matrices_join_without_a_seam() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("large.h5");
    let (n_rows, width) = (3000_i64, 1000_i64);
    let file = unlocked().create(&path).unwrap();
    let matrix = file.create_group("matrix").unwrap();
    let nnz = n_rows * width;
    let data: Vec<i32> = (0..nnz).map(|entry| i32::try_from(entry % 97).unwrap() + 1).collect();
    let indices: Vec<i64> = (0..nnz).map(|entry| entry % width).collect();
    let indptr: Vec<i64> = (0..=n_rows).map(|row| row * width).collect();
    matrix.new_dataset_builder().with_data(&data).chunk(70_001).shuffle().deflate(1).create("data").unwrap();
    matrix.new_dataset_builder().with_data(&indices).chunk(data.len()).deflate(1).create("indices").unwrap();
    write(&matrix, "indptr", &indptr);
    write(&matrix, "shape", &[1000_i32, 3000]);
    write_texts(&matrix, "barcodes", &names("CELL", 3000));
    let features = matrix.create_group("features").unwrap();
    write_texts(&features, "id", &names("ENSG", 1000));
    write_texts(&features, "name", &names("Gene", 1000));
    drop((file, matrix, features));
    let source = open(&path, &plain()).unwrap();
    let (mut blocks, mut entry) = (0, 0_i64);
    let tally = source
        .for_each_block(&mut |block, _| {
            let block = block.into_reals();
            blocks += 1;
            for (&column, &value) in block.indices.iter().zip(&block.values) {
                assert_eq!(i64::from(column), entry % width);
                assert_eq!(value, (entry % 97) as f64 + 1.0);
                entry += 1;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!((tally.nnz, entry), (nnz as u64, nnz));
    assert!(blocks > 1, "{blocks} blocks");
}

#[test]
fn files_of_other_kinds_are_named() {
    let directory = TempDir::new().unwrap();
    let contents: [(&str, &[u8], &str); 6] = [
        ("a.html", b" <!DOCTYPE html>\n<title>404</title>", "a web page"),
        ("a.gz", b"\x1f\x8b\x08\0", "gzip"),
        ("a.npz", b"PK\x03\x04", "zip"),
        ("a.mtx", b"%%MatrixMarket matrix", "genes.tsv or features.tsv"),
        ("a.bin", b"\0\x01\x02\xff", "not an HDF5 file"),
        ("empty", b"", "empty"),
    ];
    for (name, content, kind) in contents {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        assert_refused(&path, &plain(), &[name, kind]);
    }
    std::fs::write(directory.path().join(".zgroup"), "{}").unwrap();
    assert_refused(directory.path(), &plain(), &["Zarr", "write_h5ad"]);
    assert_refused(Path::new("no/such/file.h5"), &plain(), &["no/such/file.h5", "check the path"]);
    let path = directory.path().join("molecules.h5");
    attribute(&unlocked().create(&path).unwrap(), "filetype", "molecule info");
    assert_refused(&path, &plain(), &["molecule info", "filtered_feature_bc_matrix.h5"]);
    let path = directory.path().join("other.h5");
    unlocked().create(&path).unwrap().create_group("model_weights").unwrap();
    assert_refused(&path, &plain(), &["found model_weights"]);
}

#[test]
fn options_for_h5ad_are_refused() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |_| {});
    let options = ReadOptions { layer: Some("counts".to_owned()), ..plain() };
    assert_refused(&path, &options, &["--layer is for h5ad and loom files"]);
    let options = ReadOptions { use_raw: true, ..plain() };
    assert_refused(&path, &options, &["--use-raw is for h5ad files"]);
}

#[test]
fn a_file_behind_a_user_block_is_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("block.h5");
    let file = unlocked().with_create_plist(|plist| plist.userblock(1024)).create(&path).unwrap();
    v2_group(&file, "hg19", &["A", "B", "C"], &small_rows());
    let group = file.group("hg19").unwrap();
    group.unlink("data").unwrap();
    group.new_dataset_builder().with_data(&[1, 5, 2, 3, 70]).chunk(2).create("data").unwrap();
    drop((file, group));
    assert_eq!(read_plain(&path).rows, small_dense());
}

#[test]
fn invalid_utf8_is_repaired_with_a_note() {
    let directory = TempDir::new().unwrap();
    let path = v3(&directory, |matrix| {
        matrix.unlink("barcodes").unwrap();
        write(matrix, "barcodes", &[text("ZZZZ1"), text("ok"), text("ok2")]);
    });
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"ZZZZ1").unwrap();
    bytes[at] = 0xff;
    std::fs::write(&path, bytes).unwrap();
    let matrix = read_plain(&path);
    assert_eq!(matrix.cells().names, ["\u{fffd}ZZZ1", "ok", "ok2"]);
    assert!(matrix.has_note("not valid UTF-8"));
}

#[test]
fn genuine_files_are_read() {
    let matrix = read_plain(&fixture("tenx/tiny_hg19_chr21_filtered_gene_bc_matrices.h5"));
    assert_eq!((matrix.cells().len(), matrix.genes().len(), matrix.tally.nnz), (12, 343, 12));
    assert_eq!(matrix.genes().names[..3], ["DSCAM", "MIR99AHG", "APP"]);
    let path = fixture("tenx/tiny_multiple_genomes.h5");
    assert_refused(&path, &plain(), &["another_genome, hg19_chr21"]);
    let merged = read(&path, &genome("all")).unwrap();
    assert_eq!((merged.cells().len(), merged.genes().len()), (12, 686));
}
