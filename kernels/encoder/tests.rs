use super::*;
use crate::testing::{OwnedCsr, Rng, SHAPES, Spread, Stored, Unaligned, WIDTHS, runnable};
use crate::{Bf16, F32};

#[test]
fn kernels_agree_with_the_reference() {
    agree::<F32>();
    agree::<Bf16>();
}

/// abs 1e-6 + ε · (samples + 16): the gradient's sum, then Adam; rounded where stored.
fn agree<S: Kernels + Stored>() {
    for (isa, name) in runnable(S::kernels()) {
        for (n_samples, n_features, density) in SHAPES {
            for k in WIDTHS {
                let rng = &mut Rng::new((n_samples * 1000 + k) as u64);
                let mut xt = OwnedCsr::random(n_features, n_samples, density, Spread::Even, rng);
                for value in &mut xt.data {
                    *value = if rng.unit() < 0.2 { 0.0 } else { *value };
                }
                let dh = Unaligned::new(&S::stored(&rng.vec(n_samples * k, -1.0, 1.0), k));
                let start = [(-1.0, 1.0), (-1.0, 1.0), (0.01, 1.0)];
                let start = start.map(|(low, high)| S::stored(&rng.vec(n_features * k, low, high), k));
                let adam = Adam::at_step(0.1, 0.9, 0.999, 1e-8, 3);
                let run = |isa| {
                    let [mut w, mut m, mut v] = start.each_ref().map(|x| Unaligned::new(x));
                    let layer = WideWeightsMut { w: &mut w, m: &mut m, v: &mut v, first: 7 };
                    encoder_step::<S>(isa, layer, xt.view(), &dh, k, &adam);
                    [w, m, v]
                };
                let (want, got) = (run(Isa::Reference), run(isa));
                for ((part, got), want) in ["w", "m", "v"].iter().zip(&got).zip(&want) {
                    let what = format!("{name} {n_samples}×{n_features} k {k} {part}");
                    S::assert_close(&what, got, want, k, 1e-6, n_samples + 16);
                }
            }
        }
    }
}

/// With moments of 0, one step leaves m = (1-β₁) dw. The loss is ½ Σ h², so that dh = h = x·w.
#[test]
fn gradients_match_finite_differences() {
    let (n_samples, n_features, k) = (9, 7, 19);
    for (isa, name) in runnable(F32::kernels()) {
        let rng = &mut Rng::new(5);
        let x = OwnedCsr::random(n_samples, n_features, 0.5, Spread::Even, rng);
        let dense = x.to_dense();
        let mut w = rng.vec(n_features * k, -1.0, 1.0);
        let loss = |w: &[f64]| -> f64 {
            let mut sum = 0.0;
            for row in dense.chunks(n_features) {
                for unit in 0..k {
                    let h: f64 = (0..n_features).map(|j| f64::from(row[j]) * w[j * k + unit]).sum();
                    sum += 0.5 * h * h;
                }
            }
            sum
        };
        let mut dh = vec![0.0; n_samples * k];
        crate::spmm::spmm::<F32>(isa, &mut dh, x.view(), &w, k, false);
        let start: Vec<f64> = w.iter().map(|&w| f64::from(w)).collect();
        let (mut m, mut v) = (vec![0.0; w.len()], vec![0.0; w.len()]);
        let layer = WideWeightsMut::<F32> { w: &mut w, m: &mut m, v: &mut v, first: 0 };
        encoder_step(isa, layer, x.transpose().view(), &dh, k, &Adam::at_step(0.1, 0.9, 0.999, 1e-8, 1));
        for at in 0..start.len() {
            let shifted = |by: f64| {
                let mut w = start.clone();
                w[at] += by;
                loss(&w)
            };
            let want = (shifted(1e-4) - shifted(-1e-4)) / 2e-4;
            let got = f64::from(m[at]) / 0.1;
            assert!((got - want).abs() < 1e-4 * (1.0 + want.abs()), "{name} at {at}: {got}, want {want}");
        }
    }
}

#[test]
#[should_panic(expected = "v is not n_features × k")]
fn lengths_are_checked() {
    let xt = OwnedCsr { indptr: vec![0, 1], indices: vec![0], data: vec![1.0], n_rows: 1, n_cols: 1 };
    let layer = WideWeightsMut::<F32> { w: &mut [0.0], m: &mut [0.0], v: &mut [], first: 0 };
    encoder_step(Isa::Reference, layer, xt.view(), &[0.0], 1, &Adam::at_step(0.1, 0.9, 0.999, 1e-8, 1));
}
