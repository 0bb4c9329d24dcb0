//! HDF5 files: one of every layout, some changes to its objects through libhdf5, then to the bytes that late-fast reads
//! itself. Headers stay as libhdf5 wrote them: what it does with damaged ones is not this program's to mend.

use std::path::Path;

use arbitrary::Unstructured;
use hdf5::types::VarLenUnicode;
use hdf5::{File, Group, H5Type, Location};
use late_fast::io::{ReadOptions, Values};
use late_fast::matrix::Major;

use super::mutate::{self, Place};
use super::{directory, read};

const CELLS: usize = 5;
const GENES: usize = 4;
const INDPTR: [i64; CELLS + 1] = [0, 2, 2, 4, 7, 8];
const INDICES: [i32; 8] = [0, 2, 1, 3, 0, 1, 3, 2];
const DATA: [i32; 8] = [1, 5, 2, 3, 70, 1, 1, 9];
/// The largest file that is looked at.
const MOST_BYTES: usize = 1 << 20;

/// Makes and reads a file. The bytes choose layout, options and changes.
pub fn hdf5(data: &[u8]) {
    let dir = directory();
    let path = dir.path().join("input.h5");
    let mut choices = Unstructured::new(data);
    let Ok(options) = make(&mut choices, &path) else { return };
    read(&path, &options);
}

/// Writes the file of a layout, as it is before it is changed.
pub fn write_layout(path: &Path, layout: u8, chunked: bool) {
    let file = unlocked().create(path).unwrap();
    build(&file, layout, chunked).unwrap();
    file.close().unwrap();
}

fn make(choices: &mut Unstructured<'_>, path: &Path) -> arbitrary::Result<ReadOptions> {
    let layout = choices.int_in_range(0..=7_u8)?;
    let flags: u8 = choices.arbitrary()?;
    let file = unlocked().create(path).unwrap();
    build(&file, layout, flags & 1 == 1).unwrap();
    let elsewhere = path.with_file_name("elsewhere.h5");
    let all = mutate::changes();
    let n_changes = choices.int_in_range(0..=3_u8)?;
    for _ in 0..n_changes {
        let places = mutate::places(&file);
        if places.is_empty() {
            break;
        }
        let place: &Place = choices.choose(&places)?;
        let change = *choices.choose(&all)?;
        let mut random = |n: usize| choices.int_in_range(0..=n.max(1) - 1).unwrap_or(0);
        mutate::apply(&file, place, change, &elsewhere, &mut random);
    }
    let places = late_fast_bytes(&file);
    file.close().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    if bytes.len() <= MOST_BYTES && !places.is_empty() {
        let n_patches = choices.int_in_range(0..=4_u8)?;
        for _ in 0..n_patches {
            let at = places[choices.choose_index(places.len())?];
            if let Some(byte) = bytes.get_mut(at) {
                *byte = choices.arbitrary()?;
            }
        }
        std::fs::write(path, bytes).unwrap();
    }
    let is_frame = layout == 7;
    Ok(ReadOptions {
        genome: (flags & 2 != 0 && layout == 1).then(|| "all".to_owned()),
        layer: (flags & 4 != 0 && (2..=6).contains(&layout)).then(|| "counts".to_owned()),
        values: if flags & 8 == 0 { Values::Expression } else { Values::Finite },
        orientation: (is_frame && flags & 16 != 0).then_some(Major::Genes),
        nan_as_zero: is_frame && flags & 32 != 0,
        scratch: path.parent().map(Path::to_owned),
        ..ReadOptions::default()
    })
}

/// Where the bytes lie that no part of libhdf5 looks at: stored elements, and strings of datasets.
fn late_fast_bytes(file: &File) -> Vec<usize> {
    fn visit(group: &Group, out: &mut Vec<usize>) {
        let index = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        for dataset in group.datasets().unwrap_or_default() {
            if dataset.layout() == hdf5::dataset::Layout::Virtual {
                continue;
            }
            if let Some(begin) = dataset.offset().filter(|_| dataset.storage_size() <= MOST_BYTES as u64) {
                out.extend(index(begin)..index(begin) + index(dataset.storage_size()));
            }
            for chunk in 0..dataset.num_chunks().unwrap_or(0).min(64) {
                if let Some(chunk) = dataset.chunk_info(chunk) {
                    out.extend(index(chunk.addr)..index(chunk.addr + chunk.size.min(1 << 16)));
                }
            }
        }
        for group in group.groups().unwrap_or_default() {
            visit(&group, out);
        }
    }
    let mut out = Vec::new();
    if let Ok(root) = file.group("/") {
        visit(&root, &mut out);
    }
    out
}

fn unlocked() -> hdf5::FileBuilder {
    let mut builder = hdf5::File::with_options();
    builder.with_access_plist(|access| access.file_locking(false));
    builder
}

fn text(text: &str) -> VarLenUnicode {
    text.parse().unwrap()
}

/// Writes values, in compressed chunks if so.
fn write<T: H5Type>(group: &Group, name: &str, values: &[T], chunked: bool) -> hdf5::Result<()> {
    let builder = group.new_dataset_builder();
    let builder = if chunked { builder.chunk(3).shuffle().deflate(1) } else { builder };
    builder.with_data(values).create(name).map(drop)
}

fn names(group: &Group, name: &str, prefix: &str, count: usize) -> hdf5::Result<()> {
    let names: Vec<_> = (0..count).map(|number| text(&format!("{prefix}{number}"))).collect();
    write(group, name, &names, false)
}

fn attribute(object: &Location, name: &str, value: &str) -> hdf5::Result<()> {
    object.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&text(value))
}

fn sparse(group: &Group, chunked: bool) -> hdf5::Result<()> {
    write(group, "indptr", &INDPTR, chunked)?;
    write(group, "indices", &INDICES, chunked)?;
    write(group, "data", &DATA, chunked)
}

fn dense() -> Vec<f32> {
    (0..u8::try_from(CELLS * GENES).unwrap()).map(|n| f32::from(n % 3) * f32::from(n)).collect()
}

fn build(file: &File, layout: u8, chunked: bool) -> hdf5::Result<()> {
    match layout {
        0 | 1 => tenx(file, layout == 0, chunked),
        2 => h5ad(file, "csr_matrix", chunked),
        3 => h5ad(file, "csc_matrix", chunked),
        4 | 5 => h5ad(file, "array", chunked),
        6 => loom(file, chunked),
        _ => pandas(file, chunked),
    }
}

fn tenx(file: &File, is_v3: bool, chunked: bool) -> hdf5::Result<()> {
    let group = file.create_group(if is_v3 { "matrix" } else { "hg19" })?;
    sparse(&group, chunked)?;
    write(&group, "shape", &[i32::try_from(GENES).unwrap(), i32::try_from(CELLS).unwrap()], false)?;
    names(&group, "barcodes", "cell", CELLS)?;
    if !is_v3 {
        names(&group, "genes", "id", GENES)?;
        return names(&group, "gene_names", "gene", GENES);
    }
    let features = group.create_group("features")?;
    names(&features, "id", "id", GENES)?;
    names(&features, "name", "gene", GENES)?;
    let kinds = ["Gene Expression", "Gene Expression", "Antibody Capture", "Gene Expression"].map(text);
    write(&features, "feature_type", &kinds, false)?;
    write(&features, "genome", &vec![text("toy"); GENES], false)
}

fn h5ad(file: &File, encoding: &str, chunked: bool) -> hdf5::Result<()> {
    let root = file.group("/")?;
    attribute(&root, "encoding-type", "anndata")?;
    for (name, prefix, count) in [("obs", "cell", CELLS), ("var", "gene", GENES)] {
        let frame = file.create_group(name)?;
        attribute(&frame, "encoding-type", "dataframe")?;
        attribute(&frame, "_index", "_index")?;
        names(&frame, "_index", prefix, count)?;
        let kinds = frame.create_group("kind")?;
        attribute(&kinds, "encoding-type", "categorical")?;
        kinds.new_attr::<bool>().create("ordered")?.write_scalar(&false)?;
        write(&kinds, "codes", &vec![1_i8; count], false)?;
        names(&kinds, "categories", "kind", 2)?;
        let missing = frame.create_group("missing")?;
        attribute(&missing, "encoding-type", "nullable-integer")?;
        write(&missing, "values", &vec![3_i32; count], chunked)?;
        write(&missing, "mask", &vec![true; count], chunked)?;
        frame
            .new_attr::<VarLenUnicode>()
            .shape([2])
            .create("column-order")?
            .write_raw(&["kind", "missing"].map(text))?;
    }
    let layers = file.create_group("layers")?;
    for (parent, name) in [(&root, "X"), (&layers, "counts")] {
        if encoding == "array" {
            let builder = parent.new_dataset_builder();
            let builder = if chunked { builder.chunk([2, 3]).deflate(1) } else { builder };
            let values = ndarray::Array2::from_shape_vec((CELLS, GENES), dense()).unwrap();
            builder.with_data(&values).create(name)?;
            continue;
        }
        let group = parent.create_group(name)?;
        attribute(&group, "encoding-type", encoding)?;
        let shape = if encoding == "csr_matrix" { [CELLS, GENES] } else { [GENES, CELLS] };
        // The rows of a CSC matrix are the genes: the same numbers, seen the other way round.
        let shape = if encoding == "csr_matrix" { shape } else { [shape[1], shape[0]] };
        let shape = shape.map(|n| i64::try_from(n).unwrap());
        group.new_attr::<i64>().shape([2]).create("shape")?.write_raw(&shape)?;
        if encoding == "csr_matrix" {
            sparse(&group, chunked)?;
        } else {
            write(&group, "indptr", &[0_i64, 2, 4, 6, 8], chunked)?;
            write(&group, "indices", &[0_i32, 3, 1, 2, 0, 4, 2, 3], chunked)?;
            write(&group, "data", &DATA, chunked)?;
        }
    }
    Ok(())
}

fn loom(file: &File, chunked: bool) -> hdf5::Result<()> {
    let values = ndarray::Array2::from_shape_vec((GENES, CELLS), dense()).unwrap();
    let put = |group: &Group, name: &str| {
        let builder = group.new_dataset_builder();
        let builder = if chunked { builder.chunk([2, 2]).shuffle().deflate(1) } else { builder };
        builder.with_data(&values).create(name).map(drop)
    };
    let root = file.group("/")?;
    put(&root, "matrix")?;
    put(&file.create_group("layers")?, "counts")?;
    names(&file.create_group("row_attrs")?, "Gene", "gene", GENES)?;
    names(&file.create_group("col_attrs")?, "CellID", "cell", CELLS)
}

fn pandas(file: &File, chunked: bool) -> hdf5::Result<()> {
    let group = file.create_group("frame")?;
    attribute(&group, "pandas_type", "frame")?;
    attribute(&group, "pandas_version", "0.15.2")?;
    attribute(&group, "encoding", "UTF-8")?;
    attribute(&group, "errors", "strict")?;
    attribute(&group, "axis0_variety", "regular")?;
    attribute(&group, "axis1_variety", "regular")?;
    attribute(&group, "block0_items_variety", "regular")?;
    group.new_attr::<i64>().create("nblocks")?.write_scalar(&1)?;
    group.new_attr::<i64>().create("ndim")?.write_scalar(&2)?;
    let labels = |name: &str, prefix: &str, count: usize| {
        let kind = hdf5::types::TypeDescriptor::FixedAscii(6);
        let values: Vec<_> = (0..count)
            .map(|number| {
                hdf5::types::FixedAscii::<6>::from_ascii(format!("{prefix}{number}").as_bytes()).unwrap()
            })
            .collect();
        let dataset = group.new_dataset_builder().empty_as(&kind).shape([count]).create(name)?;
        dataset.write_raw(&values)?;
        attribute(&dataset, "kind", "string")?;
        attribute(&dataset, "name", "N.")?;
        dataset.new_attr::<i64>().create("transposed")?.write_scalar(&1)
    };
    labels("axis0", "gene", GENES)?;
    labels("axis1", "cell", CELLS)?;
    labels("block0_items", "gene", GENES)?;
    let values = ndarray::Array2::from_shape_vec((CELLS, GENES), dense()).unwrap();
    let builder = group.new_dataset_builder();
    let builder = if chunked { builder.chunk([2, GENES]).shuffle().deflate(1) } else { builder };
    let block = builder.with_data(&values).create("block0_values")?;
    block.new_attr::<i64>().create("transposed")?.write_scalar(&1)
}
