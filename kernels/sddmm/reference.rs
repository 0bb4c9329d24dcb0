use crate::CsrView;

pub(super) fn sddmm_f32__reference(
    y: &mut [f32],
    xt: CsrView<'_>,
    d: &[f32],
    w: &[f32],
    bias: &[f32],
    k: usize,
) {
    let mut y = y.iter_mut();
    for feature in 0..xt.n_rows() {
        for (&sample, y) in xt.row(feature).0.iter().zip(&mut y) {
            let mut sum = f64::from(bias[feature]);
            for unit in 0..k {
                sum += f64::from(d[sample as usize * k + unit]) * f64::from(w[feature * k + unit]);
            }
            #[allow(clippy::cast_possible_truncation, reason = "the result is f32")]
            {
                *y = if sum < 0.0 { 0.0 } else { sum as f32 };
            }
        }
    }
}
