use super::{EntryLoss, WideLayerMut};
use crate::{Adam, CsrView};

pub(super) fn decoder_step_f32__reference(
    dd: &mut [f32],
    layer: WideLayerMut<'_>,
    xt: CsrView<'_>,
    d: &[f32],
    k: usize,
    grad_scale: f32,
    adam: &Adam,
    loss: EntryLoss,
) -> f64 {
    let WideLayerMut { w, m, v, bias, bias_m, bias_v } = layer;
    let mut total = 0.0;
    for feature in 0..xt.n_rows() {
        let (samples, targets) = xt.row(feature);
        let row = feature * k..(feature + 1) * k;
        let (w, m, v) = (&mut w[row.clone()], &mut m[row.clone()], &mut v[row]);
        // The gradient with respect to the output before the relu, recomputed per unit for want of a buffer.
        let gradient = |sample: usize, target: f32, w: &[f32], bias: f32| -> (f64, f64) {
            let dot: f64 = (0..k).map(|unit| f64::from(d[sample * k + unit]) * f64::from(w[unit])).sum();
            let z = dot + f64::from(bias);
            let (l, g) = loss.at_f64(if z < 0.0 { 0.0 } else { z }, f64::from(target));
            (l, if z > 0.0 { g * f64::from(grad_scale) } else { 0.0 })
        };
        // dw of a unit needs every g, and they need the old w: dw goes to the stack.
        let mut dw = [0.0_f64; super::MAX_K];
        let mut db = 0.0;
        for (&sample, &target) in samples.iter().zip(targets) {
            let sample = sample as usize;
            let (l, g) = gradient(sample, target, w, bias[feature]);
            total += l;
            db += g;
            for unit in 0..k {
                let at = sample * k + unit;
                dw[unit] += g * f64::from(d[at]);
                #[allow(clippy::cast_possible_truncation, reason = "the result is f32")]
                {
                    dd[at] = (f64::from(dd[at]) + g * f64::from(w[unit])) as f32;
                }
            }
        }
        for unit in 0..k {
            adam.update_f64(&mut w[unit], &mut m[unit], &mut v[unit], dw[unit]);
        }
        adam.update_f64(&mut bias[feature], &mut bias_m[feature], &mut bias_v[feature], db);
    }
    total
}
