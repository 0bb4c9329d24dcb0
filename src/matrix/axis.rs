//! One axis of the matrix: the names of its cells or genes and what else is known of them.

use std::borrow::Cow;

/// The cells (`obs`) or the genes (`var`) of a matrix, in file order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// Barcodes or gene names (AnnData's index); may repeat.
    pub names: Vec<String>,
    /// Further columns, each as long as `names`, in file order.
    pub columns: Vec<(String, Column)>,
}

/// A column of an axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Free text.
    Strings(Vec<String>),
    /// Few distinct values; a code of -1 is a missing value.
    Categorical {
        /// Index into `categories` for every element, or -1.
        codes: Vec<i32>,
        /// The distinct values.
        categories: Vec<String>,
        /// Whether the categories have an order.
        ordered: bool,
    },
    /// Integers.
    Integers(Vec<i64>),
    /// Real numbers; a missing value is NaN.
    Floats(Vec<f64>),
    /// Truth values.
    Booleans(Vec<bool>),
    /// Integers some of which are missing (where `missing` is true).
    NullableIntegers {
        /// The values; arbitrary where missing.
        values: Vec<i64>,
        /// Whether each element is missing.
        missing: Vec<bool>,
    },
    /// Truth values some of which are missing (where `missing` is true).
    NullableBooleans {
        /// The values; arbitrary where missing.
        values: Vec<bool>,
        /// Whether each element is missing.
        missing: Vec<bool>,
    },
}

impl Axis {
    /// An axis with names only.
    pub fn from_names(names: Vec<String>) -> Self {
        Self { names, columns: Vec::new() }
    }

    /// The number of cells or genes.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether the axis has no element.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|(key, _)| key == name).map(|(_, column)| column)
    }

    /// What identifies the elements better than their names do, where the file says it: probe ids (unique,
    /// where several probes share a gene), else gene ids, as they are called in AnnData and in loom files.
    pub fn ids(&self) -> Option<Vec<String>> {
        ["probe_ids", "gene_ids", "Accession"].into_iter().find_map(|name| self.texts(name))
    }

    /// The column of this name, if it holds texts of which none is missing.
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        match self.column(name)? {
            Column::Strings(texts) => Some(texts.clone()),
            Column::Categorical { codes, categories, .. } => {
                codes.iter().map(|&code| categories.get(usize::try_from(code).ok()?).cloned()).collect()
            }
            _ => None,
        }
    }

    /// The elements at `keep` (indices into this axis), in that order.
    pub fn select(&self, keep: &[usize]) -> Self {
        Self {
            names: pick(&self.names, keep),
            columns: self.columns.iter().map(|(key, column)| (key.clone(), column.select(keep))).collect(),
        }
    }

    /// How many names stand more than once.
    pub fn count_repeated_names(&self) -> usize {
        let mut seen = std::collections::HashMap::with_capacity(self.names.len());
        for name in &self.names {
            *seen.entry(name.as_str()).or_insert(0_usize) += 1;
        }
        seen.values().filter(|&&count| count > 1).count()
    }
}

impl Column {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Strings(values) => values.len(),
            Self::Categorical { codes, .. } => codes.len(),
            Self::Integers(values) | Self::NullableIntegers { values, .. } => values.len(),
            Self::Floats(values) => values.len(),
            Self::Booleans(values) | Self::NullableBooleans { values, .. } => values.len(),
        }
    }

    /// Whether the column has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements at `keep`, in that order.
    pub fn select(&self, keep: &[usize]) -> Self {
        match self {
            Self::Strings(values) => Self::Strings(pick(values, keep)),
            Self::Categorical { codes, categories, ordered } => Self::Categorical {
                codes: pick(codes, keep),
                categories: categories.clone(),
                ordered: *ordered,
            },
            Self::Integers(values) => Self::Integers(pick(values, keep)),
            Self::Floats(values) => Self::Floats(pick(values, keep)),
            Self::Booleans(values) => Self::Booleans(pick(values, keep)),
            Self::NullableIntegers { values, missing } => {
                Self::NullableIntegers { values: pick(values, keep), missing: pick(missing, keep) }
            }
            Self::NullableBooleans { values, missing } => {
                Self::NullableBooleans { values: pick(values, keep), missing: pick(missing, keep) }
            }
        }
    }
}

/// Hashes texts so that no two lists give the same bytes.
pub fn hash_texts<'a>(hasher: &mut blake3::Hasher, texts: impl ExactSizeIterator<Item = &'a str>) {
    hasher.update(&(texts.len() as u64).to_le_bytes());
    for text in texts {
        // HDF5 strings end at the first NUL, so none is written.
        let text = if text.contains('\0') { text.replace('\0', "").into() } else { Cow::Borrowed(text) };
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
}

fn pick<T: Clone>(values: &[T], keep: &[usize]) -> Vec<T> {
    keep.iter().map(|&index| values[index].clone()).collect()
}
