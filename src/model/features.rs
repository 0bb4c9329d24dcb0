//! Which genes (or cells) a network's features stand for, and finding them in another matrix.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::matrix::{Axis, Column};

/// The column of an axis that identifies genes better than their symbols do.
const ID_COLUMN: &str = "gene_ids";

/// Names and, where the file had them, ids of a network's features, in the network's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Gene symbols or barcodes; may repeat.
    pub names: Vec<String>,
    /// Gene ids such as ENSG00000139618.
    pub ids: Option<Vec<String>>,
}

impl Features {
    /// The elements of `axis` at `positions`.
    pub fn of_axis(axis: &Axis, positions: &[u32]) -> Self {
        let pick = |all: &[String]| positions.iter().map(|&p| all[p as usize].clone()).collect();
        Self { names: pick(&axis.names), ids: ids(axis).map(|ids| pick(&ids)) }
    }

    /// The number of features.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// For every element of `axis` the feature it is, by id where both sides have ids, else by name.
    /// The k-th element of a repeated name is the k-th feature of that name.
    pub fn find_in(&self, axis: &Axis) -> Vec<Option<u32>> {
        let axis_ids = ids(axis);
        let (own, others) = match (&self.ids, &axis_ids) {
            (Some(own), Some(others)) => (own.as_slice(), others.as_slice()),
            _ => (self.names.as_slice(), axis.names.as_slice()),
        };
        let mut position: HashMap<(&str, u32), u32> = HashMap::with_capacity(own.len());
        for (feature, key) in (0_u32..).zip(numbered(own)) {
            position.insert(key, feature);
        }
        numbered(others).map(|key| position.get(&key).copied()).collect()
    }

    /// A fingerprint of names and ids, in hexadecimal.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for text in self.names.iter().chain(self.ids.iter().flatten()) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

fn ids(axis: &Axis) -> Option<Vec<String>> {
    match axis.column(ID_COLUMN)? {
        Column::Strings(ids) => Some(ids.clone()),
        Column::Categorical { codes, categories, .. } => {
            codes.iter().map(|&code| categories.get(usize::try_from(code).ok()?).cloned()).collect()
        }
        _ => None,
    }
}

/// Every text with how often it came before.
fn numbered(texts: &[String]) -> impl Iterator<Item = (&str, u32)> {
    let mut seen: HashMap<&str, u32> = HashMap::with_capacity(texts.len());
    texts.iter().map(move |text| {
        let count = seen.entry(text).or_insert(0);
        *count += 1;
        (text.as_str(), *count - 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(names: &[&str], ids: Option<&[&str]>) -> Axis {
        let own = |texts: &[&str]| texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>();
        let mut axis = Axis::from_names(own(names));
        if let Some(ids) = ids {
            axis.columns.push((ID_COLUMN.into(), Column::Strings(own(ids))));
        }
        axis
    }

    #[test]
    fn repeated_names_are_told_apart_by_their_order() {
        let features = Features::of_axis(&axis(&["A", "B", "A"], None), &[0, 1, 2]);
        assert_eq!(
            features.find_in(&axis(&["A", "C", "A", "A", "B"], None)),
            [Some(0), None, Some(2), None, Some(1)]
        );
    }

    #[test]
    fn ids_go_before_names() {
        let features = Features::of_axis(&axis(&["A", "B"], Some(&["E1", "E2"])), &[0, 1]);
        assert_eq!(features.find_in(&axis(&["B", "A"], Some(&["E1", "E3"]))), [Some(0), None]);
        assert_eq!(features.find_in(&axis(&["B", "A"], None)), [Some(1), Some(0)]);
    }
}
