use crate::storage::{Rounding, Rows};
use crate::{Adam, CsrView, WideWeightsMut};

pub(super) fn encoder_step<S: Rows>(
    layer: WideWeightsMut<'_, S>,
    xt: CsrView<'_>,
    dh: &[S::Word],
    k: usize,
    adam: &Adam,
) {
    let row_words = S::row_words(k);
    for feature in 0..xt.n_rows() {
        let (samples, values) = xt.row(feature);
        let row = feature * row_words..(feature + 1) * row_words;
        let rounding = Rounding::of_row(adam, layer.first + feature);
        for unit in 0..k {
            let mut dw = 0.0;
            for (&sample, &value) in samples.iter().zip(values) {
                if value != 0.0 {
                    let dh = &dh[sample as usize * row_words..][..row_words];
                    dw += f64::from(value) * f64::from(S::get(dh, unit));
                }
            }
            let rows = [&mut layer.w[row.clone()], &mut layer.m[row.clone()], &mut layer.v[row.clone()]];
            S::update_f64(adam, rows, unit, dw, rounding);
        }
    }
}
