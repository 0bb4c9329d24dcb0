//! What names look like: genes or cells.

use std::collections::HashMap;

use crate::matrix::{Axis, Major};

/// So many names are looked at, from all over the axis.
const SAMPLED: usize = 2000;
/// Barcodes are at least this long.
const SHORTEST_BARCODE: usize = 8;
/// An Ensembl id has at least this many digits.
const FEWEST_DIGITS: usize = 6;
/// Symbols are no longer.
const LONGEST_SYMBOL: usize = 15;

/// A warning where cells look like genes, or genes like cells, in a table of which a `record` is what `major` says.
pub(super) fn check_orientation(record: &str, major: Major, cells: &Axis, genes: &Axis) -> Option<String> {
    let (gene_like, barcode_like) = (look_like_genes(&cells.names), look_like_barcodes(&genes.names));
    let mixed_up =
        (gene_like && !look_like_genes(&genes.names)) || (barcode_like && !look_like_barcodes(&cells.names));
    let first = |axis: &Axis| axis.names.first().cloned().unwrap_or_default();
    let other = major.other().row_noun();
    mixed_up.then(|| {
        format!(
            "cells and genes seem to be mixed up: a {record} is read as a {}, and so {:?} as a cell and {:?} as a gene; \
             if the {record}s are {other}s, give --orientation {other}s",
            major.row_noun(),
            first(cells),
            first(genes)
        )
    })
}

/// Whether most of the names are Ensembl ids or look like gene symbols.
///
/// Names that are numbered, such as cell1, cell2, ..., are no symbols: too many have the same letters.
fn look_like_genes(names: &[String]) -> bool {
    let sample = sample(names);
    let mut stems: HashMap<&str, usize> = HashMap::new();
    let (mut genes, mut symbols) = (0, 0);
    for name in &sample {
        if is_ensembl(name) {
            genes += 1;
        } else if let Some(stem) = symbol_stem(name).filter(|_| !is_barcode(name)) {
            symbols += 1;
            *stems.entry(stem).or_default() += 1;
        }
    }
    let numbered = stems.values().copied().max().unwrap_or(0) * 2 > symbols.max(2);
    let genes = if numbered { genes } else { genes + symbols };
    genes * 2 > sample.len()
}

/// Whether most of the names have a barcode in them, such as `AAACCTGAGAAACCAT-1`.
fn look_like_barcodes(names: &[String]) -> bool {
    let sample = sample(names);
    sample.iter().filter(|name| is_barcode(name)).count() * 2 > sample.len()
}

fn sample(names: &[String]) -> Vec<&str> {
    let step = names.len().div_ceil(SAMPLED).max(1);
    names.iter().step_by(step).map(String::as_str).collect()
}

fn is_barcode(name: &str) -> bool {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|part| part.len() >= SHORTEST_BARCODE && part.bytes().all(|b| b"ACGTN".contains(&b)))
}

/// `ENSG00000139618.12`, `ENSMUSG...`, and those of other species.
fn is_ensembl(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("ENS") else { return false };
    let id = rest.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let digits = id.bytes().take_while(u8::is_ascii_digit).count();
    rest.len() > id.len() && digits >= FEWEST_DIGITS && matches!(id.as_bytes().get(digits), None | Some(b'.'))
}

/// The letters that a symbol begins with: all capitals as of human genes, or one and small ones as of mouse genes, at least
/// two of them.
fn symbol_stem(name: &str) -> Option<&str> {
    if name.len() > LONGEST_SYMBOL || !name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let stem = &name[..name.bytes().take_while(u8::is_ascii_alphabetic).count()];
    let same_case = |test: fn(&u8) -> bool| stem.bytes().skip(1).all(|byte| test(&byte));
    let is_word = same_case(u8::is_ascii_uppercase) || same_case(u8::is_ascii_lowercase);
    (stem.len() >= 2 && is_word && name.bytes().all(allowed)).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<String> {
        list.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn genes_and_cells_are_told_apart() {
        for genes in [
            "ENSG00000187608 ENSG00000175756.2 ENSMUSG00000051951 ENSDARG00000102141",
            "ACTB GAPDH MALAT1 HLA-A RP11-34P13.7 CD3E 7SK",
            "Actb Gapdh Malat1 Xkr4 Sox17 0610007P14Rik Gm1992",
            "RPL3 RPS4X EEF1A1 B2M TMSB4X",
        ] {
            assert!(look_like_genes(&names(genes)), "{genes}");
            assert!(!look_like_barcodes(&names(genes)), "{genes}");
        }
        for cells in [
            "AAACATACATTTCC-1 AAACATACCATGCA-1 AAACCGTGTGTATC-1",
            "sample1_AAACCTGAGAAACCAT sample2_AAACCTGAGAAACCAG",
            "GATTACAGATTACA CCCCCCCCCCCC",
        ] {
            assert!(look_like_barcodes(&names(cells)), "{cells}");
            assert!(!look_like_genes(&names(cells)), "{cells}");
        }
        for cells in [
            "cell1 cell2 cell3 cell4",
            "W29956 W29970 W30001",
            "A01 A02 B01 B02 H12",
            "Cell1 Cell2 Cell3 Cell4",
            "1 2 3",
            "SRR1 SRR2 SRR3",
        ] {
            assert!(!look_like_genes(&names(cells)) && !look_like_barcodes(&names(cells)), "{cells}");
        }
        assert!(!look_like_genes(&[]) && !look_like_barcodes(&[]));
    }
}
