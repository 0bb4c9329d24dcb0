//! Which cells and genes of several files are the same.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::matrix::{Axis, Major};

/// In maps: this cell or gene is left out.
pub const ABSENT: u32 = u32::MAX;

/// A file with one of its axes.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its cells or genes.
    pub axis: &'a Axis,
}

/// The elements that all files have, in the order of the first file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Join {
    /// Names, as in the first file.
    pub names: Vec<String>,
    /// For every file and every joint element its position there.
    pub positions: Vec<Vec<u32>>,
    /// For every file and every position the joint element, or [`ABSENT`].
    pub joint: Vec<Vec<u32>>,
}

impl Join {
    /// Joins the files' cells or genes by id where a file and the first one both have ids that fit, else by name. The
    /// k-th element of a name is the k-th of that name in every file.
    ///
    /// # Errors
    /// When the files have no element in common.
    pub fn new(major: Major, sides: &[Side<'_>]) -> Result<Self> {
        let Some((first, others)) = sides.split_first() else { return Ok(Self::default()) };
        let found: Vec<Vec<u32>> = others.iter().map(|side| find(first.axis, side.axis)).collect();
        for (side, found) in others.iter().zip(&found) {
            if found.iter().all(|&position| position == ABSENT) {
                return Err(nothing_in_common(major, first, side));
            }
        }
        let keep: Vec<u32> = (0..to_u32(first.axis.len()))
            .filter(|&element| found.iter().all(|found| found[element as usize] != ABSENT))
            .collect();
        if let (true, [second, .., last]) = (keep.is_empty(), others) {
            return Err(nothing_in_common(major, second, last));
        }
        let mut positions = vec![keep.clone()];
        positions.extend(found.iter().map(|found| keep.iter().map(|&e| found[e as usize]).collect()));
        let joint = sides.iter().zip(&positions).map(|(side, own)| invert(own, side.axis.len())).collect();
        let names = keep.iter().map(|&element| first.axis.names[element as usize].clone()).collect();
        Ok(Self { names, positions, joint })
    }

    /// The number of elements that all files have.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// A position; axes longer than 32 bits were refused when their file was opened.
pub(super) fn to_u32(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(ABSENT)
}

fn invert(positions: &[u32], len: usize) -> Vec<u32> {
    let mut joint = vec![ABSENT; len];
    for (element, &position) in (0..).zip(positions) {
        joint[position as usize] = element;
    }
    joint
}

/// For every element of `a` its position in `b`.
fn find(a: &Axis, b: &Axis) -> Vec<u32> {
    if let (Some(own), Some(others)) = (a.ids(), b.ids()) {
        let found = find_labels(&own, &others);
        if found.iter().any(|&position| position != ABSENT) {
            return found;
        }
    }
    find_labels(&a.names, &b.names)
}

fn find_labels(a: &[String], b: &[String]) -> Vec<u32> {
    let positions: HashMap<(&str, u32), u32> = numbered(b).zip(0..).collect();
    numbered(a).map(|key| positions.get(&key).copied().unwrap_or(ABSENT)).collect()
}

/// Every label with how often it came before.
fn numbered(labels: &[String]) -> impl Iterator<Item = (&str, u32)> {
    let mut seen: HashMap<&str, u32> = HashMap::with_capacity(labels.len());
    labels.iter().map(move |label| {
        let count = seen.entry(label).or_insert(0);
        *count += 1;
        (label.as_str(), *count - 1)
    })
}

fn nothing_in_common(major: Major, a: &Side<'_>, b: &Side<'_>) -> Error {
    let noun = major.row_noun();
    let first = |side: &Side<'_>| match side.axis.names.first() {
        Some(name) => format!("{name:?}"),
        None => "none".to_owned(),
    };
    Error::input(
        b.path,
        format!("{noun}s"),
        format!("{noun} names as in {}, whose first is {}", a.path.display(), first(a)),
        format!("none of them; the first is {}", first(b)),
        "give files of the same cells and genes; `late-fast inspect` shows what they are called",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Column;

    fn axis(names: &[&str], ids: Option<&[&str]>) -> Axis {
        let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let mut axis = Axis::from_names(own(names));
        if let Some(ids) = ids {
            axis.columns.push(("gene_ids".into(), Column::Strings(own(ids))));
        }
        axis
    }

    fn join(axes: &[Axis]) -> Result<Join> {
        let sides: Vec<_> = axes.iter().map(|axis| Side { path: Path::new("file"), axis }).collect();
        Join::new(Major::Genes, &sides)
    }

    #[test]
    fn what_all_files_have_is_kept_in_the_order_of_the_first() {
        let files = [
            axis(&["A", "B", "A", "C"], None),
            axis(&["C", "A", "A"], None),
            axis(&["A", "X", "C", "A"], None),
        ];
        let join = join(&files).unwrap();
        assert_eq!(join.names, ["A", "A", "C"]);
        assert_eq!(join.positions, [vec![0, 2, 3], vec![1, 2, 0], vec![0, 3, 2]]);
        assert_eq!(join.joint[0], [0, ABSENT, 1, 2]);
        assert_eq!(join.joint[2], [0, ABSENT, 2, 1]);
    }

    #[test]
    fn ids_go_before_names_unless_none_fits() {
        let ensembl = axis(&["A", "B"], Some(&["E1", "E2"]));
        assert_eq!(join(&[ensembl.clone(), axis(&["B", "C"], Some(&["E1", "E3"]))]).unwrap().names, ["A"]);
        assert_eq!(join(&[ensembl.clone(), axis(&["B", "C"], Some(&["1", "2"]))]).unwrap().names, ["B"]);
        assert_eq!(join(&[ensembl, axis(&["B", "C"], None)]).unwrap().names, ["B"]);
    }

    #[test]
    fn files_without_anything_in_common_are_refused() {
        assert!(join(&[axis(&["A"], None), axis(&["B"], None)]).is_err());
        let pairwise = [axis(&["A", "B"], None), axis(&["A"], None), axis(&["B"], None)];
        assert!(join(&pairwise).unwrap_err().to_string().contains("\"B\""));
    }
}
