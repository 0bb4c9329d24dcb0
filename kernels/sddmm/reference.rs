use crate::CsrView;
use crate::storage::Rows;

pub(super) fn sddmm<S: Rows>(
    y: &mut [f32],
    xt: CsrView<'_>,
    d: &[f32],
    w: &[S::Word],
    bias: &[f32],
    k: usize,
) {
    let (mut y, row_words) = (y.iter_mut(), S::row_words(k));
    for feature in 0..xt.n_rows() {
        for (&sample, y) in xt.row(feature).0.iter().zip(&mut y) {
            let w = &w[feature * row_words..][..row_words];
            let mut sum = f64::from(bias[feature]);
            for unit in 0..k {
                sum += f64::from(d[sample as usize * k + unit]) * f64::from(S::get(w, unit));
            }
            #[allow(clippy::cast_possible_truncation, reason = "the result is f32")]
            {
                *y = if sum < 0.0 { 0.0 } else { sum as f32 };
            }
        }
    }
}
