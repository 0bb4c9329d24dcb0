//! Writing the modern encoding (AnnData 0.8 and later), which every reader since then accepts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hdf5::dataset::{AllocTime, FillTime};
use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, Group, H5Type, Location};

use crate::error::{Error, Result};
use crate::hdf::{self, DenseWriter, descriptor};
use crate::io::Dtype;
use crate::matrix::{Axis, Column, Major};

/// Elements of a chunk of a compressed one-dimensional dataset.
const CHUNK: usize = 1 << 16;
/// Deflate's level. Level 4, that of anndata's own `compression="gzip"`, takes twice the time for 5% fewer bytes (a matrix of
/// 3 million counts with two layers).
const COMPRESSION: u8 = 1;

/// Arrays start at multiples of a cache line.
const ALIGNMENT: u64 = 64;

/// Creates an AnnData file, to be completed by [`hdf::close`].
pub fn create_file(path: &Path) -> Result<hdf5::File> {
    let file = hdf::create(path, ALIGNMENT)?;
    write_root(&file)?;
    Ok(file)
}

/// Marks the root of a file as AnnData.
pub fn write_root(file: &hdf5::File) -> Result<()> {
    let root = file.group("/").map_err(failed(file, "/", "open it"))?;
    write_encoding(&root, "anndata", "0.1.0")
}

/// Creates a mapping, such as `layers` or `uns`.
pub fn create_dict(parent: &Group, name: &str) -> Result<Group> {
    let group = parent.create_group(name).map_err(failed(parent, name, "create the group"))?;
    write_encoding(&group, "dict", "0.1.0")?;
    Ok(group)
}

/// Writes a string entry of a mapping.
pub fn write_string_scalar(parent: &Group, name: &str, value: &str) -> Result<()> {
    let failed = || failed(parent, name, "write it");
    let dataset = parent.new_dataset::<VarLenUnicode>().create(name).map_err(failed())?;
    dataset.write_scalar(&text(value)).map_err(failed())?;
    write_encoding(&dataset, "string", "0.2.0")?;
    hdf::flush(&dataset)
}

/// Writes a number as an entry of a mapping.
pub fn write_number_scalar<T: H5Type>(parent: &Group, name: &str, value: T) -> Result<()> {
    let failed = || failed(parent, name, "write it");
    let dataset = parent.new_dataset::<T>().create(name).map_err(failed())?;
    dataset.write_scalar(&value).map_err(failed())?;
    write_encoding(&dataset, "numeric-scalar", "0.2.0")?;
    hdf::flush(&dataset)
}

/// Writes an array of numbers as an entry of a mapping.
pub fn write_numbers<T: H5Type>(parent: &Group, name: &str, values: &[T]) -> Result<()> {
    write_array(parent, name, values)
}

/// Writes `obs` or `var`. Strings of which few are distinct become categories, as anndata does.
pub fn write_axis(parent: &Group, name: &str, axis: &Axis) -> Result<()> {
    let group = parent.create_group(name).map_err(failed(parent, name, "create the group"))?;
    write_encoding(&group, "dataframe", "0.2.0")?;
    write_text_attribute(&group, "_index", "_index")?;
    write_strings(&group, "_index", &axis.names)?;
    let mut taken = vec!["_index".to_owned()];
    for (column_name, column) in &axis.columns {
        let column_name = legal_name(column_name, &taken);
        write_column(&group, &column_name, column)?;
        taken.push(column_name);
    }
    let order: Vec<_> = taken[1..].iter().map(|name| text(name)).collect();
    let failed = || failed(&group, "@column-order", "write it");
    let attribute = group.new_attr::<VarLenUnicode>().shape([order.len()]).create("column-order");
    let attribute = attribute.map_err(failed())?;
    if order.is_empty() { Ok(()) } else { attribute.write_raw(&order).map_err(failed()) }
}

/// A sparse matrix to be created.
#[derive(Clone, Copy, Debug)]
pub struct SparseSpec {
    /// (n_obs, n_vars).
    pub shape: (u64, u64),
    /// `Cells`: `csr_matrix`; `Genes`: `csc_matrix`.
    pub major: Major,
    /// Entries; the length of `data` and `indices`.
    pub nnz: u64,
    /// Type of `data`.
    pub data: Dtype,
    /// Type of `indices`. `indptr` is always int64.
    pub indices: Dtype,
    /// Compressed chunks; otherwise contiguous, allocated at once and mappable.
    pub compressed: bool,
}

/// The group of a sparse matrix with its datasets, whose content is still to be written.
pub struct SparseGroup {
    /// The group.
    pub group: Group,
    /// The entries.
    pub data: Dataset,
    /// The positions on the minor axis.
    pub indices: Dataset,
    /// The row offsets, int64, one longer than the major axis.
    pub indptr: Dataset,
}

/// Creates a sparse matrix `name`.
pub fn create_sparse(parent: &Group, name: &str, spec: &SparseSpec) -> Result<SparseGroup> {
    let group = parent.create_group(name).map_err(failed(parent, name, "create the group"))?;
    let (encoding, n_rows) = match spec.major {
        Major::Cells => ("csr_matrix", spec.shape.0),
        Major::Genes => ("csc_matrix", spec.shape.1),
    };
    write_encoding(&group, encoding, "0.1.0")?;
    let shape = [spec.shape.0.cast_signed(), spec.shape.1.cast_signed()];
    group
        .new_attr::<i64>()
        .shape([2])
        .create("shape")
        .and_then(|attribute| attribute.write_raw(&shape))
        .map_err(failed(&group, "@shape", "write it"))?;
    let create = |name: &str, dtype: Dtype, len: u64| {
        let builder = group.new_dataset_builder();
        let builder = if spec.compressed {
            builder.chunk(CHUNK).shuffle().deflate(COMPRESSION)
        } else {
            builder.alloc_time(Some(AllocTime::Early)).fill_time(FillTime::Never)
        };
        let len = crate::hdf::to_usize(len);
        let extents = if spec.compressed {
            hdf5::SimpleExtents::resizable([len])
        } else {
            hdf5::SimpleExtents::fixed([len])
        };
        let dataset = builder.empty_as(descriptor(dtype)).shape(extents).create(name);
        dataset.map_err(failed(&group, name, "create the dataset"))
    };
    let data = create("data", spec.data, spec.nnz)?;
    let indices = create("indices", spec.indices, spec.nnz)?;
    let indptr = create("indptr", Dtype::I64, n_rows + 1)?;
    Ok(SparseGroup { group, data, indices, indptr })
}

/// Creates a dense two-dimensional array, in chunks if `chunk` says so; its content is still to be written.
pub fn create_array(
    parent: &Group,
    name: &str,
    dtype: Dtype,
    shape: [usize; 2],
    chunk: Option<[usize; 2]>,
) -> Result<Dataset> {
    let builder = parent.new_dataset_builder();
    let builder = if let Some(chunk) = chunk { builder.chunk(chunk) } else { builder };
    let dataset = builder.empty_as(descriptor(dtype)).shape(shape).create(name);
    let dataset = dataset.map_err(failed(parent, name, "create the dataset"))?;
    write_encoding(&dataset, "array", "0.2.0")?;
    Ok(dataset)
}

/// Creates a dense matrix of real values (f32 or f64), compressed, that is written cell by cell. `path` is that of the file.
///
/// # Errors
/// When it cannot be created.
pub fn create_dense(
    path: &Path,
    parent: &Group,
    name: &str,
    shape: [usize; 2],
    dtype: Dtype,
) -> Result<DenseWriter> {
    let writer = DenseWriter::create(path, parent, name, shape, dtype)?;
    write_encoding(writer.dataset(), "array", "0.2.0")?;
    Ok(writer)
}

/// A name that anndata accepts: no slash, not empty, not yet taken.
fn legal_name(name: &str, taken: &[String]) -> String {
    let name = name.replace('/', "|").replace('\0', "");
    let name = if name.is_empty() || name == "." { "unnamed".to_owned() } else { name };
    let is_free = |name: &String| !taken.contains(name);
    let numbered = (1..).map(|number| format!("{name}_{number}"));
    std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
}

fn write_column(group: &Group, name: &str, column: &Column) -> Result<()> {
    match column {
        Column::Strings(values) => match categories_of(values) {
            Some((codes, categories)) => write_categorical(group, name, &codes, &categories, false),
            None => write_strings(group, name, values),
        },
        Column::Categorical { codes, categories, ordered } => {
            write_categorical(group, name, codes, categories, *ordered)
        }
        Column::Integers(values) => write_array(group, name, values),
        Column::Floats(values) => write_array(group, name, values),
        Column::Booleans(values) => write_array(group, name, values),
        Column::NullableIntegers { values, missing } => {
            write_nullable(group, name, "nullable-integer", values, missing)
        }
        Column::NullableBooleans { values, missing } => {
            write_nullable(group, name, "nullable-boolean", values, missing)
        }
    }
}

/// Codes and sorted categories, when there are fewer categories than values.
fn categories_of(values: &[String]) -> Option<(Vec<i32>, Vec<String>)> {
    let mut code_of = HashMap::new();
    for value in values {
        code_of.entry(value.as_str()).or_insert(0);
        // Distinct in more than half: the categories would only add to the size.
        if code_of.len() * 2 > values.len() {
            return None;
        }
    }
    let mut categories: Vec<&str> = code_of.keys().copied().collect();
    categories.sort_unstable();
    for (code, category) in categories.iter().enumerate() {
        code_of.insert(category, i32::try_from(code).ok()?);
    }
    let codes = values.iter().map(|value| code_of[value.as_str()]).collect();
    (!values.is_empty()).then(|| (codes, categories.into_iter().map(str::to_owned).collect()))
}

fn write_categorical(
    parent: &Group,
    name: &str,
    codes: &[i32],
    categories: &[String],
    ordered: bool,
) -> Result<()> {
    let group = parent.create_group(name).map_err(failed(parent, name, "create the group"))?;
    write_encoding(&group, "categorical", "0.2.0")?;
    group
        .new_attr::<bool>()
        .create("ordered")
        .and_then(|attribute| attribute.write_scalar(&ordered))
        .map_err(failed(&group, "@ordered", "write it"))?;
    write_strings(&group, "categories", categories)?;
    let narrow8: Option<Vec<i8>> = codes.iter().map(|&code| i8::try_from(code).ok()).collect();
    let narrow16: Option<Vec<i16>> = codes.iter().map(|&code| i16::try_from(code).ok()).collect();
    match (narrow8, narrow16) {
        (Some(codes), _) => write_array(&group, "codes", &codes),
        (None, Some(codes)) => write_array(&group, "codes", &codes),
        (None, None) => write_array(&group, "codes", codes),
    }
}

fn write_nullable<T: H5Type>(
    parent: &Group,
    name: &str,
    encoding: &str,
    values: &[T],
    missing: &[bool],
) -> Result<()> {
    let group = parent.create_group(name).map_err(failed(parent, name, "create the group"))?;
    write_encoding(&group, encoding, "0.1.0")?;
    write_array(&group, "values", values)?;
    write_array(&group, "mask", missing)
}

fn write_array<T: H5Type>(group: &Group, name: &str, values: &[T]) -> Result<()> {
    write_values(group, name, values, "array")
}

fn write_strings(group: &Group, name: &str, values: &[String]) -> Result<()> {
    let values: Vec<_> = values.iter().map(|value| text(value)).collect();
    write_values(group, name, &values, "string-array")
}

fn write_values<T: H5Type>(group: &Group, name: &str, values: &[T], encoding: &str) -> Result<()> {
    let failed = || failed(group, name, "write it");
    let dataset = group.new_dataset::<T>().shape([values.len()]).create(name).map_err(failed())?;
    if !values.is_empty() {
        dataset.write_raw(values).map_err(failed())?;
    }
    write_encoding(&dataset, encoding, "0.2.0")?;
    hdf::flush(&dataset)
}

/// Gives an object the two attributes that every AnnData element carries.
pub(crate) fn write_encoding(object: &Location, encoding: &str, version: &str) -> Result<()> {
    write_text_attribute(object, "encoding-type", encoding)?;
    write_text_attribute(object, "encoding-version", version)
}

fn write_text_attribute(object: &Location, name: &str, value: &str) -> Result<()> {
    object
        .new_attr::<VarLenUnicode>()
        .create(name)
        .and_then(|attribute| attribute.write_scalar(&text(value)))
        .map_err(failed(object, name, "write the attribute"))
}

/// HDF5 strings end at the first NUL, so none may be inside.
fn text(value: &str) -> VarLenUnicode {
    VarLenUnicode::from_str(&value.replace('\0', "")).unwrap_or_default()
}

fn failed(parent: &Location, name: &str, action: &'static str) -> impl FnOnce(hdf5::Error) -> Error {
    let path = PathBuf::from(parent.filename());
    let object = format!("{}/{name}", parent.name().trim_end_matches('/'));
    move |source| Error::hdf5(&path, object, action, source)
}
