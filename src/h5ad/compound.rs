//! `obs` and `var` of AnnData before 0.7: one table of records, category names in `uns`.

use hdf5::datatype::ByteOrder;
use hdf5::types::{CompoundField, TypeDescriptor};

use super::columns::{checked_codes, read_texts};
use crate::error::{Error, Result};
use crate::hdf::{ByteArray, HdfFile, convert, decode_text, numeric_dtype};
use crate::matrix::{Axis, Column};

/// Reads the table at `path`. The names are the field `index`, or else the first.
pub(super) fn read_table(file: &HdfFile, path: &str, notes: &mut Vec<String>) -> Result<Axis> {
    let dataset = file.dataset(path)?;
    let failed = |source| Error::hdf5(file.path(), path, "read its type", source);
    let datatype = dataset.dtype().map_err(failed)?;
    let problem = |expected: &str, found: String| {
        Error::input(file.path(), path, expected, found, "open and save the file with a newer anndata")
    };
    let table = match datatype.to_descriptor().map_err(failed)? {
        TypeDescriptor::Compound(table) if !table.fields.is_empty() => table,
        other => return Err(problem("a table or a data frame", other.to_string())),
    };
    let big_endian = match datatype.byte_order() {
        ByteOrder::LittleEndian | ByteOrder::None => false,
        ByteOrder::BigEndian => true,
        order => return Err(problem("one byte order", format!("{order:?}"))),
    };
    // Variable-length fields have another size in the file than libhdf5 tells.
    if let Some(field) = table.fields.iter().find(|field| !has_fixed_size(&field.ty)) {
        return Err(problem(
            "fields of fixed size",
            format!("the field {:?} of type {}", field.name, field.ty),
        ));
    }
    if dataset.ndim() != 1 {
        return Err(problem("a table of one dimension", format!("{:?}", dataset.shape())));
    }
    let bytes = ByteArray::open(file, &dataset, path, table.size, vec![0; table.size], || {
        Err(problem("a table stored outside the object header", "a compact one".to_owned()))
    })?;
    let mut records = vec![Vec::new(); bytes.n_rows()];
    bytes.read(0..bytes.n_rows(), &mut records, |bytes, part: &mut [Vec<u8>]| {
        for (record, bytes) in part.iter_mut().zip(bytes.chunks_exact(table.size)) {
            *record = bytes.to_vec();
        }
    })?;
    let index = table.fields.iter().position(|field| field.name == "index").unwrap_or(0);
    let mut axis = Axis::default();
    for (position, field) in table.fields.iter().enumerate() {
        if field.offset.saturating_add(field.ty.size()) > table.size {
            return Err(problem("fields inside the record", format!("{:?} beyond its end", field.name)));
        }
        match read_field(file, path, field, &records, big_endian, notes)? {
            Some(Column::Strings(names)) if position == index => axis.names = names,
            Some(Column::Integers(names)) if position == index => {
                axis.names = names.iter().map(i64::to_string).collect();
            }
            _ if position == index => {
                return Err(problem(
                    "names as strings",
                    format!("the field {:?} of {}", field.name, field.ty),
                ));
            }
            Some(column) => axis.columns.push((field.name.clone(), column)),
            None => notes.push(format!("{path}/{}: skipped, its type is {}", field.name, field.ty)),
        }
    }
    Ok(axis)
}

fn has_fixed_size(kind: &TypeDescriptor) -> bool {
    use TypeDescriptor as Kind;
    match kind {
        Kind::VarLenArray(_) | Kind::VarLenAscii | Kind::VarLenUnicode | Kind::Reference(_) => false,
        Kind::FixedArray(inner, _) => has_fixed_size(inner),
        Kind::Compound(inner) => inner.fields.iter().all(|field| has_fixed_size(&field.ty)),
        _ => true,
    }
}

fn read_field(
    file: &HdfFile,
    path: &str,
    field: &CompoundField,
    records: &[Vec<u8>],
    big_endian: bool,
    notes: &mut Vec<String>,
) -> Result<Option<Column>> {
    let bytes = |record: &Vec<u8>| record[field.offset..field.offset + field.ty.size()].to_vec();
    if let TypeDescriptor::FixedAscii(_) | TypeDescriptor::FixedUnicode(_) = field.ty {
        let decoded: Vec<_> = records.iter().map(|record| decode_text(&bytes(record))).collect();
        let lossy = decoded.iter().filter(|(_, valid)| !valid).count();
        if lossy > 0 {
            notes.push(format!("{path}/{}: {lossy} strings are not valid UTF-8, repaired", field.name));
        }
        return Ok(Some(Column::Strings(decoded.into_iter().map(|(text, _)| text).collect())));
    }
    let Some(dtype) = numeric_dtype(&field.ty) else { return Ok(None) };
    let packed: Vec<u8> = records.iter().flat_map(bytes).collect();
    if dtype.is_real() {
        let mut values = vec![0.0; records.len()];
        convert(&packed, dtype, big_endian, &mut values);
        return Ok(Some(Column::Floats(values)));
    }
    let mut values = vec![0_i64; records.len()];
    convert(&packed, dtype, big_endian, &mut values);
    if field.ty == TypeDescriptor::Boolean {
        return Ok(Some(Column::Booleans(values.iter().map(|&value| value != 0).collect())));
    }
    let list = format!("uns/{}_categories", field.name);
    if file.has_dataset(&list)? {
        let categories = read_texts(file, &list, notes)?;
        if let Ok(codes) = checked_codes(&values, categories.len()) {
            return Ok(Some(Column::Categorical { codes, categories, ordered: false }));
        }
    }
    Ok(Some(Column::Integers(values)))
}
