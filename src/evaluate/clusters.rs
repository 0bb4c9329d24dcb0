//! Clusters of cells, and how well they agree with labels.
//!
//! k-means is written here: the usual crate for it (linfa) is made for another version of ndarray, which would have to
//! be compiled as well.

use std::collections::HashMap;

use ndarray::{Array2, ArrayView1, s};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::parallel::{self, tiles};

/// Starts of which the best is taken, as scikit-learn's classical default.
const STARTS: u64 = 10;
const MOST_ROUNDS: usize = 300;
/// Points whose products with all centres are held at a time.
const ASSIGNED_POINTS: usize = 1 << 10;

/// The cluster of every point.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Clusters {
    pub(super) of: Vec<u32>,
    /// The sum of squared distances to the clusters' means.
    pub(super) inertia: f64,
}

/// Lloyd's algorithm from k-means++ starts: the best of ten.
pub(super) fn kmeans(points: &Array2<f64>, k: usize, seed: u64) -> Clusters {
    let starts = (0..STARTS).collect();
    let all = parallel::map(starts, |start| {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(start);
        lloyd(points, first_centres(points, k, &mut generator))
    });
    all.into_iter()
        .reduce(|best, next| if next.inertia < best.inertia { next } else { best })
        .unwrap_or(Clusters { of: Vec::new(), inertia: 0.0 })
}

fn distance(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// k-means++: every centre is drawn with the squared distance to the ones before as its weight.
fn first_centres(points: &Array2<f64>, k: usize, generator: &mut impl Rng) -> Array2<f64> {
    let n = points.nrows();
    let mut centres = Array2::zeros((k.min(n), points.ncols()));
    let mut nearest = vec![f64::INFINITY; n];
    for centre in 0..centres.nrows() {
        let total: f64 = nearest.iter().sum();
        let chosen = if centre == 0 || total == 0.0 {
            generator.random_range(0..n)
        } else {
            let mut left = generator.random::<f64>() * total;
            nearest
                .iter()
                .position(|&d| {
                    left -= d;
                    left < 0.0
                })
                .unwrap_or(n - 1)
        };
        centres.row_mut(centre).assign(&points.row(chosen));
        for (point, nearest) in nearest.iter_mut().enumerate() {
            *nearest = nearest.min(distance(points.row(point), points.row(chosen)));
        }
    }
    centres
}

fn lloyd(points: &Array2<f64>, mut centres: Array2<f64>) -> Clusters {
    let mut of = assign(points, &centres);
    for _ in 0..MOST_ROUNDS {
        let mut sums = Array2::<f64>::zeros(centres.dim());
        let mut sizes = vec![0_u32; centres.nrows()];
        for (point, &cluster) in of.iter().enumerate() {
            sizes[cluster as usize] += 1;
            let mut sum = sums.row_mut(cluster as usize);
            sum += &points.row(point);
        }
        for (cluster, &size) in sizes.iter().enumerate() {
            // An empty cluster stays where it is.
            if size > 0 {
                let mean = &sums.row(cluster) / f64::from(size);
                centres.row_mut(cluster).assign(&mean);
            }
        }
        let next = assign(points, &centres);
        let is_stable = next == of;
        of = next;
        if is_stable {
            break;
        }
    }
    let nearest =
        |(point, &cluster): (usize, &u32)| distance(points.row(point), centres.row(cluster as usize));
    let inertia = of.iter().enumerate().map(nearest).sum();
    Clusters { of, inertia }
}

/// The nearest centre of every point: that with the largest x.c - |c|^2 / 2.
fn assign(points: &Array2<f64>, centres: &Array2<f64>) -> Vec<u32> {
    let offsets: Vec<f64> = centres.rows().into_iter().map(|centre| centre.dot(&centre) / 2.0).collect();
    let nearest = |products: ArrayView1<'_, f64>| {
        let mut best = (0, f64::NEG_INFINITY);
        for ((cluster, &product), offset) in (0..).zip(products).zip(&offsets) {
            if product - offset > best.1 {
                best = (cluster, product - offset);
            }
        }
        best.0
    };
    let mut of = Vec::with_capacity(points.nrows());
    for rows in tiles(points.nrows(), ASSIGNED_POINTS) {
        let products = points.slice(s![rows, ..]).dot(&centres.t());
        of.extend(products.rows().into_iter().map(nearest));
    }
    of
}

/// Bytes that [`kmeans`] holds for `k` clusters of `n` points in `width` dimensions, with as many starts at a time.
pub(super) fn bytes((n, width): (usize, usize), k: usize, starts: usize) -> usize {
    // The clusters of every point, before and after, and how far the nearest centre is.
    let of_points = n * (2 * size_of::<u32>() + size_of::<f64>());
    let of_centres = k * (2 * width + ASSIGNED_POINTS) * size_of::<f64>();
    starts * (of_points + of_centres)
}

/// How often every pair of classes meets.
struct Contingency {
    cells: HashMap<(u32, u32), f64>,
    rows: HashMap<u32, f64>,
    columns: HashMap<u32, f64>,
    n: f64,
}

impl Contingency {
    fn new(a: &[u32], b: &[u32]) -> Self {
        let mut table =
            Self { cells: HashMap::new(), rows: HashMap::new(), columns: HashMap::new(), n: a.len() as f64 };
        for (&a, &b) in a.iter().zip(b) {
            *table.cells.entry((a, b)).or_default() += 1.0;
            *table.rows.entry(a).or_default() += 1.0;
            *table.columns.entry(b).or_default() += 1.0;
        }
        table
    }
}

/// Sums in the order of size, for maps have none of their own.
fn ordered_sum(terms: impl Iterator<Item = f64>) -> f64 {
    let mut terms: Vec<f64> = terms.collect();
    terms.sort_unstable_by(f64::total_cmp);
    terms.iter().sum()
}

/// The adjusted Rand index of two partitions.
pub(super) fn adjusted_rand(a: &[u32], b: &[u32]) -> f64 {
    let table = Contingency::new(a, b);
    let pairs = |n: f64| n * (n - 1.0) / 2.0;
    let of = |map: &mut dyn Iterator<Item = f64>| ordered_sum(map.map(pairs));
    let both = of(&mut table.cells.values().copied());
    let (rows, columns) = (of(&mut table.rows.values().copied()), of(&mut table.columns.values().copied()));
    let all = pairs(table.n);
    let expected = if all > 0.0 { rows * columns / all } else { 0.0 };
    let most = f64::midpoint(rows, columns);
    // Both are one cluster, or both are all singletons: the same partition.
    if most - expected == 0.0 { 1.0 } else { (both - expected) / (most - expected) }
}

/// Mutual information over the mean of the two entropies.
pub(super) fn normalised_information(a: &[u32], b: &[u32]) -> f64 {
    let table = Contingency::new(a, b);
    let n = table.n;
    let entropy =
        |map: &HashMap<u32, f64>| -ordered_sum(map.values().map(|&size| size / n * (size / n).ln()));
    let (rows, columns) = (entropy(&table.rows), entropy(&table.columns));
    let mean = f64::midpoint(rows, columns);
    if mean == 0.0 {
        // One cluster each.
        return 1.0;
    }
    let mutual = ordered_sum(
        table
            .cells
            .iter()
            .map(|((a, b), &both)| both / n * (n * both / (table.rows[a] * table.columns[b])).ln()),
    );
    (mutual / mean).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_clouds_are_found_whatever_the_seed() {
        let centres = [(0.0, 0.0), (10.0, 0.0), (0.0, 10.0)];
        let points = Array2::from_shape_fn((90, 2), |(point, axis)| {
            let (x, y) = centres[point % 3];
            let jitter = ((point * 7919 + axis * 31) % 100) as f64 / 100.0;
            jitter + if axis == 0 { x } else { y }
        });
        let labels: Vec<u32> = (0..90).map(|point| point % 3).collect();
        for seed in 0..5 {
            let clusters = kmeans(&points, 3, seed);
            assert_eq!(adjusted_rand(&clusters.of, &labels), 1.0);
            assert_eq!(normalised_information(&clusters.of, &labels), 1.0);
        }
        assert_eq!(kmeans(&points.slice(ndarray::s![..2, ..]).to_owned(), 3, 1).inertia, 0.0);
    }

    #[test]
    fn partitions_are_compared_as_scikit_learn_does() {
        // adjusted_rand_score and normalized_mutual_info_score of scikit-learn 1.9.
        let (a, b) = ([0, 0, 1, 1, 2, 2, 2], [0, 0, 1, 2, 2, 2, 1]);
        assert!((adjusted_rand(&a, &b) - 0.2125).abs() < 1e-12, "{}", adjusted_rand(&a, &b));
        assert!(
            (normalised_information(&a, &b) - 0.563_635_553_099_344_8).abs() < 1e-12,
            "{}",
            normalised_information(&a, &b)
        );
        assert_eq!(adjusted_rand(&[0, 0], &[1, 1]), 1.0);
        assert_eq!(normalised_information(&[0, 0], &[1, 1]), 1.0);
    }
}
