//! Cells by their principal components: which cells and genes, and how far they agree with labels.

use std::path::Path;

use ndarray::{Array2, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::clusters::{adjusted_rand, kmeans, normalised_information};
use super::gram::{Centred, Which};
use super::join::{ABSENT, to_u32};
use super::metrics::ClusterScores;
use super::moments::finite;
use super::neighbours::separation;
use super::pass::Gene;
use super::pca::{self, Axes};
use crate::error::{Error, Result};
use crate::hdf::{HdfFile, NumericArray};

/// Genes that principal components are computed of.
pub(super) const VARIABLE_GENES: usize = 2000;
/// Neighbours that purity looks at.
pub(super) const NEIGHBOURS: usize = 15;
/// Where the latent code of cells stands.
const LATENT: &str = "obsm/X_late";
const LATENT_REMEDY: &str = "impute again, or remove it from the file";
/// Rows of it that are read at a time.
const LATENT_ROWS: usize = 1 << 12;

/// The genes of a matrix that vary most, at most [`VARIABLE_GENES`], in order.
pub(super) fn variable_genes(which: Which, genes: &[Gene]) -> Centred {
    let side = |gene: &Gene| {
        let (moments, side) = match which {
            Which::Imputed => (&gene.imputed, 0),
            Which::Input => (&gene.input, 0),
            Which::Truth => (&gene.imputed, 1),
        };
        (moments.means()[side], moments.variances()[side])
    };
    let keys: Vec<f64> = genes.iter().map(|gene| side(gene).1).collect();
    centred(which, highest(&keys, VARIABLE_GENES), |gene| side(&genes[gene as usize]).0)
}

/// The given genes of a matrix.
pub(super) fn chosen_genes(which: Which, chosen: &[u32], genes: &[Gene]) -> Centred {
    centred(which, chosen.to_vec(), |gene| {
        let gene = &genes[gene as usize];
        match which {
            Which::Imputed => gene.imputed.means()[0],
            Which::Input => gene.input.means()[0],
            Which::Truth => gene.imputed.means()[1],
        }
    })
}

fn centred(which: Which, genes: Vec<u32>, mean: impl Fn(u32) -> f64) -> Centred {
    let means = genes.iter().map(|&gene| mean(gene)).collect();
    Centred { which, genes, means }
}

/// Positions of the `n` largest keys, the first of equal ones; in order of position.
pub(super) fn highest(keys: &[f64], n: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..to_u32(keys.len())).collect();
    order.sort_by(|&a, &b| keys[b as usize].total_cmp(&keys[a as usize]));
    order.truncate(n);
    order.sort_unstable();
    order
}

/// `n` of the cells, drawn, in order.
pub(super) fn draw_cells(cells: &[u32], n: usize, seed: u64) -> Vec<u32> {
    let mut drawn = cells.to_vec();
    if drawn.len() > n {
        drawn = drawn.partial_shuffle(&mut ChaCha8Rng::seed_from_u64(seed), n).0.to_vec();
        drawn.sort_unstable();
    }
    drawn
}

/// The share of the variance that the components hold.
pub(super) fn share(axes: &Axes) -> Option<f64> {
    finite(axes.variances.iter().sum::<f64>() / axes.total)
}

/// The units of the latent code in the imputed file, 0 if it has none.
///
/// # Errors
/// When it is not a matrix with a row for every cell.
pub(super) fn latent_width(path: &Path, n_cells: usize) -> Result<usize> {
    let file = HdfFile::open(path)?;
    if !file.has_dataset(LATENT)? {
        return Ok(0);
    }
    let array = NumericArray::open(&file, LATENT)?;
    if array.dims().len() != 2 || array.n_rows() != n_cells {
        let expected = format!("{n_cells} rows, one for each cell");
        return Err(array.problem(expected, format!("shape {:?}", array.dims()), LATENT_REMEDY));
    }
    Ok(array.n_columns())
}

/// The latent code of `width` units of the cells at `rows` of the imputed file, increasing, if it has one; cells x units.
///
/// # Errors
/// When it does not consist of finite numbers.
pub(super) fn latent(path: &Path, n_cells: usize, width: usize, rows: &[u32]) -> Result<Option<Array2<f64>>> {
    if width == 0 {
        return Ok(None);
    }
    let file = HdfFile::open(path)?;
    let array = NumericArray::open(&file, LATENT)?;
    let mut code = Array2::zeros((rows.len(), width));
    let mut place = 0;
    for span in crate::parallel::tiles(n_cells, LATENT_ROWS) {
        let wanted = rows[place..].partition_point(|&row| (row as usize) < span.end);
        if wanted == 0 {
            continue;
        }
        let values = array.read::<f64>(span.clone())?;
        for &row in &rows[place..place + wanted] {
            let own = &values[(row as usize - span.start) * width..][..width];
            if let Some(value) = own.iter().find(|value| !value.is_finite()) {
                let found = format!("{value} in row {row}");
                return Err(Error::input(path, LATENT, "finite numbers", found, LATENT_REMEDY));
            }
            code.row_mut(place).assign(&ndarray::aview1(own));
            place += 1;
        }
    }
    Ok(Some(code))
}

/// Principal components of the rows of a matrix, and what is known of their axes.
pub(super) fn components_of_rows(mut rows: Array2<f64>, n_components: usize) -> Result<(Array2<f64>, Axes)> {
    if let Some(means) = rows.mean_axis(Axis(0)) {
        rows -= &means;
    }
    let axes = pca::axes(&rows.t().dot(&rows), rows.nrows(), n_components)?;
    Ok((rows.dot(&axes.vectors), axes))
}

/// How far points agree with their labels, [`ABSENT`] where there is none; only labelled ones count.
pub(super) fn agreement(points: &Array2<f64>, labels: &[u32], seed: u64) -> ClusterScores {
    let labelled: Vec<usize> = (0..labels.len()).filter(|&point| labels[point] != ABSENT).collect();
    let labels: Vec<u32> = labelled.iter().map(|&point| labels[point]).collect();
    let n_labels = distinct(&labels);
    if n_labels < 2 || points.ncols() == 0 {
        return ClusterScores::default();
    }
    let points = points.select(Axis(0), &labelled);
    let clusters = kmeans(&points, n_labels, seed);
    let separation = separation(&points, &labels, NEIGHBOURS);
    ClusterScores {
        ari: Some(adjusted_rand(&clusters.of, &labels)),
        nmi: Some(normalised_information(&clusters.of, &labels)),
        silhouette: separation.silhouette,
        knn_purity: separation.purity,
    }
}

/// The number of different labels.
pub(super) fn distinct(labels: &[u32]) -> usize {
    labels.iter().filter(|&&label| label != ABSENT).collect::<std::collections::HashSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_are_taken_the_first_of_equal_ones() {
        assert_eq!(highest(&[1.0, 3.0, 2.0, 3.0, 3.0], 3), [1, 3, 4]);
        assert_eq!(highest(&[1.0, 1.0, 1.0], 2), [0, 1]);
        assert_eq!(highest(&[], 2), [0_u32; 0]);
    }

    #[test]
    fn cells_are_drawn_once_each_and_always_the_same() {
        let cells: Vec<u32> = (0..1000).map(|cell| 3 * cell).collect();
        let drawn = draw_cells(&cells, 100, 1);
        assert_eq!(drawn, draw_cells(&cells, 100, 1));
        assert_ne!(drawn, draw_cells(&cells, 100, 2));
        assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]) && drawn.len() == 100);
        assert!(drawn.iter().all(|cell| cells.contains(cell)));
        assert_eq!(draw_cells(&cells, 5000, 1), cells);
    }
}
