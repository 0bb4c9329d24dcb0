//! Columns of a data frame, in every encoding since AnnData 0.7.

use hdf5::types::TypeDescriptor;

use crate::error::{Error, Result};
use crate::hdf::{HdfFile, Kind, NumericArray};
use crate::io::Dtype;
use crate::matrix::Column;

/// Reads the column at `path`, which must have `len` elements. `Err` of the inner result says why
/// the column cannot be kept; that is not the file's fault.
pub(crate) fn read_column(
    file: &HdfFile,
    path: &str,
    len: usize,
    notes: &mut Vec<String>,
) -> Result<std::result::Result<Column, String>> {
    let column = match file.kind(path)? {
        None => return Ok(Err("it is missing".to_owned())),
        Some(Kind::Group) => read_group(file, path, notes)?,
        Some(Kind::Dataset) => read_dataset(file, path, notes)?,
    };
    match column {
        Ok(column) if column.len() != len => Err(Error::input(
            file.path(),
            path,
            format!("{len} elements, one for each name"),
            column.len().to_string(),
            "write the file again with the tool that made it",
        )),
        column => Ok(column),
    }
}

fn read_group(
    file: &HdfFile,
    path: &str,
    notes: &mut Vec<String>,
) -> Result<std::result::Result<Column, String>> {
    let encoding = file.string_attribute(path, "encoding-type")?.unwrap_or_default();
    let values = format!("{path}/values");
    Ok(match encoding.as_str() {
        "categorical" => {
            let categories = read_texts(file, &format!("{path}/categories"), notes)?;
            let ordered = file.boolean_attribute(path, "ordered")?.unwrap_or(false);
            Ok(categorical(file, &format!("{path}/codes"), categories, ordered)?)
        }
        "nullable-integer" => {
            let values = NumericArray::open(file, &values)?;
            if values.dtype().is_real() {
                return Ok(Err(format!("its values are {}", values.dtype())));
            }
            let missing = read_mask(file, path, values.n_rows())?;
            let values = values.read_all::<i64>()?;
            if missing.contains(&true) {
                Ok(Column::NullableIntegers { values, missing })
            } else {
                Ok(Column::Integers(values))
            }
        }
        "nullable-boolean" => {
            let values = read_booleans(file, &values)?;
            let missing = read_mask(file, path, values.len())?;
            if missing.contains(&true) {
                Ok(Column::NullableBooleans { values, missing })
            } else {
                Ok(Column::Booleans(values))
            }
        }
        "nullable-string-array" => {
            let values = file.strings(&values, notes)?;
            let missing = read_mask(file, path, values.len())?;
            Ok(if missing.contains(&true) {
                with_missing(&values, &missing)
            } else {
                Column::Strings(values)
            })
        }
        "" => Err("it is a group without encoding".to_owned()),
        other => Err(format!("its encoding is {other:?}")),
    })
}

fn read_dataset(
    file: &HdfFile,
    path: &str,
    notes: &mut Vec<String>,
) -> Result<std::result::Result<Column, String>> {
    if file.dataset(path)?.ndim() != 1 {
        return Ok(Err("it is not one-dimensional".to_owned()));
    }
    let descriptor = file.descriptor(path)?;
    Ok(match descriptor {
        _ if file.is_strings(path)? => Ok(Column::Strings(file.strings(path, notes)?)),
        TypeDescriptor::Boolean => Ok(Column::Booleans(read_booleans(file, path)?)),
        TypeDescriptor::Enum(kind) => {
            let array = NumericArray::open(file, path)?;
            let codes = array.read_all::<i64>()?;
            let position = |code: &i64| {
                kind.members.iter().position(|member| member.value == u64::from_ne_bytes(code.to_ne_bytes()))
            };
            let codes = codes.iter().map(|code| position(code).map_or(-1, to_code)).collect();
            let categories = kind.members.into_iter().map(|member| member.name).collect();
            Ok(Column::Categorical { codes, categories, ordered: false })
        }
        TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) => {
            // AnnData 0.7 keeps the categories beside the codes.
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let beside = format!("{parent}/__categories/{name}");
            if file.has_dataset(&beside)? {
                let categories = read_texts(file, &beside, notes)?;
                let ordered = file.boolean_attribute(&beside, "ordered")?.unwrap_or(false);
                return Ok(Ok(categorical(file, path, categories, ordered)?));
            }
            let array = NumericArray::open(file, path)?;
            if array.dtype() == Dtype::U64
                && array.read_all::<u64>()?.iter().any(|&x| i64::try_from(x).is_err())
            {
                return Ok(Err("it has integers beyond 63 bits".to_owned()));
            }
            Ok(Column::Integers(array.read_all()?))
        }
        TypeDescriptor::Float(_) => Ok(Column::Floats(NumericArray::open(file, path)?.read_all()?)),
        other => Err(format!("its type is {other}")),
    })
}

/// Strings, or numbers written out as Python would.
pub(super) fn read_texts(file: &HdfFile, path: &str, notes: &mut Vec<String>) -> Result<Vec<String>> {
    if file.kind(path)? == Some(Kind::Group) {
        // Nullable strings: categories are never missing.
        return file.strings(&format!("{path}/values"), notes);
    }
    if file.is_strings(path)? {
        return file.strings(path, notes);
    }
    if file.descriptor(path)? == TypeDescriptor::Boolean {
        let text = |value| if value { "True" } else { "False" }.to_owned();
        return Ok(read_booleans(file, path)?.into_iter().map(text).collect());
    }
    let array = NumericArray::open(file, path)?;
    Ok(if array.dtype().is_real() {
        array.read_all::<f64>()?.iter().map(|value| format!("{value:?}")).collect()
    } else {
        array.read_all::<i64>()?.iter().map(i64::to_string).collect()
    })
}

fn categorical(file: &HdfFile, codes_path: &str, categories: Vec<String>, ordered: bool) -> Result<Column> {
    let array = NumericArray::open(file, codes_path)?;
    let codes = checked_codes(&array.read_all::<i64>()?, categories.len());
    let codes = codes.map_err(|code| {
        let expected = format!("codes from -1 to {}", categories.len().cast_signed() - 1);
        array.problem(expected, code.to_string(), "write the column again")
    })?;
    Ok(Column::Categorical { codes, categories, ordered })
}

/// Codes that fit the categories, or the first that does not.
pub(super) fn checked_codes(codes: &[i64], n_categories: usize) -> std::result::Result<Vec<i32>, i64> {
    let check = |&code: &i64| match i32::try_from(code) {
        Ok(small) if small < 0 => Ok(-1),
        Ok(small) if usize::try_from(small).is_ok_and(|code| code < n_categories) => Ok(small),
        _ => Err(code),
    };
    codes.iter().map(check).collect()
}

/// A string column some of whose values are missing, as categories.
fn with_missing(values: &[String], missing: &[bool]) -> Column {
    let mut categories: Vec<String> = values
        .iter()
        .zip(missing)
        .filter(|(_, missing)| !**missing)
        .map(|(value, _)| value.clone())
        .collect();
    categories.sort_unstable();
    categories.dedup();
    let code = |value: &String| categories.binary_search(value).map_or(-1, to_code);
    let codes = values.iter().zip(missing).map(|(value, &missing)| if missing { -1 } else { code(value) });
    Column::Categorical { codes: codes.collect(), categories, ordered: false }
}

fn to_code(position: usize) -> i32 {
    i32::try_from(position).unwrap_or(-1)
}

fn read_booleans(file: &HdfFile, path: &str) -> Result<Vec<bool>> {
    let values = NumericArray::open(file, path)?.read_all::<u64>()?;
    Ok(values.into_iter().map(|value| value != 0).collect())
}

fn read_mask(file: &HdfFile, path: &str, len: usize) -> Result<Vec<bool>> {
    let name = format!("{path}/mask");
    let mask = read_booleans(file, &name)?;
    if mask.len() == len {
        return Ok(mask);
    }
    let found = mask.len().to_string();
    Err(Error::input(file.path(), name, format!("{len} elements, as the values"), found, "write it again"))
}
