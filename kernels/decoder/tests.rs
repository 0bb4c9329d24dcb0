use super::*;
use crate::testing::{OwnedCsr, Rng, SHAPES, Spread, Unaligned, WIDTHS, assert_close, runnable};

/// An owned layer: w, m, v, bias, bias_m, bias_v.
#[derive(Clone)]
struct Layer([Unaligned; 6]);

impl Layer {
    fn random(n_features: usize, k: usize, rng: &mut Rng) -> Self {
        let size = n_features * k;
        // Outputs of both signs and about 1.
        let bound = (3.0 / k as f32).sqrt();
        Self([
            Unaligned::new(&rng.vec(size, -bound, bound)),
            Unaligned::new(&rng.vec(size, -1.0, 1.0)),
            Unaligned::new(&rng.vec(size, 0.01, 1.0)),
            Unaligned::new(&rng.vec(n_features, -1.0, 1.0)),
            Unaligned::new(&rng.vec(n_features, -1.0, 1.0)),
            Unaligned::new(&rng.vec(n_features, 0.01, 1.0)),
        ])
    }

    fn view(&mut self) -> WideLayerMut<'_> {
        let [w, m, v, bias, bias_m, bias_v] = &mut self.0;
        WideLayerMut { w, m, v, bias, bias_m, bias_v }
    }
}

/// Without the entries so near the relu's corner that rounding decides the gradient.
fn off_the_corner(xt: &OwnedCsr, layer: &Layer, d: &[f32], k: usize) -> OwnedCsr {
    let [w, _, _, bias, ..] = &layer.0;
    xt.filter(|j, i, _| {
        let dot: f64 = (0..k).map(|unit| f64::from(d[i * k + unit]) * f64::from(w[j * k + unit])).sum();
        (dot + f64::from(bias[j])).abs() > 1e-4
    })
}

/// abs 1e-6 + ε · (k + entries + 16) for everything but the loss, which has 1e-5 relative.
#[test]
fn kernels_agree_with_the_reference() {
    for (isa, name) in runnable(KERNELS) {
        // The last shape is cut into tiles of samples and blocks of features.
        for (n_samples, n_features, density) in SHAPES.into_iter().chain([(601, 150, 0.1)]) {
            for k in WIDTHS {
                if n_samples > 600 && k < 800 {
                    continue;
                }
                let rng = &mut Rng::new((n_samples * 1000 + k) as u64);
                let d = Unaligned::new(&rng.vec(n_samples * k, -1.0, 1.0));
                let start = Layer::random(n_features, k, rng);
                let xt = OwnedCsr::random(n_features, n_samples, density, Spread::Even, rng);
                let xt = off_the_corner(&xt, &start, &d, k);
                let adam = Adam::at_step(0.1, 0.9, 0.999, 1e-8, 3);
                let dd = Unaligned::new(&rng.vec(n_samples * k, -1.0, 1.0));

                let run = |isa| {
                    let (mut layer, mut dd) = (start.clone(), dd.clone());
                    let (view, xt) = (layer.view(), xt.view());
                    let loss =
                        decoder_step(isa, &mut dd, view, xt, &d, k, 0.7, &adam, EntryLoss::MaskedSquare);
                    (loss, dd, layer)
                };
                let (want_loss, want_dd, want) = run(Isa::Reference);
                let (got_loss, got_dd, got) = run(isa);

                let what = format!("{name} {n_samples}×{n_features} k {k}");
                assert!(
                    (got_loss - want_loss).abs() <= 1e-5 * want_loss,
                    "{what}: loss {got_loss}, want {want_loss}"
                );
                let terms = k + n_samples + n_features + 16;
                assert_close(&format!("{what} dd"), &got_dd, &want_dd, 1e-6, terms);
                let parts = ["w", "m", "v", "bias", "bias_m", "bias_v"];
                for ((part, got), want) in parts.iter().zip(&got.0).zip(&want.0) {
                    assert_close(&format!("{what} {part}"), got, want, 1e-6, terms);
                }
            }
        }
    }
}

/// With moments of 0, one step leaves m = (1-β₁) dw.
#[test]
fn gradients_match_finite_differences() {
    let (n_samples, n_features, k, grad_scale) = (11, 9, 19, 0.5_f32);
    for (isa, name) in runnable(KERNELS) {
        let rng = &mut Rng::new(8);
        let d = rng.vec(n_samples * k, -1.0, 1.0);
        let mut layer = Layer::random(n_features, k, rng);
        for at in [1, 2, 4, 5] {
            layer.0[at].fill(0.0);
        }
        let xt = OwnedCsr::random(n_features, n_samples, 0.7, Spread::Even, rng);
        let xt = off_the_corner(&xt, &layer, &d, k);
        let [w, _, _, bias, ..] =
            layer.0.clone().map(|part| part.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        let d64: Vec<f64> = d.iter().map(|&x| f64::from(x)).collect();
        let loss = |w: &[f64], bias: &[f64], d: &[f64]| -> f64 {
            let mut sum = 0.0;
            for (j, bias) in bias.iter().enumerate() {
                let (samples, targets) = xt.view().row(j);
                for (&i, &x) in samples.iter().zip(targets) {
                    let dot: f64 = (0..k).map(|unit| d[i as usize * k + unit] * w[j * k + unit]).sum();
                    sum += ((bias + dot).max(0.0) - f64::from(x)).powi(2);
                }
            }
            sum
        };
        let mut dd = vec![0.0; d.len()];
        let adam = Adam::at_step(0.1, 0.9, 0.999, 1e-8, 1);
        let total = decoder_step(
            isa,
            &mut dd,
            layer.view(),
            xt.view(),
            &d,
            k,
            grad_scale,
            &adam,
            EntryLoss::MaskedSquare,
        );
        assert!((total - loss(&w, &bias, &d64)).abs() < 1e-4 * total, "{name}: loss {total}");

        let check = |part: &str, got: f64, high: f64, low: f64| {
            let want = f64::from(grad_scale) * (high - low) / 2e-5;
            assert!((got - want).abs() < 1e-4 * (1.0 + want.abs()), "{name} {part}: {got}, want {want}");
        };
        let moved = |values: &[f64], at: usize, by: f64| {
            let mut values = values.to_vec();
            values[at] += by;
            values
        };
        for at in 0..w.len() {
            let of = |by| loss(&moved(&w, at, by), &bias, &d64);
            check("dw", f64::from(layer.0[1][at]) / 0.1, of(1e-5), of(-1e-5));
        }
        for at in 0..bias.len() {
            let of = |by| loss(&w, &moved(&bias, at, by), &d64);
            check("db", f64::from(layer.0[4][at]) / 0.1, of(1e-5), of(-1e-5));
        }
        for (at, &got) in dd.iter().enumerate() {
            let of = |by| loss(&w, &bias, &moved(&d64, at, by));
            check("dd", f64::from(got), of(1e-5), of(-1e-5));
        }
    }
}

#[test]
fn repeated_samples_add_up_and_splitting_the_features_changes_nothing() {
    for (isa, name) in runnable(KERNELS) {
        let (n_features, n_samples, k) = (13, 5, 33);
        let rng = &mut Rng::new(2);
        let mut xt = OwnedCsr::random(n_features, 40, 0.6, Spread::Even, rng);
        xt.indices.iter_mut().for_each(|sample| *sample %= 5);
        xt.n_cols = n_samples;
        let d = rng.vec(n_samples * k, -1.0, 1.0);
        let start = Layer::random(n_features, k, rng);
        let adam = Adam::at_step(0.1, 0.9, 0.999, 1e-8, 1);
        let step = |isa, dd: &mut [f32], layer: WideLayerMut<'_>, xt: CsrView<'_>| {
            decoder_step(isa, dd, layer, xt, &d, k, 0.1, &adam, EntryLoss::MaskedSquare)
        };
        let (mut want, mut want_dd) = (start.clone(), vec![0.0; d.len()]);
        step(Isa::Reference, &mut want_dd, want.view(), xt.view());
        let (mut whole, mut whole_dd) = (start.clone(), vec![0.0; d.len()]);
        step(isa, &mut whole_dd, whole.view(), xt.view());
        let (mut split, mut split_dd) = (start, vec![0.0; d.len()]);
        let (head, rest) = split.view().split_at(6, k);
        step(isa, &mut split_dd, head, xt.view().rows(0..6));
        step(isa, &mut split_dd, rest, xt.view().rows(6..n_features));

        assert_eq!(whole_dd, split_dd, "{name}");
        assert_eq!(*whole.0[0], *split.0[0], "{name}");
        assert_close(name, &whole_dd, &want_dd, 1e-6, 200);
        assert_close(name, &whole.0[0], &want.0[0], 1e-6, 200);
    }
}

/// Tiles take entries by sample; none may be lost or taken twice.
#[test]
fn unsorted_entries_are_all_used_in_tiles() {
    let (n_features, n_samples, k) = (90, 450, 801);
    let rng = &mut Rng::new(6);
    let mut xt = OwnedCsr::random(n_features, n_samples, 0.1, Spread::Skewed, rng);
    for feature in 0..n_features {
        let row = xt.indptr[feature]..xt.indptr[feature + 1];
        xt.indices[row.clone()].reverse();
        xt.data[row].reverse();
    }
    let d = rng.vec(n_samples * k, -1.0, 1.0);
    let start = Layer::random(n_features, k, rng);
    let xt = off_the_corner(&xt, &start, &d, k);
    let adam = Adam::at_step(0.1, 0.9, 0.999, 1e-8, 1);
    let step = |isa| {
        let (mut layer, mut dd) = (start.clone(), vec![0.0; d.len()]);
        let (view, xt) = (layer.view(), xt.view());
        let loss = decoder_step(isa, &mut dd, view, xt, &d, k, 0.1, &adam, EntryLoss::MaskedSquare);
        (loss, layer, dd)
    };
    let (want_loss, want, want_dd) = step(Isa::Reference);
    for (isa, name) in runnable(KERNELS) {
        let (loss, layer, dd) = step(isa);
        assert!((loss - want_loss).abs() <= 1e-5 * want_loss, "{name}: loss {loss}, want {want_loss}");
        assert_close(name, &dd, &want_dd, 1e-6, 1000);
        assert_close(name, &layer.0[0], &want.0[0], 1e-6, 1000);
    }
}

#[test]
fn nan_reaches_the_loss() {
    for (isa, name) in runnable(KERNELS) {
        let xt = OwnedCsr { indptr: vec![0, 1], indices: vec![0], data: vec![1.0], n_rows: 1, n_cols: 1 };
        let mut layer = Layer::random(1, 20, &mut Rng::new(1));
        layer.0[0][3] = f32::NAN;
        let adam = Adam::at_step(0.1, 0.9, 0.999, 1e-8, 1);
        let (dd, view, xt) = (&mut [0.0; 20], layer.view(), xt.view());
        let loss = decoder_step(isa, dd, view, xt, &[1.0; 20], 20, 1.0, &adam, EntryLoss::MaskedSquare);
        assert!(loss.is_nan(), "{name}");
    }
}

#[test]
#[should_panic(expected = "bias_v is not n_features")]
fn lengths_are_checked() {
    let xt = OwnedCsr { indptr: vec![0, 1], indices: vec![0], data: vec![1.0], n_rows: 1, n_cols: 1 };
    let mut layer = Layer::random(1, 1, &mut Rng::new(1));
    layer.0[5] = Unaligned::new(&[]);
    let adam = Adam::at_step(0.1, 0.9, 0.999, 1e-8, 1);
    let (dd, view, xt) = (&mut [0.0], layer.view(), xt.view());
    decoder_step(Isa::Reference, dd, view, xt, &[1.0], 1, 1.0, &adam, EntryLoss::MaskedSquare);
}
