//! Which genes (or cells) a network's features stand for. `align` finds them in another matrix.

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

    /// Every label with which of the elements that share it this is.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (&str, u32)> {
        self.texts.iter().map(String::as_str).zip(self.repeats.iter().copied())
    }
}

/// Every text with how often it came before.
pub(super) fn numbered(texts: &[String]) -> impl Iterator<Item = (&str, u32)> {
    let mut seen: HashMap<&str, u32> = HashMap::with_capacity(texts.len());
    texts.iter().map(move |text| {
        let count = seen.entry(text).or_insert(0);
        *count += 1;
        (text.as_str(), *count - 1)
    })
}
