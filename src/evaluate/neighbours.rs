//! What the distances between all pairs of some cells tell: nearest neighbours, and whether those of one label keep
//! together.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, s};

use crate::parallel::{self, tiles};

/// Points whose distances to all others one task looks at.
const TASK_POINTS: usize = 64;

/// A squared distance that is this small against the squares it is the difference of is rounding.
const ROUNDING: f64 = 1e-14;

/// A neighbour: its distance and which point it is.
pub(super) type Neighbour = (f64, usize);

/// Bytes that a task holds where there are `n` points.
pub(super) fn task_bytes(n: usize) -> usize {
    TASK_POINTS * n * size_of::<f64>()
}

/// Hands `look` every point with its distances to all points, and returns what it makes of them, in order.
fn each<T: Send>(points: &Array2<f64>, look: impl Fn(usize, &mut [f64]) -> T + Sync + Send) -> Vec<T> {
    let squares: Vec<f64> = points.rows().into_iter().map(|point| point.dot(&point)).collect();
    let parts = parallel::map(tiles(points.nrows(), TASK_POINTS), |rows| {
        let mut distances = Array2::zeros((rows.len(), points.nrows()));
        general_mat_mul(1.0, &points.slice(s![rows.clone(), ..]), &points.t(), 0.0, &mut distances);
        let mut out = Vec::with_capacity(rows.len());
        for (point, mut products) in rows.zip(distances.rows_mut()) {
            let Some(products) = products.as_slice_mut() else { unreachable!("it was made row-major") };
            for (product, square) in products.iter_mut().zip(&squares) {
                let both = squares[point] + square;
                let squared = both - 2.0 * *product;
                // Equal points are at distance 0, whatever rounding leaves.
                *product = if squared > ROUNDING * both { squared.sqrt() } else { 0.0 };
            }
            products[point] = 0.0;
            out.push(look(point, products));
        }
        out
    });
    parts.into_iter().flatten().collect()
}

/// The `k` nearest of a point's neighbours, nearest first; of equally near ones the one with the lowest `place`.
fn nearest(point: usize, distances: &[f64], k: usize, place: impl Fn(usize) -> usize) -> Vec<Neighbour> {
    let mut order: Vec<Neighbour> = Vec::with_capacity(2 * k + 1);
    let compare =
        |a: &Neighbour, b: &Neighbour| a.0.total_cmp(&b.0).then_with(|| place(a.1).cmp(&place(b.1)));
    let mut limit = f64::INFINITY;
    for (other, &distance) in distances.iter().enumerate() {
        if distance > limit || other == point {
            continue;
        }
        order.push((distance, other));
        if order.len() == 2 * k + 1 {
            order.select_nth_unstable_by(k, compare);
            order.truncate(k);
            limit = order.iter().fold(0.0, |limit: f64, neighbour| limit.max(neighbour.0));
        }
    }
    order.sort_unstable_by(compare);
    order.truncate(k);
    order
}

/// The `k` nearest neighbours of every point; of equally near ones the first.
pub(super) fn neighbours(points: &Array2<f64>, k: usize) -> Vec<Vec<Neighbour>> {
    each(points, |point, distances| nearest(point, distances, k, |other| other))
}

/// How labelled points lie to each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Separation {
    /// The mean silhouette; none unless there are at least two labels and fewer than points.
    pub(super) silhouette: Option<f64>,
    /// The mean share of the nearest neighbours that have the point's own label.
    pub(super) purity: Option<f64>,
}

/// Silhouette and purity among `k` neighbours of points with these labels, numbered from 0. Of equally near neighbours the
/// first ones count.
pub(super) fn separation(points: &Array2<f64>, labels: &[u32], k: usize) -> Separation {
    let n = points.nrows();
    if n < 2 {
        return Separation { silhouette: None, purity: None };
    }
    // Points of one label stand together, so that their distances are summed up in one go.
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&point| labels[point]);
    let sorted = points.select(ndarray::Axis(0), &order);
    let labels: Vec<u32> = order.iter().map(|&point| labels[point]).collect();
    let runs = runs(&labels);
    let k = k.min(n - 1);
    let looked = each(&sorted, |point, distances| {
        let own = labels[point];
        let near = nearest(point, distances, k, |other| order[other]);
        let same = near.iter().filter(|neighbour| labels[neighbour.1] == own).count();
        (silhouette(own, &runs, distances), same as f64 / k as f64)
    });
    let mean = |sum: f64| sum / n as f64;
    Separation {
        silhouette: ((2..n).contains(&runs.len())).then(|| mean(looked.iter().map(|point| point.0).sum())),
        purity: Some(mean(looked.iter().map(|point| point.1).sum())),
    }
}

/// Runs of equal labels.
fn runs(labels: &[u32]) -> Vec<(u32, std::ops::Range<usize>)> {
    let mut runs: Vec<(u32, std::ops::Range<usize>)> = Vec::new();
    for (place, &label) in labels.iter().enumerate() {
        match runs.last_mut() {
            Some((last, run)) if *last == label => run.end = place + 1,
            _ => runs.push((label, place..place + 1)),
        }
    }
    runs
}

/// Of one point: how much nearer its own label is than the nearest other; 0 for the only one of its label.
fn silhouette(own: u32, runs: &[(u32, std::ops::Range<usize>)], distances: &[f64]) -> f64 {
    let (mut inside, mut outside) = (None, f64::INFINITY);
    for (label, run) in runs {
        let sum: f64 = distances[run.clone()].iter().sum();
        if *label == own {
            inside = (run.len() > 1).then(|| sum / (run.len() - 1) as f64);
        } else {
            outside = outside.min(sum / run.len() as f64);
        }
    }
    match inside {
        Some(inside) if inside.max(outside) > 0.0 => (outside - inside) / inside.max(outside),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> Array2<f64> {
        Array2::from_shape_fn((150, 3), |(point, axis)| {
            ((point * 7919 + axis * 104_729) % 1009) as f64 / 100.0 + f64::from(point % 2 == 0) * 3.0
        })
    }

    #[test]
    fn neighbours_are_those_of_a_plain_search() {
        let points = points();
        for (point, found) in neighbours(&points, 7).iter().enumerate() {
            let mut all: Vec<Neighbour> = (0..points.nrows())
                .filter(|&other| other != point)
                .map(|other| {
                    let difference = &points.row(point) - &points.row(other);
                    (difference.dot(&difference).sqrt(), other)
                })
                .collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert_eq!(found.len(), 7);
            for (found, expected) in found.iter().zip(&all) {
                assert!((found.0 - expected.0).abs() < 1e-9, "{found:?} {expected:?}");
            }
        }
    }

    #[test]
    fn of_equally_near_points_the_first_are_neighbours_whatever_their_labels() {
        // 40 equal points, of which the first quarter has the later label.
        let points = Array2::from_shape_fn((40, 3), |(_, axis)| 0.1 + axis as f64 / 3.0);
        let labels: Vec<u32> = (0..40).map(|point| u32::from(point < 10)).collect();
        for (point, found) in neighbours(&points, 5).iter().enumerate() {
            let expected: Vec<usize> = (0..40).filter(|&other| other != point).take(5).collect();
            assert_eq!(found.iter().map(|near| near.1).collect::<Vec<_>>(), expected);
        }
        // Everyone's neighbours are the first points.
        assert_eq!(separation(&points, &labels, 5).purity, Some(0.25));
    }

    #[test]
    fn a_label_of_its_own_and_one_label_alone_are_no_separation() {
        let points = points();
        assert_eq!(separation(&points, &[0; 150], 15).silhouette, None);
        assert_eq!(separation(&points, &[0; 150], 15).purity, Some(1.0));
        let own: Vec<u32> = (0..150).collect();
        assert_eq!(separation(&points, &own, 15).silhouette, None);
        let apart = ndarray::array![[0.0], [1.0], [100.0]];
        let separated = separation(&apart, &[0, 0, 1], 1);
        let expected = (99.0 / 100.0 + 98.0 / 99.0) / 3.0;
        assert!((separated.silhouette.unwrap() - expected).abs() < 1e-12);
        assert_eq!(separated.purity, Some(2.0 / 3.0));
    }
}
