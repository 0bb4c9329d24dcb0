use crate::{DenseView, DenseViewMut};

pub(super) fn gemm_f32__reference(mut c: DenseViewMut<'_>, a: DenseView<'_>, b: DenseView<'_>, beta: f32) {
    let n = c.n_cols();
    for row in 0..c.n_rows() {
        for col in 0..n {
            let terms = (0..a.n_cols()).map(|k| f64::from(a.at(row, k)) * f64::from(b.at(k, col)));
            let c = &mut c.data()[row * n + col];
            let old = if beta == 0.0 { 0.0 } else { f64::from(beta) * f64::from(*c) };
            #[expect(clippy::cast_possible_truncation, reason = "the result is f32")]
            {
                *c = (terms.sum::<f64>() + old) as f32;
            }
        }
    }
}
