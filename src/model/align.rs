//! Finding a network's features in another matrix: by id, then by name.

use std::collections::HashMap;

use super::features::{Features, Labels, numbered};
use crate::matrix::Axis;

/// How a feature was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Both sides have the same id, or the same but for the version of an Ensembl id.
    Id,
    /// Both sides have the same name, and neither has the other's id elsewhere.
    Name,
}

/// A feature that an element of an axis stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The feature's position.
    pub feature: u32,
    /// How it was found.
    pub by: By,
}

/// With a smaller share of the features on the other side, something was mixed up.
pub const LEAST_OVERLAP: f64 = 0.1;

/// Whether `found` of `n` features are enough for a model and a matrix to belong together; with `force` one is.
pub fn is_enough(found: u64, n: u64, force: bool) -> bool {
    found > 0 && (force || found as f64 >= LEAST_OVERLAP * n as f64)
}

/// A label and which of the elements that share it this is.
type Key<'a> = (&'a str, u32);

impl Features {
    /// For every element of `axis` the feature it is; no feature is found twice.
    ///
    /// Exact ids go first, then Ensembl ids without their versions (`ENSG00000139618.12` is `ENSG00000139618`; other
    /// ids are never cut), then names. Thus a name decides only where ids do not: when a side has none, or when
    /// releases of a genome changed a gene's id and kept its name. Names that are Ensembl ids count as ids where
    /// there are no others. Elements that share a label are told apart as in [`Labels`].
    pub fn align(&self, axis: &Axis) -> Vec<Option<Match>> {
        let ids = axis.ids();
        let mut pairs = Pairs { of_element: vec![None; axis.len()], is_taken: vec![false; self.len()] };
        let own_ids = || ids_of(self.ids.as_ref().map(Labels::numbered), self.names.numbered());
        let other_ids = || ids_of(ids.as_deref().map(numbered), numbered(&axis.names));
        pairs.join(By::Id, own_ids(), other_ids);
        pairs.join(By::Id, own_ids().map(without_version), || other_ids().map(without_version));
        pairs.join(By::Name, self.names.numbered().map(Some), || numbered(&axis.names).map(Some));
        pairs.of_element
    }

    /// For every element of `axis` the position of the feature it is, as [`Features::align`] finds it.
    pub fn find_in(&self, axis: &Axis) -> Vec<Option<u32>> {
        self.align(axis).into_iter().map(|found| found.map(|found| found.feature)).collect()
    }
}

/// What was found so far.
struct Pairs {
    of_element: Vec<Option<Match>>,
    /// For every feature whether an element was found for it.
    is_taken: Vec<bool>,
}

impl Pairs {
    /// Joins what is left on both sides where keys are equal. Of features with one key the first is found, and of
    /// elements the first finds it.
    fn join<'a, 'b, I: Iterator<Item = Option<Key<'b>>>>(
        &mut self,
        by: By,
        features: impl Iterator<Item = Option<Key<'a>>>,
        elements: impl FnOnce() -> I,
    ) {
        let mut left: HashMap<Key<'_>, u32> = HashMap::new();
        for ((feature, key), &is_taken) in (0..).zip(features).zip(&self.is_taken) {
            if let (Some(key), false) = (key, is_taken) {
                left.entry(key).or_insert(feature);
            }
        }
        if left.is_empty() {
            return;
        }
        for (found, key) in self.of_element.iter_mut().zip(elements()) {
            let Some(key) = key.filter(|_| found.is_none()) else { continue };
            if let Some(feature) = left.remove(&key) {
                *found = Some(Match { feature, by });
                self.is_taken[feature as usize] = true;
            }
        }
    }
}

/// The ids of some elements: `ids`, where they are not empty, or without any `names` that are Ensembl ids.
fn ids_of<'a>(
    ids: Option<impl Iterator<Item = Key<'a>>>,
    names: impl Iterator<Item = Key<'a>>,
) -> impl Iterator<Item = Option<Key<'a>>> {
    let names = ids.is_none().then_some(names).into_iter().flatten();
    let names = names.map(|key| stable_id(key.0).map(|_| key));
    let ids = ids.into_iter().flatten().map(|key| Some(key).filter(|(id, _)| !id.is_empty()));
    ids.chain(names)
}

/// An Ensembl id's key without the version.
fn without_version(id: Option<Key<'_>>) -> Option<Key<'_>> {
    id.and_then(|(id, repeat)| Some((stable_id(id)?, repeat)))
}

/// An Ensembl id (`ENS`, letters for species and kind, digits) without its version; `None` if `text` is none.
fn stable_id(text: &str) -> Option<&str> {
    const LEAST_DIGITS: usize = 10;
    let (id, version) = text.split_once('.').map_or((text, None), |(id, version)| (id, Some(version)));
    let rest = id.strip_prefix("ENS")?.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let has_kind = id.len() > "ENS".len() + rest.len();
    (has_kind && rest.len() >= LEAST_DIGITS && is_number(rest) && version.is_none_or(is_number)).then_some(id)
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

    fn features(names: &[&str], ids: Option<&[&str]>) -> Features {
        Features::of_axis(&axis(names, ids), &(0..u32::try_from(names.len()).unwrap()).collect::<Vec<_>>())
    }

    fn by(by: By, feature: u32) -> Option<Match> {
        Some(Match { feature, by })
    }

    const BRCA2: &str = "ENSG00000139618";
    const TP53: &str = "ENSG00000141510";
    const MYC: &str = "ENSG00000136997";

    #[test]
    fn repeated_names_are_told_apart_by_their_order() {
        assert_eq!(
            features(&["A", "B", "A"], None).find_in(&axis(&["A", "C", "A", "A", "B"], None)),
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
        let features = features(&["A", "B"], Some(&["E1", "E2"]));
        assert_eq!(features.find_in(&axis(&["B", "A"], Some(&["E1", "E3"]))), [Some(0), None]);
        assert_eq!(features.find_in(&axis(&["B", "A"], None)), [Some(1), Some(0)]);
    }

    #[test]
    fn versions_of_ensembl_ids_are_looked_past_where_ids_are_not_the_same() {
        let versioned = [&format!("{BRCA2}.12"), TP53, &format!("{MYC}.1")];
        let features = features(&["BRCA2", "TP53", "MYC"], Some(&versioned));
        let other = axis(&["x", "y", "z"], Some(&[&format!("{MYC}.20"), BRCA2, TP53]));
        assert_eq!(features.align(&other), [by(By::Id, 2), by(By::Id, 0), by(By::Id, 1)]);
        // Of two that would do, the exact one.
        let both = axis(&["x", "y"], Some(&[BRCA2, &format!("{BRCA2}.12")]));
        assert_eq!(features.find_in(&both), [None, Some(0)]);
    }

    #[test]
    fn other_ids_are_never_cut() {
        for id in [
            "AL592183.1",
            "RP11-34P13.7",
            "CUST_1.2",
            "ENSG1.2",
            "ENS00000139618.2",
            "ENSG00000139618_PAR_Y.1",
        ] {
            let (bare, _) = id.rsplit_once('.').unwrap();
            assert_eq!(features(&["A"], Some(&[id])).find_in(&axis(&["B"], Some(&[bare]))), [None], "{id}");
        }
        assert_eq!(stable_id("ENSMUSG00000017146.12"), Some("ENSMUSG00000017146"));
        assert_eq!(stable_id("ENSG00000182378.15_PAR_Y"), None);
        assert_eq!(stable_id("ENSG00000182378."), None);
    }

    #[test]
    fn a_name_finds_what_changed_its_id_but_never_what_an_id_says_otherwise() {
        let features = features(&["A", "B", "C"], Some(&["E1", "E2", "E3"]));
        // A was given another id; B's id is now called C, so that B's feature is taken and C's new gene has its own.
        let other = axis(&["A", "C", "B"], Some(&["E9", "E2", "E8"]));
        assert_eq!(features.align(&other), [by(By::Name, 0), by(By::Id, 1), None]);
        let swapped = axis(&["B", "A", "C"], Some(&["E1", "E2", "E3"]));
        assert_eq!(features.find_in(&swapped), [Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn names_that_are_ensembl_ids_are_ids_where_there_are_no_others() {
        let named = features(&["BRCA2", "TP53"], Some(&[BRCA2, TP53]));
        let (versioned, other) = (format!("{BRCA2}.3"), "TP53");
        assert_eq!(named.align(&axis(&[&versioned, other], None)), [by(By::Id, 0), by(By::Name, 1)]);
        let unnamed = features(&[&versioned, other], None);
        assert_eq!(
            unnamed.align(&axis(&["TP53", "BRCA2"], Some(&[TP53, BRCA2]))),
            [by(By::Name, 1), by(By::Id, 0)]
        );
    }

    #[test]
    fn empty_ids_are_none_and_every_feature_is_found_once() {
        let features = features(&["A", "B"], Some(&["", ""]));
        assert_eq!(
            features.align(&axis(&["B", "A", "A"], Some(&["", "", ""]))),
            [by(By::Name, 1), by(By::Name, 0), None]
        );
    }
}
