//! AnnData files with one sparse matrix.

use std::path::Path;

use late_fast::h5ad::{SparseSpec, create_sparse, write_axis, write_root};
use late_fast::io::Dtype;
use late_fast::matrix::{Axis, Major};

use super::counts::unlocked;
use super::files::{Rows, compress, names};

/// Cells `cell0..` and genes `gene0..`.
pub fn axes(n_cells: usize, n_genes: usize) -> [Axis; 2] {
    [("cell", n_cells), ("gene", n_genes)].map(|(prefix, n)| Axis::from_names(names(prefix, n)))
}

/// Writes a file with `rows`, of cells or of genes, as `X` with values of type `data`.
pub fn write_h5ad(
    path: &Path,
    [cells, genes]: &[Axis; 2],
    rows: &Rows,
    major: Major,
    data: Dtype,
    compressed: bool,
) {
    let file = unlocked().create(path).unwrap();
    write_root(&file).unwrap();
    write_axis(&file, "obs", cells).unwrap();
    write_axis(&file, "var", genes).unwrap();
    let (indptr, indices, values) = compress(rows);
    let (shape, nnz) = ((cells.len() as u64, genes.len() as u64), values.len() as u64);
    let spec = SparseSpec { shape, major, nnz, data, indices: Dtype::I32, compressed };
    let x = create_sparse(&file, "X", &spec).unwrap();
    x.indptr.write(&indptr).unwrap();
    x.indices.write(&indices).unwrap();
    x.data.write(&values).unwrap();
    drop(x);
    file.close().unwrap();
}
