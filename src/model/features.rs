//! Which genes (or cells) a network's features stand for, and finding them in another matrix.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::matrix::Axis;

/// Names and, where the file had them, ids of a network's features, in the network's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Gene symbols or barcodes.
    pub names: Labels,
    /// Probe or gene ids, such as ENSG00000139618.
    pub ids: Option<Labels>,
}

/// Labels of some elements of an axis. Labels may repeat: the k-th element of the axis with a label is told
/// apart by k, counted over the whole axis, whether or not the earlier ones are features.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// The labels.
    pub texts: Vec<String>,
    /// How many elements of the axis before this one have the same label.
    pub repeats: Vec<u32>,
}

impl Features {
    /// The elements of `axis` at `positions`.
    pub fn of_axis(axis: &Axis, positions: &[u32]) -> Self {
        let pick = |all: &[String]| Labels::of_axis(all, positions);
        Self { names: pick(&axis.names), ids: axis.ids().map(|ids| pick(&ids)) }
    }

    /// The number of features.
    pub fn len(&self) -> usize {
        self.names.texts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.texts.is_empty()
    }

    /// Whether all parts have one length.
    pub(super) fn is_consistent(&self) -> bool {
        let fits = |labels: &Labels| labels.texts.len() == self.len() && labels.repeats.len() == self.len();
        fits(&self.names) && self.ids.as_ref().is_none_or(fits)
    }

    /// For every element of `axis` the feature it is, by id where both sides have ids, else by name.
    pub fn find_in(&self, axis: &Axis) -> Vec<Option<u32>> {
        match (&self.ids, axis.ids()) {
            (Some(own), Some(others)) => own.find_in(&others),
            _ => self.names.find_in(&axis.names),
        }
    }

    /// A fingerprint of names and ids, in hexadecimal.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for labels in std::iter::once(&self.names).chain(&self.ids) {
            for (text, repeat) in labels.texts.iter().zip(&labels.repeats) {
                hasher.update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
                hasher.update(&repeat.to_le_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}

impl Labels {
    fn of_axis(all: &[String], positions: &[u32]) -> Self {
        let repeats: Vec<u32> = numbered(all).map(|(_, repeat)| repeat).collect();
        Self {
            texts: positions.iter().map(|&p| all[p as usize].clone()).collect(),
            repeats: positions.iter().map(|&p| repeats[p as usize]).collect(),
        }
    }

    fn find_in(&self, others: &[String]) -> Vec<Option<u32>> {
        let keys = self.texts.iter().map(String::as_str).zip(self.repeats.iter().copied());
        let feature: HashMap<(&str, u32), u32> = keys.zip(0..).collect();
        numbered(others).map(|key| feature.get(&key).copied()).collect()
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
    use crate::matrix::Column;

    fn axis(names: &[&str], ids: Option<&[&str]>) -> Axis {
        let own = |texts: &[&str]| texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>();
        let mut axis = Axis::from_names(own(names));
        if let Some(ids) = ids {
            axis.columns.push(("gene_ids".into(), Column::Strings(own(ids))));
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
    fn a_repeated_name_counts_even_where_it_is_no_feature() {
        let whole = axis(&["A", "A", "B"], Some(&["E1", "E1", "E2"]));
        let features = Features::of_axis(&whole, &[1, 2]);
        assert_eq!(features.find_in(&whole), [None, Some(0), Some(1)]);
        assert_eq!(features.find_in(&axis(&["A", "A", "B"], None)), [None, Some(0), Some(1)]);
    }

    #[test]
    fn ids_go_before_names() {
        let features = Features::of_axis(&axis(&["A", "B"], Some(&["E1", "E2"])), &[0, 1]);
        assert_eq!(features.find_in(&axis(&["B", "A"], Some(&["E1", "E3"]))), [Some(0), None]);
        assert_eq!(features.find_in(&axis(&["B", "A"], None)), [Some(1), Some(0)]);
    }
}
