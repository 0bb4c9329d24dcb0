use super::DenseBatch;
use crate::decoder::{EntryLoss, MAX_K};
use crate::gemm_bf16::reference as gemm_bf16;
use crate::paired::{bf16_round, to_f32, words};
use crate::storage::{Rounding, Rows};
use crate::{Adam, Bf16, CsrView, WideLayerMut, WideWeightsMut};

pub(super) fn decoder_step_dense(
    dd: &mut [f32],
    layer: WideLayerMut<'_, Bf16>,
    batch: DenseBatch<'_>,
    _: &mut [u32],
    k: usize,
    grad_scale: f32,
    adam: &Adam,
    loss: EntryLoss,
) -> f64 {
    let WideLayerMut { weights, bias, bias_m, bias_v } = layer;
    let DenseBatch { targets, d } = batch;
    let mut total = 0.0;
    for feature in 0..targets.n_rows() {
        let row = feature * words(k)..(feature + 1) * words(k);
        let w = &weights.w[row.clone()];
        // Every g needs the old w: all g come first, added to dw on the stack.
        let mut dw = [0.0_f64; MAX_K];
        let mut db = 0.0;
        let (samples, values) = targets.row(feature);
        for (&sample, &target) in samples.iter().zip(values) {
            let sample = sample as usize;
            let terms =
                (0..k).map(|unit| right(d.for_outputs, k, unit, sample) * f64::from(Bf16::get(w, unit)));
            let z = terms.sum::<f64>() + f64::from(bias[feature]);
            let (l, slope) = loss.at_f64(if z < 0.0 { 0.0 } else { z }, f64::from(target));
            #[allow(clippy::cast_possible_truncation, reason = "rounding is meant")]
            let g = if z > 0.0 { (slope * f64::from(grad_scale)) as f32 } else { 0.0 };
            total += l;
            db += f64::from(g);
            let g = rounded(g);
            for unit in 0..k {
                dw[unit] += g * right(d.for_weights, targets.n_cols(), sample, unit);
                add(&mut dd[sample * k + unit], g * f64::from(Bf16::get(w, unit)));
            }
        }
        let rounding = Rounding::of_row(adam, weights.first + feature);
        for (unit, &dw) in dw.iter().enumerate().take(k) {
            let rows =
                [&mut weights.w[row.clone()], &mut weights.m[row.clone()], &mut weights.v[row.clone()]];
            Bf16::update_f64(adam, rows, unit, dw, rounding);
        }
        adam.update_f64(&mut bias[feature], &mut bias_m[feature], &mut bias_v[feature], db);
    }
    total
}

pub(super) fn encoder_forward_dense(out: &mut [f32], x: CsrView<'_>, w: &[u32], _: &mut [u32], k: usize) {
    for sample in 0..x.n_rows() {
        for unit in 0..k {
            let (features, values) = x.row(sample);
            let terms = features.iter().zip(values).map(|(&feature, &value)| {
                rounded(value) * f64::from(Bf16::get(&w[feature as usize * words(k)..][..words(k)], unit))
            });
            add(&mut out[sample * k + unit], terms.sum());
        }
    }
}

pub(super) fn encoder_step_dense(
    layer: WideWeightsMut<'_, Bf16>,
    xt: CsrView<'_>,
    dh: &[u32],
    _: &mut [u32],
    k: usize,
    adam: &Adam,
) {
    for feature in 0..xt.n_rows() {
        let (samples, values) = xt.row(feature);
        let row = feature * words(k)..(feature + 1) * words(k);
        let rounding = Rounding::of_row(adam, layer.first + feature);
        for unit in 0..k {
            let terms = samples.iter().zip(values);
            let terms =
                terms.map(|(&sample, &value)| rounded(value) * right(dh, xt.n_cols(), sample as usize, unit));
            let dw = terms.sum();
            let rows = [&mut layer.w[row.clone()], &mut layer.m[row.clone()], &mut layer.v[row.clone()]];
            Bf16::update_f64(adam, rows, unit, dw, rounding);
        }
    }
}

fn right(panels: &[u32], n_rows: usize, row: usize, col: usize) -> f64 {
    f64::from(gemm_bf16::at(panels, n_rows, row, col))
}

fn rounded(x: f32) -> f64 {
    f64::from(to_f32(bf16_round(x)))
}

fn add(sum: &mut f32, x: f64) {
    #[allow(clippy::cast_possible_truncation, reason = "the result is f32")]
    {
        *sum = (f64::from(*sum) + x) as f32;
    }
}
