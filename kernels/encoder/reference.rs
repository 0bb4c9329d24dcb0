use super::WideWeightsMut;
use crate::{Adam, CsrView};

pub(super) fn encoder_step_f32__reference(
    layer: WideWeightsMut<'_>,
    xt: CsrView<'_>,
    dh: &[f32],
    k: usize,
    adam: &Adam,
) {
    for feature in 0..xt.n_rows() {
        let (samples, values) = xt.row(feature);
        for unit in 0..k {
            let mut dw = 0.0;
            for (&sample, &value) in samples.iter().zip(values) {
                if value != 0.0 {
                    dw += f64::from(value) * f64::from(dh[sample as usize * k + unit]);
                }
            }
            let at = feature * k + unit;
            adam.update_f64(&mut layer.w[at], &mut layer.m[at], &mut layer.v[at], dw);
        }
    }
}
