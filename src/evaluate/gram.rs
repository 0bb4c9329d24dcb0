//! The second pass: covariances of some genes, summed up over all cells; and the third: principal components and
//! values of some cells.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use super::pca::Axes;
use super::rows::{Chunk, Matrices, Row, Side};
use crate::error::Result;
use crate::parallel::{self, split_rows, tiles};

/// Cells of which centred values are held at a time, and those that one task fills.
const CHUNK_CELLS: usize = 512;
const TASK_CELLS: usize = 32;
/// Rows of a product that one task adds to.
const PANEL: usize = 128;

/// One of the matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The input.
    Input,
    /// The truth.
    Truth,
    /// The imputed values.
    Imputed,
}

impl Which {
    pub(super) fn of(self, row: &Row) -> &Side {
        match self {
            Self::Input => &row.input,
            Self::Truth => &row.truth,
            Self::Imputed => &row.imputed,
        }
    }
}

/// Genes of one matrix, about their means, on the logarithmic scale.
#[derive(Clone, Debug)]
pub(super) struct Centred {
    pub(super) which: Which,
    /// Joint genes.
    pub(super) genes: Vec<u32>,
    /// Their means.
    pub(super) means: Vec<f64>,
}

impl Centred {
    pub(super) fn width(&self) -> usize {
        self.genes.len()
    }

    fn fill(&self, row: &Row, values: &mut [f64]) {
        let logs = &self.which.of(row).logs;
        for ((value, &gene), &mean) in values.iter_mut().zip(&self.genes).zip(&self.means) {
            *value = logs[gene as usize] - mean;
        }
    }
}

/// Products of every gene with every other, summed up over the cells; symmetric.
#[derive(Clone, Debug)]
pub(super) struct Gram {
    pub(super) centred: Centred,
    pub(super) n_cells: usize,
    pub(super) products: Array2<f64>,
}

/// Bytes that [`grams`] holds for sets of genes of these widths.
pub(super) fn bytes(widths: &[usize]) -> u64 {
    let numbers: usize = widths.iter().map(|&width| width * (width + CHUNK_CELLS)).sum();
    (numbers * size_of::<f64>()) as u64
}

/// Sums up the products of every set of genes.
///
/// # Errors
/// When a file was changed.
pub(super) fn grams(
    matrices: &Matrices<'_>,
    sets: Vec<Centred>,
    progress: &dyn Fn(u64),
) -> Result<Vec<Gram>> {
    let n_cells = matrices.cells.len();
    let empty = |centred: Centred| Gram {
        products: Array2::zeros((centred.width(), centred.width())),
        centred,
        n_cells,
    };
    let mut grams: Vec<Gram> = sets.into_iter().map(empty).collect();
    let mut values: Vec<Vec<f64>> =
        grams.iter().map(|gram| vec![0.0; CHUNK_CELLS * gram.centred.width()]).collect();
    matrices.visit(CHUNK_CELLS, &mut |chunk| {
        let sets: Vec<&Centred> = grams.iter().map(|gram| &gram.centred).collect();
        fill(matrices, &sets, chunk, &mut values)?;
        add_products(&mut grams, &values, chunk.rows.len());
        progress(chunk.rows.len() as u64);
        Ok(())
    })?;
    for gram in &mut grams {
        mirror(&mut gram.products);
    }
    Ok(grams)
}

/// Fills the values of a chunk's cells, row-major, for every set.
fn fill(
    matrices: &Matrices<'_>,
    sets: &[&Centred],
    chunk: &Chunk<'_>,
    values: &mut [Vec<f64>],
) -> Result<()> {
    let ranges = tiles(chunk.rows.len(), TASK_CELLS);
    let mut tasks: Vec<_> = ranges.iter().map(|range| (range.clone(), Vec::new())).collect();
    for (set, values) in sets.iter().zip(values) {
        for (task, part) in tasks.iter_mut().zip(split_rows(values, &ranges, set.width())) {
            task.1.push(part);
        }
    }
    let done = parallel::map(tasks, |(range, mut parts)| {
        let mut row = matrices.row();
        for (place, index) in range.enumerate() {
            matrices.read(chunk, index, &mut row)?;
            for (set, part) in sets.iter().zip(&mut parts) {
                set.fill(&row, &mut part[place * set.width()..][..set.width()]);
            }
        }
        Ok(())
    });
    done.into_iter().collect()
}

/// Adds the upper triangles of the products of a chunk.
fn add_products(grams: &mut [Gram], values: &[Vec<f64>], n_cells: usize) {
    let mut tasks = Vec::new();
    for (gram, values) in grams.iter_mut().zip(values) {
        let width = gram.centred.width();
        let panels = tiles(width, PANEL);
        let Some(products) = gram.products.as_slice_mut() else { continue };
        for (panel, rows) in panels.iter().zip(split_rows(products, &panels, width)) {
            tasks.push((panel.clone(), rows, &values[..n_cells * width], width));
        }
    }
    parallel::map(tasks, |(panel, rows, values, width)| {
        let n_rows = panel.len();
        let (Ok(values), Ok(mut products)) = (
            ArrayView2::from_shape((n_cells, width), values),
            ArrayViewMut2::from_shape((n_rows, width), rows),
        ) else {
            unreachable!("the slices were cut to these shapes")
        };
        let own = values.slice(s![.., panel.clone()]);
        let others = values.slice(s![.., panel.start..]);
        general_mat_mul(1.0, &own.t(), &others, 1.0, &mut products.slice_mut(s![.., panel.start..]));
    });
}

/// Copies the upper triangle to the lower one.
fn mirror(products: &mut Array2<f64>) {
    for row in 0..products.nrows() {
        for column in 0..row {
            products[[row, column]] = products[[column, row]];
        }
    }
}

/// Correlations of a set of genes; NaN where a gene is constant.
pub(super) fn correlations(gram: &Gram) -> Array2<f64> {
    /// What rounding leaves of a constant gene's variance, in units of its mean's last place; values in single precision
    /// that differ at all have more.
    const ROUNDING: f64 = 16.0;
    let diagonal = gram.products.diag().to_owned();
    let is_constant: Vec<bool> = diagonal
        .iter()
        .zip(&gram.centred.means)
        .map(|(squares, mean)| {
            let variance = squares / gram.n_cells.max(1) as f64;
            variance <= (ROUNDING * f64::EPSILON * mean).powi(2)
        })
        .collect();
    Array2::from_shape_fn(gram.products.dim(), |(a, b)| {
        if is_constant[a] || is_constant[b] {
            return f64::NAN;
        }
        (gram.products[[a, b]] / (diagonal[a] * diagonal[b]).sqrt()).clamp(-1.0, 1.0)
    })
}

/// What is kept of some cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Sampled {
    /// For every set of axes the principal components of every sampled cell, cells x components.
    pub(super) components: Vec<Array2<f64>>,
    /// For every matrix asked for the values of every gene asked for, cells x genes.
    pub(super) values: Vec<Array2<f64>>,
}

/// What to keep of them.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Joint cells, increasing.
    pub(super) cells: &'a [u32],
    pub(super) axes: &'a [(Centred, Axes)],
    pub(super) genes: &'a [u32],
    pub(super) of: &'a [Which],
}

/// Looks up the sampled cells.
///
/// # Errors
/// When a file was changed.
pub(super) fn sample(
    matrices: &Matrices<'_>,
    wanted: &Wanted<'_>,
    progress: &dyn Fn(u64),
) -> Result<Sampled> {
    let n = wanted.cells.len();
    let mut sampled = Sampled {
        components: wanted.axes.iter().map(|(_, axes)| Array2::zeros((n, axes.vectors.ncols()))).collect(),
        values: wanted.of.iter().map(|_| Array2::zeros((n, wanted.genes.len()))).collect(),
    };
    matrices.visit(CHUNK_CELLS, &mut |chunk| {
        let parts = parallel::map(tiles(chunk.rows.len(), TASK_CELLS), |rows| {
            let mut row = matrices.row();
            let mut found = Vec::new();
            for index in rows {
                let Ok(place) = wanted.cells.binary_search(&super::join::to_u32(chunk.rows[index].1)) else {
                    continue;
                };
                matrices.read(chunk, index, &mut row)?;
                found.push((place, look_up(wanted, &row)));
            }
            Ok(found)
        });
        for part in parts {
            let part: Vec<(usize, Looked)> = part?;
            for (place, looked) in part {
                for (all, own) in sampled.components.iter_mut().zip(looked.0) {
                    all.row_mut(place).assign(&own);
                }
                for (all, own) in sampled.values.iter_mut().zip(looked.1) {
                    all.row_mut(place).assign(&ndarray::Array1::from(own));
                }
            }
        }
        progress(chunk.rows.len() as u64);
        Ok(())
    })?;
    Ok(sampled)
}

/// Components and values of a cell.
type Looked = (Vec<ndarray::Array1<f64>>, Vec<Vec<f64>>);

fn look_up(wanted: &Wanted<'_>, row: &Row) -> Looked {
    let components = wanted.axes.iter().map(|(centred, axes)| {
        let mut values = ndarray::Array1::zeros(centred.width());
        if let Some(values) = values.as_slice_mut() {
            centred.fill(row, values);
        }
        values.dot(&axes.vectors)
    });
    let pick = |which: &Which| wanted.genes.iter().map(|&gene| which.of(row).logs[gene as usize]).collect();
    (components.collect(), wanted.of.iter().map(pick).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two genes of `values`, the second the double of the first, about `means`.
    fn gram(values: &[f64], means: [f64; 2]) -> Gram {
        let mut products = Array2::zeros((2, 2));
        for &value in values {
            let centred = [value - means[0], 2.0 * value - means[1]];
            for (place, product) in products.indexed_iter_mut() {
                let (a, b): (usize, usize) = place;
                *product += centred[a] * centred[b];
            }
        }
        let centred = Centred { which: Which::Input, genes: vec![0, 1], means: means.to_vec() };
        Gram { centred, products, n_cells: values.len() }
    }

    #[test]
    fn what_rounding_leaves_is_no_correlation_however_many_cells_there_are() {
        let off = 4.0 * f64::EPSILON * 0.3;
        for n in [10, 1_000_000] {
            let constant = gram(&vec![0.3; n], [0.3 + off, 0.6 + 2.0 * off]);
            assert!(correlations(&constant)[[0, 1]].is_nan(), "{n}");
        }
        // A single cell with a weak trace of the gene.
        let mut rare = vec![0.0; 100_000];
        rare[7] = 1e-12;
        let means = [1e-12 / 1e5, 2e-12 / 1e5];
        assert!((correlations(&gram(&rare, means))[[0, 1]] - 1.0).abs() < 1e-9);
    }
}
