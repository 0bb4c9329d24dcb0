//! Axes of shards: a hash that survives being written and read back, and putting them one after the other.

use crate::matrix::{Axis, Column, hash_texts};

/// A hash of names and columns by what they say, not by how: strings may come back from a file as categories, and
/// integers of which none is missing as plain ones.
pub(super) fn hash_axis(axis: &Axis) -> String {
    let mut hasher = blake3::Hasher::new();
    hash_texts(&mut hasher, axis.names.iter().map(String::as_str));
    for (_, column) in &axis.columns {
        hash_column(&mut hasher, column);
    }
    hasher.finalize().to_hex().to_string()
}

fn hash_column(hasher: &mut blake3::Hasher, column: &Column) {
    match column {
        Column::Strings(values) => {
            hasher.update(b"text");
            hash_texts(hasher, values.iter().map(String::as_str));
            hasher.update(&vec![0; values.len()]);
        }
        Column::Categorical { codes, categories, .. } => {
            hasher.update(b"text");
            let text = |&code: &i32| category(categories, code).unwrap_or_default();
            hash_texts(hasher, codes.iter().map(text));
            hasher.update(&codes.iter().map(|&code| u8::from(code < 0)).collect::<Vec<_>>());
        }
        Column::Integers(values) => {
            hasher.update(b"integers");
            hasher.update(bytemuck::cast_slice(values));
            hasher.update(&vec![0; values.len()]);
        }
        Column::NullableIntegers { values, missing } => {
            hasher.update(b"integers");
            hasher.update(bytemuck::cast_slice(values));
            hasher.update(bytemuck::cast_slice(missing));
        }
        Column::Floats(values) => {
            hasher.update(b"floats");
            hasher.update(bytemuck::cast_slice(values));
        }
        Column::Booleans(values) => {
            hasher.update(b"booleans");
            hasher.update(bytemuck::cast_slice(values));
            hasher.update(&vec![0; values.len()]);
        }
        Column::NullableBooleans { values, missing } => {
            hasher.update(b"booleans");
            hasher.update(bytemuck::cast_slice(values));
            hasher.update(bytemuck::cast_slice(missing));
        }
    }
}

fn category(categories: &[String], code: i32) -> Option<&str> {
    usize::try_from(code).ok().and_then(|code| categories.get(code)).map(String::as_str)
}

/// The axes one after the other, or the name of the column that does not fit. A column that was one before it was cut
/// becomes what it was: parts that are categories because they repeat texts are strings again, and one that misses
/// nothing joins those that do.
pub(super) fn concatenate(parts: Vec<Axis>) -> Result<Axis, String> {
    let mut parts = parts.into_iter();
    let Some(first) = parts.next() else { return Ok(Axis::default()) };
    let mut names = first.names;
    let mut columns: Vec<(String, Vec<Column>)> =
        first.columns.into_iter().map(|(name, column)| (name, vec![column])).collect();
    for part in parts {
        names.extend(part.names);
        let mut others = part.columns.into_iter();
        for (name, parts) in &mut columns {
            match others.next() {
                Some((other, column)) if other == *name => parts.push(column),
                _ => return Err(name.clone()),
            }
        }
        if let Some((name, _)) = others.next() {
            return Err(name);
        }
    }
    let join = |(name, parts): (String, Vec<Column>)| match join_columns(parts) {
        Some(column) => Ok((name, column)),
        None => Err(name),
    };
    Ok(Axis { names, columns: columns.into_iter().map(join).collect::<Result<_, _>>()? })
}

fn join_columns(parts: Vec<Column>) -> Option<Column> {
    let mut parts = parts.into_iter();
    let first = parts.next()?;
    parts.try_fold(first, join)
}

fn join(a: Column, b: Column) -> Option<Column> {
    Some(match (a, b) {
        (Column::Integers(a), Column::Integers(b)) => Column::Integers(chain(a, b)),
        (Column::Floats(a), Column::Floats(b)) => Column::Floats(chain(a, b)),
        (Column::Booleans(a), Column::Booleans(b)) => Column::Booleans(chain(a, b)),
        (
            Column::Categorical { codes, categories, ordered },
            Column::Categorical { codes: more, categories: others, ordered: also },
        ) if (&categories, ordered) == (&others, also) => {
            Column::Categorical { codes: chain(codes, more), categories, ordered }
        }
        (
            a @ (Column::Strings(_) | Column::Categorical { .. }),
            b @ (Column::Strings(_) | Column::Categorical { .. }),
        ) => Column::Strings(chain(texts(a)?, texts(b)?)),
        (
            a @ (Column::Integers(_) | Column::NullableIntegers { .. }),
            b @ (Column::Integers(_) | Column::NullableIntegers { .. }),
        ) => {
            let ((a, a_missing), (b, b_missing)) = (integers(a)?, integers(b)?);
            Column::NullableIntegers { values: chain(a, b), missing: chain(a_missing, b_missing) }
        }
        (
            a @ (Column::Booleans(_) | Column::NullableBooleans { .. }),
            b @ (Column::Booleans(_) | Column::NullableBooleans { .. }),
        ) => {
            let ((a, a_missing), (b, b_missing)) = (booleans(a)?, booleans(b)?);
            Column::NullableBooleans { values: chain(a, b), missing: chain(a_missing, b_missing) }
        }
        _ => return None,
    })
}

fn chain<T>(mut a: Vec<T>, b: Vec<T>) -> Vec<T> {
    a.extend(b);
    a
}

fn texts(column: Column) -> Option<Vec<String>> {
    match column {
        Column::Strings(values) => Some(values),
        Column::Categorical { codes, categories, .. } => {
            codes.iter().map(|&code| category(&categories, code).map(str::to_owned)).collect()
        }
        _ => None,
    }
}

fn integers(column: Column) -> Option<(Vec<i64>, Vec<bool>)> {
    match column {
        Column::Integers(values) => {
            let missing = vec![false; values.len()];
            Some((values, missing))
        }
        Column::NullableIntegers { values, missing } => Some((values, missing)),
        _ => None,
    }
}

fn booleans(column: Column) -> Option<(Vec<bool>, Vec<bool>)> {
    match column {
        Column::Booleans(values) => {
            let missing = vec![false; values.len()];
            Some((values, missing))
        }
        Column::NullableBooleans { values, missing } => Some((values, missing)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Column {
        Column::Strings(texts.iter().map(|&text| text.to_owned()).collect())
    }

    fn categories(codes: &[i32], texts: &[&str]) -> Column {
        let categories = texts.iter().map(|&text| text.to_owned()).collect();
        Column::Categorical { codes: codes.to_vec(), categories, ordered: false }
    }

    #[test]
    fn cut_columns_become_what_they_were() {
        for (a, b, whole) in [
            (strings(&["a"]), categories(&[0, 0], &["b"]), Some(strings(&["a", "b", "b"]))),
            (
                categories(&[0, -1], &["b", "c"]),
                categories(&[1], &["b", "c"]),
                Some(categories(&[0, -1, 1], &["b", "c"])),
            ),
            (
                Column::Integers(vec![1]),
                Column::NullableIntegers { values: vec![2], missing: vec![true] },
                Some(Column::NullableIntegers { values: vec![1, 2], missing: vec![false, true] }),
            ),
            (Column::Integers(vec![1]), Column::Floats(vec![1.0]), None),
        ] {
            assert_eq!(join_columns(vec![a, b]), whole);
        }
    }

    #[test]
    fn the_hash_is_of_what_a_column_says() {
        let hash = |column: Column| {
            hash_axis(&Axis { names: vec!["x".into()], columns: vec![("c".into(), column)] })
        };
        assert_eq!(hash(strings(&["b", "a"])), hash(categories(&[1, 0], &["a", "b"])));
        assert_ne!(hash(strings(&["", "a"])), hash(categories(&[-1, 0], &["a"])));
        assert_ne!(hash(strings(&["ba", ""])), hash(strings(&["b", "a"])));
    }
}
