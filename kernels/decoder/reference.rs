use super::{Batch, EntryLoss, MAX_K};
use crate::storage::{Rounding, Rows};
use crate::{Adam, WideLayerMut};

/// Reads only the order by feature.
pub(super) fn decoder_step<S: Rows>(
    dd: &mut [f32],
    layer: WideLayerMut<'_, S>,
    batch: Batch<'_, S>,
    _: &mut [f32],
    k: usize,
    grad_scale: f32,
    adam: &Adam,
    loss: EntryLoss,
    add: bool,
) -> f64 {
    if !add {
        dd.fill(0.0);
    }
    let WideLayerMut { weights, bias, bias_m, bias_v } = layer;
    let (d, row_words) = (batch.d, S::row_words(k));
    let mut total = 0.0;
    for feature in 0..batch.targets.n_rows() {
        let (samples, targets) = batch.targets.row(feature);
        let row = feature * row_words..(feature + 1) * row_words;
        let rounding = Rounding::of_row(adam, weights.first + feature);
        let w = |unit: usize, weights: &[S::Word]| f64::from(S::get(&weights[row.clone()], unit));
        // dw of a unit needs every g, and they need the old w: all g come first, added to dw on the stack.
        let mut dw = [0.0_f64; MAX_K];
        let mut db = 0.0;
        for (&sample, &target) in samples.iter().zip(targets) {
            let sample = sample as usize;
            let dot: f64 = (0..k).map(|unit| f64::from(d[sample * k + unit]) * w(unit, weights.w)).sum();
            let z = dot + f64::from(bias[feature]);
            let (l, slope) = loss.at_f64(if z < 0.0 { 0.0 } else { z }, f64::from(target));
            let g = if z > 0.0 { slope * f64::from(grad_scale) } else { 0.0 };
            total += l;
            db += g;
            let d_row = &batch.d_rows[sample * row_words..][..row_words];
            for unit in 0..k {
                dw[unit] += g * f64::from(S::get(d_row, unit));
                let dd = &mut dd[sample * k + unit];
                #[allow(clippy::cast_possible_truncation, reason = "the result is f32")]
                {
                    *dd = (f64::from(*dd) + g * w(unit, weights.w)) as f32;
                }
            }
        }
        for (unit, &dw) in dw.iter().enumerate().take(k) {
            let rows =
                [&mut weights.w[row.clone()], &mut weights.m[row.clone()], &mut weights.v[row.clone()]];
            S::update_f64(adam, rows, unit, dw, rounding);
        }
        adam.update_f64(&mut bias[feature], &mut bias_m[feature], &mut bias_v[feature], db);
    }
    total
}
