//! `obs` and `var` of any generation.

use super::columns::read_column;
use super::compound;
use crate::error::{Error, Result};
use crate::hdf::{HdfFile, Kind, NumericArray};
use crate::matrix::Axis;

/// Reads the data frame at `path` ("obs", "var", "raw/var", "raw.var"). Columns of a kind that has no
/// place in [`Axis`] are left out and named in `notes`.
pub fn read_axis(file: &HdfFile, path: &str, notes: &mut Vec<String>) -> Result<Axis> {
    if file.kind(path)? == Some(Kind::Dataset) {
        return compound::read_table(file, path, notes);
    }
    let problem = |object: String, expected: &str, found: String| {
        Error::input(file.path(), object, expected, found, "write the file again with anndata")
    };
    if let Some(other) =
        file.string_attribute(path, "encoding-type")?.filter(|encoding| encoding != "dataframe")
    {
        return Err(problem(format!("{path}@encoding-type"), "dataframe", format!("{other:?}")));
    }
    let index = match file.string_attribute(path, "_index")? {
        Some(name) => name,
        None if file.has_dataset(&format!("{path}/_index"))? => "_index".to_owned(),
        None if file.has_dataset(&format!("{path}/index"))? => "index".to_owned(),
        None => return Err(problem(format!("{path}@_index"), "the name of the index", "nothing".to_owned())),
    };
    let names_path = format!("{path}/{index}");
    let names = match file.kind(&names_path)? {
        Some(Kind::Dataset) if file.is_strings(&names_path)? => file.strings(&names_path, notes)?,
        Some(Kind::Dataset) => {
            // Positions or other numbers serve as names.
            NumericArray::open(file, &names_path)?.read_all::<i64>()?.iter().map(i64::to_string).collect()
        }
        Some(Kind::Group) => file.strings(&format!("{names_path}/values"), notes)?,
        None => return Err(problem(names_path, "the index dataset", "nothing".to_owned())),
    };
    let columns = match file.strings_attribute(path, "column-order")? {
        Some(columns) => columns,
        // An empty order is written as an empty list of numbers.
        None => {
            let members = file.members(path)?;
            members.into_iter().filter(|name| *name != index && name != "__categories").collect()
        }
    };
    let mut axis = Axis::from_names(names);
    for name in columns.into_iter().filter(|name| *name != index) {
        let column_path = format!("{path}/{name}");
        match read_column(file, &column_path, axis.len(), notes)? {
            Ok(column) => axis.columns.push((name, column)),
            Err(reason) => notes.push(format!("{column_path}: skipped, {reason}")),
        }
    }
    Ok(axis)
}
