//! Barcodes and genes with names like those of 10x, and as recognisable as simulated.

use rand::Rng;

use crate::random::{Purpose, generator};

/// Bases of a barcode.
const BASES: u32 = 16;
/// There are no more barcodes of that length.
pub(super) const MOST_BARCODES: u64 = 4_u64.pow(BASES);

/// The barcode of one of `n_cells` cells. They are unique and sorted: every cell has a run of the barcodes of
/// 16 bases to itself, of which one is drawn.
pub(super) fn barcode(seed: u64, n_cells: usize, cell: usize) -> String {
    let run = MOST_BARCODES / n_cells as u64;
    let code = cell as u64 * run + generator(seed, Purpose::Barcode, cell as u64).next_u64() % run;
    let base = |place: u32| ['A', 'C', 'G', 'T'][(code >> (2 * place) & 3) as usize];
    (0..BASES).rev().map(base).chain(['-', '1']).collect()
}

/// Ids and names of genes.
pub(super) fn genes(n_genes: usize) -> (Vec<String>, Vec<String>) {
    (1..=n_genes).map(|gene| (format!("SIMG{gene:011}"), format!("Sim{gene}"))).unzip()
}

/// Names of cell types, of equal length.
pub(super) fn cell_types(n_types: usize) -> Vec<String> {
    let width = n_types.to_string().len();
    (1..=n_types).map(|number| format!("type_{number:0width$}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn barcodes_are_unique_and_sorted_for_any_number_of_cells() {
        for n_cells in [1, 2, 1000, 1_306_127, usize::try_from(MOST_BARCODES).unwrap()] {
            let last = n_cells.saturating_sub(500);
            let names: Vec<String> =
                (0..n_cells.min(500)).chain(last..n_cells).map(|cell| barcode(3, n_cells, cell)).collect();
            let mut expected = names.clone();
            expected.sort();
            expected.dedup();
            if n_cells >= 1000 {
                assert_eq!(names, expected, "{n_cells}");
            }
            assert!(names.iter().all(|name| name.len() == 18 && name.ends_with("-1")));
        }
    }
}
