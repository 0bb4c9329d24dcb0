//! Small count matrices with something to learn in them.

use std::path::Path;

use super::files::{Rows, names, write, write_arrays, write_texts};

/// Counts of `n_cells` x `n_genes`: two kinds of cells that express different genes. A function of `seed`.
pub fn counts(n_cells: usize, n_genes: usize, seed: u64) -> Rows {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    (0..n_cells)
        .map(|cell| {
            let mut row = Vec::new();
            for gene in 0..n_genes {
                let expressed = if (gene + cell) % 2 == 0 { 6.0 } else { 0.7 };
                let count = (expressed * random() * random() * (1.0 + gene as f64 / n_genes as f64)).floor();
                if count > 0.0 {
                    row.push((i64::try_from(gene).unwrap(), count));
                }
            }
            row
        })
        .collect()
}

/// Opens without locks: another test may start a process at this moment, which would inherit the lock.
pub fn unlocked() -> hdf5::FileBuilder {
    let mut builder = hdf5::FileBuilder::new();
    builder.with_access_plist(|access| access.file_locking(false));
    builder
}

/// Writes a 10x v3 file with cells `cell0..` and genes `gene0..` (ids `id0..`).
pub fn write_tenx(path: &Path, rows: &Rows, n_genes: usize) {
    let file = unlocked().create(path).unwrap();
    let matrix = file.create_group("matrix").unwrap();
    write_arrays(&matrix, rows);
    write(&matrix, "shape", &[i32::try_from(n_genes).unwrap(), i32::try_from(rows.len()).unwrap()]);
    write_texts(&matrix, "barcodes", &names("cell", rows.len()));
    let features = matrix.create_group("features").unwrap();
    write_texts(&features, "id", &names("id", n_genes));
    write_texts(&features, "name", &names("gene", n_genes));
    write_texts(&features, "feature_type", &vec!["Gene Expression".to_owned(); n_genes]);
    write_texts(&features, "genome", &vec!["toy".to_owned(); n_genes]);
}
