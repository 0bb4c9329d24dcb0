//! Principal components of a covariance.

use ndarray::{Array2, Axis, concatenate, s};
use ndarray_linalg::{Eigh, QR, UPLO};

use crate::error::{Error, Result};

/// Up to this width all eigenvectors are computed at once; that takes a second at twice the width.
const DIRECT_WIDTH: usize = 448;
/// Vectors that the search is wider than what is looked for.
const MARGIN: usize = 14;
/// The search ends when what is left of an eigenvector's equation is this small against the largest eigenvalue, ...
const TOLERANCE: f64 = 1e-7;
/// ... or after as many steps. Every third is looked at, for that takes longer than the step itself.
const MOST_STEPS: usize = 15;
const STEPS_BETWEEN: usize = 3;

/// Directions of largest variance.
#[derive(Clone, Debug)]
pub(super) struct Axes {
    /// A direction a column, unit length; the largest of its parts is positive.
    pub(super) vectors: Array2<f64>,
    /// The variance along each.
    pub(super) variances: Vec<f64>,
    /// The variance in all directions.
    pub(super) total: f64,
}

/// The first `n_components` axes of `products`, sums over `n_cells` cells of products of centred values.
///
/// # Errors
/// When LAPACK fails, which it does on numbers that are not finite.
pub(super) fn axes(products: &Array2<f64>, n_cells: usize, n_components: usize) -> Result<Axes> {
    let width = products.nrows();
    let wanted = n_components.min(width).min(n_cells.saturating_sub(1));
    let total = products.diag().sum();
    let (values, mut vectors) = if wanted == 0 {
        (Vec::new(), Array2::zeros((width, 0)))
    } else if width <= DIRECT_WIDTH.max(2 * (wanted + MARGIN)) {
        largest(products, wanted)?
    } else {
        search(products, wanted)?
    };
    for mut vector in vectors.axis_iter_mut(Axis(1)) {
        let largest = vector.iter().fold(0.0_f64, |best, &x| if x.abs() > best.abs() { x } else { best });
        if largest < 0.0 {
            vector.mapv_inplace(|x| -x);
        }
    }
    let scale = n_cells.saturating_sub(1).max(1) as f64;
    let variances = values.into_iter().map(|value| value.max(0.0) / scale).collect();
    Ok(Axes { vectors, variances, total: total / scale })
}

/// Eigenvalues, decreasing, and eigenvectors, by LAPACK.
fn largest(matrix: &Array2<f64>, wanted: usize) -> Result<(Vec<f64>, Array2<f64>)> {
    let (values, vectors) = matrix.eigh(UPLO::Upper).map_err(failed)?;
    let n = values.len();
    let values = values.iter().rev().take(wanted).copied().collect();
    let vectors = vectors.slice(s![.., n - wanted..;-1]).to_owned();
    Ok((values, vectors))
}

/// The same by a block Krylov search from a fixed start: LAPACK's way to all of 2,000 eigenvectors takes twenty seconds
/// a matrix, this less than one.
fn search(matrix: &Array2<f64>, wanted: usize) -> Result<(Vec<f64>, Array2<f64>)> {
    let block = wanted + MARGIN;
    let mut basis = start(matrix.nrows(), block).qr().map_err(failed)?.0;
    let mut images = matrix.dot(&basis);
    let mut newest = images.clone();
    for step in 1.. {
        let is_last = step == MOST_STEPS || basis.ncols() + block > matrix.nrows();
        if is_last || step % STEPS_BETWEEN == 0 {
            let (values, inner) = largest(&basis.t().dot(&images), wanted)?;
            let vectors = basis.dot(&inner);
            let rest = images.dot(&inner) - &vectors * &ndarray::aview1(&values);
            let worst = rest.axis_iter(Axis(1)).map(|column| column.dot(&column).sqrt()).fold(0.0, f64::max);
            if is_last || worst <= TOLERANCE * values[0].abs() {
                return Ok((values, vectors));
            }
        }
        // Twice is enough to be orthogonal to working precision.
        for _ in 0..2 {
            newest = &newest - &basis.dot(&basis.t().dot(&newest));
            newest = newest.qr().map_err(failed)?.0;
        }
        let image = matrix.dot(&newest);
        basis = concatenate![Axis(1), basis, newest];
        images = concatenate![Axis(1), images, image];
        newest = image;
    }
    unreachable!("the last step returns")
}

/// Some vectors in all directions, always the same.
fn start(width: usize, block: usize) -> Array2<f64> {
    use rand::{Rng, SeedableRng};
    let mut generator = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(0);
    Array2::from_shape_simple_fn((width, block), || {
        (generator.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    })
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn failed(error: ndarray_linalg::error::LinalgError) -> Error {
    Error::Resources {
        problem: format!("principal components cannot be computed: {error}"),
        remedy: "report this as a bug".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A covariance whose eigenvalues fall slowly.
    fn covariance(width: usize) -> Array2<f64> {
        let directions = start(width, width).qr().unwrap().0;
        let values = ndarray::Array1::from_shape_fn(width, |k| 100.0 / (1.0 + k as f64).powf(0.7));
        (&directions * &values).dot(&directions.t())
    }

    #[test]
    fn the_search_finds_what_lapack_finds() {
        let matrix = covariance(600);
        let (expected, vectors) = largest(&matrix, 50).unwrap();
        let (values, found) = search(&matrix, 50).unwrap();
        for (a, b) in values.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-6 * expected[0], "{a} {b}");
        }
        for k in [0, 10, 49] {
            let overlap = found.column(k).dot(&vectors.column(k)).abs();
            assert!(overlap > 1.0 - 1e-4, "{k}: {overlap}");
        }
    }

    #[test]
    fn a_covariance_of_low_rank_has_as_many_axes() {
        let factors = start(500, 3);
        let matrix = factors.dot(&factors.t());
        let axes = axes(&matrix, 1000, 50).unwrap();
        assert_eq!(axes.vectors.dim(), (500, 50));
        assert!(axes.variances[2] > 1e-3 && axes.variances[3] < 1e-12, "{:?}", axes.variances);
        assert!((axes.variances.iter().sum::<f64>() - axes.total).abs() < 1e-9);
    }

    #[test]
    fn there_are_fewer_axes_than_cells() {
        let axes = axes(&covariance(20), 4, 50).unwrap();
        assert_eq!((axes.vectors.ncols(), axes.variances.len()), (3, 3));
        assert_eq!(super::axes(&Array2::zeros((0, 0)), 0, 50).unwrap().variances.len(), 0);
    }
}
