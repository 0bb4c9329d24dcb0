use super::{GemmShape, Transpose};

pub(super) fn gemm_f32__reference(
    c: &mut [f32],
    a: &[f32],
    transpose_a: Transpose,
    b: &[f32],
    transpose_b: Transpose,
    shape: GemmShape,
    alpha: f32,
    beta: f32,
) {
    let GemmShape { m, n, k } = shape;
    for row in 0..m {
        for col in 0..n {
            let mut sum = 0.0;
            for term in 0..k {
                let a = a[if transpose_a == Transpose::No { row * k + term } else { term * m + row }];
                let b = b[if transpose_b == Transpose::No { term * n + col } else { col * k + term }];
                sum += f64::from(a) * f64::from(b);
            }
            let c = &mut c[row * n + col];
            let old = if beta == 0.0 { 0.0 } else { f64::from(beta) * f64::from(*c) };
            #[allow(clippy::cast_possible_truncation, reason = "the result is f32")]
            {
                *c = (f64::from(alpha) * sum + old) as f32;
            }
        }
    }
}
