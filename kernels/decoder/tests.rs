use super::*;
use crate::testing::{OwnedCsr, Rng, SHAPES, Spread, Stored, Unaligned, WIDTHS, assert_close, runnable};
use crate::{Bf16, F32, WideWeightsMut};

/// An owned layer: w, m, v, then bias, bias_m, bias_v.
#[derive(Clone)]
struct Layer<S: Storage>([Unaligned<S::Word>; 3], [Unaligned; 3]);

impl<S: Stored> Layer<S> {
    fn random(n_features: usize, k: usize, rng: &mut Rng) -> Self {
        // Outputs of both signs and about 1.
        let bound = (3.0 / k as f32).sqrt();
        let ranges = [(-bound, bound), (-1.0, 1.0), (0.01, 1.0)];
        let rows =
            ranges.map(|(low, high)| Unaligned::new(&S::stored(&rng.vec(n_features * k, low, high), k)));
        let ranges = [(-1.0, 1.0), (-1.0, 1.0), (0.01, 1.0)];
        Self(rows, ranges.map(|(low, high)| Unaligned::new(&rng.vec(n_features, low, high))))
    }

    fn view(&mut self) -> WideLayerMut<'_, S> {
        let ([w, m, v], [bias, bias_m, bias_v]) = (&mut self.0, &mut self.1);
        WideLayerMut { weights: WideWeightsMut { w, m, v, first: 5 }, bias, bias_m, bias_v }
    }

    fn assert_close(&self, what: &str, want: &Self, k: usize, terms: usize) {
        for (part, (got, want)) in ["w", "m", "v"].iter().zip(self.0.iter().zip(&want.0)) {
            S::assert_close(&format!("{what} {part}"), got, want, k, 1e-6, terms);
        }
        for (part, (got, want)) in ["bias", "bias_m", "bias_v"].iter().zip(self.1.iter().zip(&want.1)) {
            assert_close(&format!("{what} {part}"), got, want, 1e-6, terms);
        }
    }
}

/// A minibatch, and one step on it from given starts.
struct Problem<S: Stored> {
    xt: OwnedCsr,
    x: OwnedCsr,
    d: Unaligned,
    d_rows: Unaligned<S::Word>,
    layer: Layer<S>,
    dd: Vec<f32>,
    k: usize,
    grad_scale: f32,
    adam: Adam,
}

impl<S: Kernels + Stored> Problem<S> {
    fn new(n_samples: usize, n_features: usize, density: f64, k: usize) -> Self {
        let rng = &mut Rng::new((n_samples * 1000 + k) as u64);
        let d = Unaligned::new(&rng.vec(n_samples * k, -1.0, 1.0));
        let layer = Layer::random(n_features, k, rng);
        let xt = OwnedCsr::random(n_features, n_samples, density, Spread::Even, rng);
        let xt = off_the_corner(&xt, &layer, &d, k);
        Self {
            x: xt.transpose(),
            xt,
            d_rows: Unaligned::new(&S::stored(&d, k)),
            d,
            layer,
            dd: rng.vec(n_samples * k, -1.0, 1.0),
            k,
            grad_scale: 0.7,
            adam: Adam::at_step(0.1, 0.9, 0.999, 1e-8, 3),
        }
    }

    fn step(&self, isa: Isa, add: bool) -> (f64, Unaligned, Layer<S>) {
        let mut layer = self.layer.clone();
        let mut dd = Unaligned::new(&if add { self.dd.clone() } else { vec![f32::NAN; self.dd.len()] });
        let loss = self.step_on(isa, &mut dd, layer.view(), 0..self.xt.n_rows, add);
        (loss, dd, layer)
    }

    fn step_on(
        &self,
        isa: Isa,
        dd: &mut [f32],
        layer: WideLayerMut<'_, S>,
        features: std::ops::Range<usize>,
        add: bool,
    ) -> f64 {
        let targets = self.xt.view().rows(features.clone());
        let by_sample = self.x.filter(|_, feature, _| features.contains(&feature));
        let by_sample = OwnedCsr {
            indices: by_sample.indices.iter().map(|j| j - u32::try_from(features.start).unwrap()).collect(),
            n_cols: features.len(),
            ..by_sample
        };
        let batch = Batch { targets, by_sample: by_sample.view(), d: &self.d, d_rows: &self.d_rows };
        let len = scratch_len(targets.n_cols(), targets.n_rows(), targets.nnz(), self.k);
        let (scratch, loss) = (&mut vec![f32::NAN; len], EntryLoss::MaskedSquare);
        decoder_step(isa, dd, layer, batch, scratch, self.k, self.grad_scale, &self.adam, loss, add)
    }
}

/// Without the entries so near the relu's corner that rounding decides the gradient.
fn off_the_corner<S: Stored>(xt: &OwnedCsr, layer: &Layer<S>, d: &[f32], k: usize) -> OwnedCsr {
    let (w, bias) = (S::values(&layer.0[0], k), &layer.1[0]);
    xt.filter(|j, i, _| {
        let dot: f64 = (0..k).map(|unit| f64::from(d[i * k + unit]) * f64::from(w[j * k + unit])).sum();
        (dot + f64::from(bias[j])).abs() > 1e-4
    })
}

#[test]
fn kernels_agree_with_the_reference() {
    agree::<F32>();
    agree::<Bf16>();
}

/// abs 1e-6 + ε · (k + entries + 16) for everything but the loss, which has 1e-5 relative; rounded where stored.
fn agree<S: Kernels + Stored>() {
    for (isa, name) in runnable(S::kernels()) {
        // The last shape is cut into tiles of samples.
        for (n_samples, n_features, density) in SHAPES.into_iter().chain([(601, 150, 0.1)]) {
            for k in WIDTHS {
                if n_samples > 600 && k < 800 {
                    continue;
                }
                let problem = Problem::<S>::new(n_samples, n_features, density, k);
                for add in [true, false] {
                    let (want_loss, want_dd, want) = problem.step(Isa::Reference, add);
                    let (loss, dd, layer) = problem.step(isa, add);
                    let what = format!("{name} {n_samples}×{n_features} k {k} add {add}");
                    assert!(
                        (loss - want_loss).abs() <= 1e-5 * want_loss,
                        "{what}: loss {loss}, want {want_loss}"
                    );
                    let terms = k + n_samples + n_features + 16;
                    assert_close(&format!("{what} dd"), &dd, &want_dd, 1e-6, terms);
                    layer.assert_close(&what, &want, k, terms);
                }
            }
        }
    }
}

/// With moments of 0, one step leaves m = (1-β₁) dw.
#[test]
fn gradients_match_finite_differences() {
    for (isa, name) in runnable(F32::kernels()) {
        let mut problem = Problem::<F32>::new(11, 9, 0.7, 19);
        problem.adam = Adam::at_step(0.1, 0.9, 0.999, 1e-8, 1);
        let layer = &mut problem.layer;
        for moments in layer.0[1..].iter_mut().chain(&mut layer.1[1..]) {
            moments.fill(0.0);
        }
        let k = problem.k;
        let f64s = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let (w, bias, d) = (f64s(&problem.layer.0[0]), f64s(&problem.layer.1[0]), f64s(&problem.d));
        let loss = |w: &[f64], bias: &[f64], d: &[f64]| -> f64 {
            let mut sum = 0.0;
            for (j, bias) in bias.iter().enumerate() {
                let (samples, targets) = problem.xt.view().row(j);
                for (&i, &x) in samples.iter().zip(targets) {
                    let dot: f64 = (0..k).map(|unit| d[i as usize * k + unit] * w[j * k + unit]).sum();
                    sum += ((bias + dot).max(0.0) - f64::from(x)).powi(2);
                }
            }
            sum
        };
        let (total, dd, layer) = problem.step(isa, false);
        assert!((total - loss(&w, &bias, &d)).abs() < 1e-4 * total, "{name}: loss {total}");

        let check = |part: &str, got: f64, high: f64, low: f64| {
            let want = f64::from(problem.grad_scale) * (high - low) / 2e-5;
            assert!((got - want).abs() < 1e-4 * (1.0 + want.abs()), "{name} {part}: {got}, want {want}");
        };
        let moved = |values: &[f64], at: usize, by: f64| {
            let mut values = values.to_vec();
            values[at] += by;
            values
        };
        for at in 0..w.len() {
            let of = |by| loss(&moved(&w, at, by), &bias, &d);
            check("dw", f64::from(layer.0[1][at]) / 0.1, of(1e-5), of(-1e-5));
        }
        for at in 0..bias.len() {
            let of = |by| loss(&w, &moved(&bias, at, by), &d);
            check("db", f64::from(layer.1[1][at]) / 0.1, of(1e-5), of(-1e-5));
        }
        for (at, &got) in dd.iter().enumerate() {
            let of = |by| loss(&w, &bias, &moved(&d, at, by));
            check("dd", f64::from(got), of(1e-5), of(-1e-5));
        }
    }
}

#[test]
fn splitting_the_features_changes_nothing() {
    split::<F32>();
    split::<Bf16>();
}

fn split<S: Kernels + Stored>() {
    for (isa, name) in runnable(S::kernels()) {
        let problem = Problem::<S>::new(37, 13, 0.6, 33);
        let (_, whole_dd, whole) = problem.step(isa, false);
        let (mut split, mut split_dd) = (problem.layer.clone(), vec![0.0; whole_dd.len()]);
        let (head, rest) = split.view().split_at(6, problem.k);
        problem.step_on(isa, &mut split_dd, head, 0..6, false);
        problem.step_on(isa, &mut split_dd, rest, 6..13, true);
        assert_eq!(*whole.0[0], *split.0[0], "{name}: the weights differ");
        assert_eq!(*whole.0[2], *split.0[2], "{name}: the moments differ");
        assert_close(name, &split_dd, &whole_dd, 1e-6, 50);
    }
}

#[test]
fn nan_reaches_the_loss() {
    for (isa, name) in runnable(F32::kernels()) {
        let mut problem = Problem::<F32>::new(1, 1, 1.0, 20);
        problem.layer.0[0][3] = f32::NAN;
        assert!(problem.step(isa, false).0.is_nan(), "{name}");
    }
}

fn refused(change: impl FnOnce(&mut Problem<F32>)) {
    let mut problem = Problem::new(7, 5, 0.8, 20);
    change(&mut problem);
    problem.step(Isa::Portable, false);
}

#[test]
#[should_panic(expected = "bias_v is not n_features")]
fn lengths_are_checked() {
    refused(|problem| problem.layer.1[2] = Unaligned::new(&[]));
}

#[test]
#[should_panic(expected = "by_sample and targets have other entries")]
fn the_two_orders_must_hold_the_same_entries() {
    refused(|problem| {
        let last = problem.x.indices.len() - 1;
        problem.x.indices.swap(0, last);
    });
}

#[test]
#[should_panic(expected = "by_sample and targets have other entries")]
fn entries_must_be_sorted() {
    refused(|problem| problem.xt.indices[..3].reverse());
}

#[test]
#[should_panic(expected = "257 features, more than 256")]
fn the_number_of_features_is_bounded() {
    Problem::<F32>::new(1, 257, 0.1, 3).step(Isa::Portable, false);
}
