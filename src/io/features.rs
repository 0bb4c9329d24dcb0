//! Which features of a 10x matrix are read, whatever file it is in.

use std::collections::BTreeMap;
use std::path::Path;

use super::stream::DROPPED;
use crate::error::{Error, Result};
use crate::matrix::{Axis, Column};

/// The features that are kept, as scanpy does.
const GENE_EXPRESSION: &str = "Gene Expression";

/// Takes out of `keep` what is not gene expression, where the types are known, with a note on it. Returns the line for
/// `inspect`. `object` is where the file at `path` says the types.
pub(super) fn keep_gene_expression(
    path: &Path,
    object: &str,
    genes: &Axis,
    keep: &mut Vec<usize>,
    notes: &mut Vec<String>,
) -> Result<Option<(String, String)>> {
    let Some(values) = strings_of(genes, "feature_types") else { return Ok(None) };
    let types = count_values(&values, keep);
    let line = ("feature types".to_owned(), list_counts(&types));
    let dropped: BTreeMap<_, _> = types.into_iter().filter(|(kind, _)| *kind != GENE_EXPRESSION).collect();
    if !dropped.is_empty() {
        keep.retain(|&gene| values[gene] == GENE_EXPRESSION);
        if keep.is_empty() {
            let remedy = "this program imputes gene expression; take the gene expression matrix";
            return Err(Error::input(path, object, GENE_EXPRESSION, list_counts(&dropped), remedy));
        }
        notes.push(format!("left out features that are not gene expression: {}", list_counts(&dropped)));
    }
    Ok(Some(line))
}

/// The texts of a column.
pub(super) fn strings_of<'a>(axis: &'a Axis, name: &str) -> Option<Vec<&'a str>> {
    match axis.column(name)? {
        Column::Strings(values) => Some(values.iter().map(String::as_str).collect()),
        _ => None,
    }
}

/// How often each value stands at the positions in `keep`.
pub(super) fn count_values<'a>(values: &[&'a str], keep: &[usize]) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for value in keep.iter().filter_map(|&position| values.get(position)) {
        *counts.entry(*value).or_insert(0) += 1;
    }
    counts
}

/// "Gene Expression (507), Antibody Capture (17)"
pub(super) fn list_counts(counts: &BTreeMap<&str, usize>) -> String {
    let line = |(value, count): (&&str, &usize)| {
        if value.is_empty() { format!("unnamed ({count})") } else { format!("{value} ({count})") }
    };
    counts.iter().map(line).collect::<Vec<_>>().join(", ")
}

/// For each of `len` features its place in `keep`, or [`DROPPED`].
pub(super) fn position_map(keep: &[usize], len: usize) -> Vec<u32> {
    let mut map = vec![DROPPED; len];
    for (position, &feature) in (0_u32..).zip(keep) {
        map[feature] = position;
    }
    map
}
