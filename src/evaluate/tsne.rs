//! Maps of cells in two dimensions.

use bhtsne::{Neighbor, tSNE};
use ndarray::{Array2, Axis};

use super::neighbours::neighbours;
use crate::error::Result;
use crate::parallel;

/// Perplexity, unless there are too few cells for it.
const PERPLEXITY: usize = 30;
const EPOCHS: usize = 500;
/// The spread of the first component at the start, as in scikit-learn.
const SPREAD: f64 = 1e-4;
/// Fewer cells make no map.
pub(super) const FEWEST: usize = 8;
/// From here on forces between cells are interpolated on a grid, which costs the same for few of them: 5,000 cells took
/// 2.2 s for 750 epochs on one core, against 3.7 s with a tree (theta 0.5).
const MANY: usize = 2500;
const THETA: f32 = 0.5;

/// A tSNE map, a point (x, y) for every row of each set of `points`, from a start at the first two columns. The
/// crate's sums depend on how rayon cuts them, so each map is made by one thread.
///
/// # Errors
/// When a thread cannot be started.
pub(super) fn maps(points: &[&Array2<f64>]) -> Result<Vec<Vec<(f64, f64)>>> {
    let tasks = points
        .iter()
        .map(|points| {
            let perplexity = PERPLEXITY.min(points.nrows().saturating_sub(1) / 3);
            let near = if points.nrows() < FEWEST { Vec::new() } else { neighbours(points, 3 * perplexity) };
            (*points, perplexity, near)
        })
        .collect();
    parallel::map_alone(tasks, |(points, perplexity, near)| map(points, perplexity, &near))
}

#[expect(clippy::cast_possible_truncation, reason = "a picture needs no more")]
fn map(
    points: &Array2<f64>,
    perplexity: usize,
    near: &[Vec<super::neighbours::Neighbour>],
) -> Vec<(f64, f64)> {
    let spread =
        points.axis_iter(Axis(1)).next().map_or(0.0, |first| first.dot(&first)) / points.nrows() as f64;
    // Where all cells are the same there is nothing to map, and the tree has no extent.
    if near.is_empty() || spread <= f64::MIN_POSITIVE {
        return Vec::new();
    }
    let near: Vec<Vec<Neighbor<f32>>> = near
        .iter()
        .map(|near| {
            near.iter().map(|&(distance, index)| Neighbor { index, distance: distance as f32 }).collect()
        })
        .collect();
    let scale = SPREAD / spread.sqrt();
    let second = usize::from(points.ncols() > 1);
    let start: Vec<f32> = points
        .rows()
        .into_iter()
        .flat_map(|point| [point[0], if second == 1 { point[1] } else { 0.0 }])
        .map(|x| (x * scale) as f32)
        .collect();
    let samples: Vec<()> = vec![(); points.nrows()];
    let mut tsne: tSNE<'_, f32, ()> = tSNE::new(&samples);
    tsne.perplexity(perplexity as f32).epochs(EPOCHS).initial_embedding(start);
    if samples.len() < MANY {
        tsne.barnes_hut_with_neighbors(THETA, &near);
    } else {
        tsne.fit_sne_with_neighbors(&near);
    }
    let embedding = tsne.embedding();
    embedding.as_chunks::<2>().0.iter().map(|&[x, y]| (f64::from(x), f64::from(y))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clouds_stay_apart_and_maps_repeat_themselves() {
        let points = Array2::from_shape_fn((120, 4), |(point, axis)| {
            ((point * 7919 + axis * 104_729) % 1009) as f64 / 1009.0 + f64::from(point % 2 == 0) * 20.0
        });
        let map = || parallel::with_threads(2, || maps(&[&points, &points])).unwrap().unwrap();
        let first = map();
        assert_eq!(first[0], first[1]);
        assert_eq!(first, map());
        assert_eq!(first, parallel::with_threads(1, || maps(&[&points, &points])).unwrap().unwrap());
        let near = |a: usize, b: usize| (first[0][a].0 - first[0][b].0).hypot(first[0][a].1 - first[0][b].1);
        let (same, other): (f64, f64) = (0..118)
            .map(|k| (near(k, k + 2), near(k, k + 1)))
            .fold((0.0, 0.0), |s, d| (s.0 + d.0, s.1 + d.1));
        assert!(2.0 * same < other, "{same} {other}");
    }

    #[test]
    fn few_or_equal_cells_make_no_map_and_some_equal_ones_do() {
        let few = Array2::from_shape_fn((3, 2), |(point, axis)| (point + axis) as f64);
        assert_eq!(
            maps(&[&few, &Array2::zeros((100, 2)), &Array2::zeros((100, 0))]).unwrap(),
            [const { vec![] }; 3]
        );
        let half = Array2::from_shape_fn((100, 2), |(point, axis)| {
            if point < 50 { 0.0 } else { ((point * 7919 + axis * 31) % 101) as f64 }
        });
        let map = maps(&[&half]).unwrap();
        assert!(map[0].len() == 100 && map[0].iter().all(|at| at.0.is_finite() && at.1.is_finite()));
    }
}
