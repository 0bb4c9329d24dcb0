use super::*;
use crate::decoder::{Batch, decoder_step, scratch_len};
use crate::paired::{pack_rows, unpack_rows};
use crate::testing::{OwnedCsr, Rng, Spread, assert_close, runnable};

/// `n_samples`, `n_features`, density, `k`: below, at and above tiles, groups, panels and blocks.
const SHAPES: [(usize, usize, f64, usize); 16] = [
    (0, 5, 0.5, 20),
    (5, 0, 0.5, 20),
    (1, 1, 1.0, 1),
    (1, 17, 0.5, 33),
    (16, 1, 0.6, 801),
    (7, 13, 0.0, 100),
    (31, 32, 1.0, 16),
    (32, 31, 0.3, 17),
    (33, 33, 0.5, 32),
    (64, 64, 0.1, 48),
    (15, 257, 0.2, 100),
    (100, 100, 0.05, 801),
    (129, 255, 0.1, 64),
    (256, 256, 0.02, 800),
    (300, 290, 0.02, 100),
    (1030, 40, 0.05, 65),
];

/// Words at an odd offset.
#[derive(Clone)]
struct Words(Vec<u32>);

impl Words {
    fn pack(x: &[f32], n_rows: usize, k: usize) -> Self {
        let mut out = vec![0; n_rows * words(k) + 1];
        pack_rows(Isa::Reference, &mut out[1..], x, n_rows, k);
        Self(out)
    }

    /// Of which every f32 and every bf16 is NaN.
    fn nan(len: usize) -> Self {
        Self(vec![u32::MAX; len + 1])
    }

    fn values(&self, n_rows: usize, k: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; n_rows * k];
        unpack_rows(Isa::Reference, &mut out, self, n_rows, k);
        out
    }
}

impl std::ops::Deref for Words {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.0[1..]
    }
}

impl std::ops::DerefMut for Words {
    fn deref_mut(&mut self) -> &mut [u32] {
        &mut self.0[1..]
    }
}

/// Multiples of an eighth, within ±`bound`: products of them are summed without rounding, whatever the order.
fn eighths(rng: &mut Rng, len: usize, bound: f32) -> Vec<f32> {
    (0..len).map(|_| (rng.range(-bound, bound) * 8.0).round() / 8.0).collect()
}

/// A layer and what a step reads.
#[derive(Clone)]
struct Case {
    n_samples: usize,
    n_features: usize,
    k: usize,
    /// By sample.
    x: OwnedCsr,
    d: Vec<f32>,
    dd: Vec<f32>,
    rows: [Words; 3],
    biases: [Vec<f32>; 3],
    adam: Adam,
}

impl Case {
    /// Where every sum is exact.
    fn exact((n_samples, n_features, density, k): (usize, usize, f64, usize)) -> Self {
        let rng = &mut Rng::new((n_samples * 1000 + k) as u64);
        let mut x = OwnedCsr::random(n_samples, n_features, density, Spread::Even, rng);
        x.data.iter_mut().for_each(|x| *x = (*x * 8.0).round() / 8.0);
        let w = eighths(rng, n_features * k, 0.25);
        Self::new(x, k, w, eighths(rng, n_samples * k, 1.0), rng)
    }

    fn random(n_samples: usize, n_features: usize, density: f64, k: usize) -> Self {
        let rng = &mut Rng::new((n_samples + k) as u64);
        let x = OwnedCsr::random(n_samples, n_features, density, Spread::Skewed, rng);
        let bound = (3.0 / k as f32).sqrt();
        let w = rng.vec(n_features * k, -bound, bound);
        Self::new(x, k, w, rng.vec(n_samples * k, -1.0, 1.0), rng)
    }

    fn new(x: OwnedCsr, k: usize, w: Vec<f32>, d: Vec<f32>, rng: &mut Rng) -> Self {
        let (n_samples, n_features) = (x.n_rows, x.n_cols);
        let size = n_features * k;
        let rows = [w, rng.vec(size, -1.0, 1.0), rng.vec(size, 0.01, 1.0)];
        Self {
            n_samples,
            n_features,
            k,
            x,
            dd: eighths(rng, d.len(), 2.0),
            d,
            rows: rows.map(|rows| Words::pack(&rows, n_features, k)),
            biases: [
                eighths(rng, n_features, 0.5),
                rng.vec(n_features, -1.0, 1.0),
                rng.vec(n_features, 0.01, 1.0),
            ],
            adam: Adam::at_step(0.01, 0.9, 0.999, 1e-8, 3),
        }
    }

    fn scratch(&self) -> Words {
        Words::nan(scratch_words(self.n_samples, self.n_features))
    }

    fn layer(&mut self) -> WideLayerMut<'_, Bf16> {
        let [w, m, v] = &mut self.rows;
        let [bias, bias_m, bias_v] = &mut self.biases;
        WideLayerMut { weights: WideWeightsMut { w, m, v, first: 3 }, bias, bias_m, bias_v }
    }

    fn hidden(&self) -> [Words; 2] {
        let mut panels = hidden_words(self.n_samples, self.k).map(Words::nan);
        let [for_outputs, for_weights] = &mut panels;
        pack_hidden(Isa::Reference, for_outputs, for_weights, &self.d, self.n_samples, self.k);
        panels
    }

    /// In parts of the features, which end as stated. Returns the loss.
    fn decode(&mut self, isa: Isa, ends: &[usize]) -> f64 {
        let (targets, k, adam, mut scratch) = (self.x.transpose(), self.k, self.adam, self.scratch());
        let [for_outputs, for_weights] = &self.hidden();
        let mut dd = std::mem::take(&mut self.dd);
        let (mut rest, mut start, mut total) = (self.layer(), 0, 0.0);
        for &end in ends {
            let part;
            (part, rest) = rest.split_at(end - start, k);
            let batch = DenseBatch {
                targets: targets.view().rows(start..end),
                d: Hidden { for_outputs, for_weights },
            };
            let loss = EntryLoss::MaskedSquare;
            total += decoder_step_dense(isa, &mut dd, part, batch, &mut scratch, k, 0.5, &adam, loss);
            start = end;
        }
        self.dd = dd;
        total
    }

    fn encode(&mut self, isa: Isa) {
        let (xt, k, adam, mut scratch) = (self.x.transpose(), self.k, self.adam, self.scratch());
        let [_, dh] = &self.hidden();
        encoder_step_dense(isa, self.layer().weights, xt.view(), dh, &mut scratch, k, &adam);
    }

    /// Weights and moments as the reference has them but for rounding: f32 instead of f64 may move what is rounded
    /// across a boundary, so a few are off by a step of bf16, 2⁻⁷ of them at most; where `w` nearly cancels, f32 is
    /// off by more of it than that.
    fn assert_rows(&self, want: &Self, what: &str) {
        for ((got, want), part) in self.rows.iter().zip(&want.rows).zip(["w", "m", "v"]) {
            let (got, want) = (got.values(self.n_features, self.k), want.values(self.n_features, self.k));
            let differing = got.iter().zip(&want).filter(|(got, want)| got != want).count();
            assert!(differing <= 4 + want.len() / 100, "{what} {part}: {differing} of {} differ", want.len());
            for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                let allowed = want.abs() / 128.0 + 1e-7;
                assert!((got - want).abs() <= allowed, "{what} {part}: at {at} got {got}, want {want}");
            }
        }
        for (got, want) in self.rows.iter().zip(&want.rows) {
            let padding = self.k % GROUP;
            if padding > 0 && padding < GROUP / 2 {
                for (got, want) in got.chunks(words(self.k)).zip(want.chunks(words(self.k))) {
                    assert_eq!(got[got.len() - 1], want[want.len() - 1], "{what}: padding");
                }
            }
        }
        for (got, want) in self.biases.iter().zip(&want.biases) {
            assert_close(what, got, want, 1e-6, 16);
        }
    }
}

/// `dd` and the loss are equal: all their sums are exact.
#[test]
fn decoder_step_agrees_with_the_reference() {
    for (isa, name) in runnable(DECODER_STEP_KERNELS) {
        for shape in SHAPES {
            let mut want = Case::exact(shape);
            let mut got = want.clone();
            let ends = [got.n_features];
            let (want_loss, got_loss) = (want.decode(Isa::Reference, &ends), got.decode(isa, &ends));
            let what = format!("{name} {shape:?}");
            assert_eq!(got_loss, want_loss, "{what}: loss");
            assert_eq!(got.dd, want.dd, "{what}: dd");
            got.assert_rows(&want, &what);
        }
    }
}

/// `out` is equal: all sums are exact.
#[test]
fn encoder_forward_agrees_with_the_reference() {
    for (isa, name) in runnable(ENCODER_FORWARD_KERNELS) {
        for shape in SHAPES {
            let case = Case::exact(shape);
            let x = case.x.filter(|i, j, _| (i + j) % 5 > 0);
            let run = |isa| {
                let mut out = case.dd.clone();
                encoder_forward_dense(isa, &mut out, x.view(), &case.rows[0], &mut case.scratch(), case.k);
                out
            };
            assert_eq!(run(isa), run(Isa::Reference), "{name} {shape:?}");
        }
    }
}

#[test]
fn encoder_step_agrees_with_the_reference() {
    for (isa, name) in runnable(ENCODER_STEP_KERNELS) {
        for shape in SHAPES {
            let mut want = Case::exact(shape);
            want.x.data.iter_mut().step_by(3).for_each(|x| *x = 0.0);
            let mut got = want.clone();
            want.encode(Isa::Reference);
            got.encode(isa);
            got.assert_rows(&want, &format!("{name} {shape:?}"));
        }
    }
}

/// `|got - want|` as a share of `|want - start|`, in the Euclidean norm.
fn off(got: &[f32], want: &[f32], start: &[f32]) -> f64 {
    let norm = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
    };
    norm(got, want) / norm(want, start).max(1e-30)
}

/// The sparse step keeps d and g in f32: rounding them is off by 2⁻⁹ of each value at most and by 2⁻¹⁰ on average,
/// so that dd and dw, sums of such terms, differ by 2⁻⁸ in the norm at most, dw also by the rounding of what the
/// moment stores.
#[test]
fn decoder_step_agrees_with_the_sparse_one() {
    for (isa, name) in runnable(DECODER_STEP_KERNELS) {
        let mut got = Case::random(150, 120, 0.2, 100);
        got.rows[1].fill(0);
        let start = got.clone();
        let mut want = got.clone();
        let got_loss = got.decode(isa, &[120]);

        let (targets, by_sample, d, k, adam) =
            (want.x.transpose(), want.x.clone(), want.d.clone(), 100, want.adam);
        let mut scratch = vec![f32::NAN; scratch_len(150, 120, targets.indices.len(), k)];
        let mut dd = want.dd.clone();
        let d_rows = Words::pack(&d, 150, k);
        let batch = Batch { targets: targets.view(), by_sample: by_sample.view(), d: &d, d_rows: &d_rows };
        let loss = EntryLoss::MaskedSquare;
        let want_loss = decoder_step::<Bf16>(
            Isa::Reference,
            &mut dd,
            want.layer(),
            batch,
            &mut scratch,
            k,
            0.5,
            &adam,
            loss,
            true,
        );
        assert!((got_loss - want_loss).abs() < 1e-3 * want_loss, "{name}: loss {got_loss}, want {want_loss}");
        let share = off(&got.dd, &dd, &start.dd);
        assert!(share < 1.0 / 256.0, "{name}: dd is off by {share}");
        let [got_m, want_m] = [&got, &want].map(|case| case.rows[1].values(120, k));
        let share = off(&got_m, &want_m, &vec![0.0; got_m.len()]);
        assert!(share < 1.0 / 256.0, "{name}: dw is off by {share}");
        let share = off(&got.biases[0], &want.biases[0], &start.biases[0]);
        assert!(share < 1.0 / 256.0, "{name}: bias is off by {share}");
    }
}

/// Weights come out the same to the bit; `dd` too, where the parts are whole blocks.
#[test]
fn splitting_the_features_changes_nothing() {
    for (isa, name) in runnable(DECODER_STEP_KERNELS) {
        let start = Case::random(70, 300, 0.3, 100);
        let [mut whole, mut blocks, mut parts] = [start.clone(), start.clone(), start];
        whole.decode(isa, &[300]);
        blocks.decode(isa, &[256, 300]);
        parts.decode(isa, &[37, 38, 300]);
        assert_eq!(blocks.dd, whole.dd, "{name}");
        assert_close(name, &parts.dd, &whole.dd, 1e-6, 300);
        for at in 0..3 {
            assert!(*blocks.rows[at] == *whole.rows[at], "{name}: blocks");
            assert!(*parts.rows[at] == *whole.rows[at], "{name}: parts");
            assert_eq!(parts.biases[at], whole.biases[at], "{name}");
        }
    }
}

#[test]
fn nan_reaches_the_loss() {
    for (isa, name) in runnable(DECODER_STEP_KERNELS) {
        let mut case = Case::random(20, 20, 1.0, 33);
        case.rows[0][5] = u32::MAX;
        assert!(case.decode(isa, &[20]).is_nan(), "{name}");
    }
}

#[test]
#[should_panic(expected = "row 1 of the entries is not sorted or repeats an index")]
fn entries_are_checked() {
    let mut case = Case::random(2, 4, 1.0, 4);
    case.x = OwnedCsr { indptr: vec![0, 1, 3], indices: vec![3, 1, 1], data: vec![1.0; 3], ..case.x };
    let (mut out, mut scratch) = (case.dd.clone(), case.scratch());
    encoder_forward_dense(Isa::Reference, &mut out, case.x.view(), &case.rows[0], &mut scratch, 4);
}

#[test]
#[should_panic(expected = "d.for_weights is not panels of n_samples × k")]
fn lengths_are_checked() {
    let mut case = Case::random(2, 4, 1.0, 4);
    let ([for_outputs, _], mut scratch, mut dd) = (case.hidden(), case.scratch(), case.dd.clone());
    let (targets, adam) = (case.x.transpose(), case.adam);
    let batch =
        DenseBatch { targets: targets.view(), d: Hidden { for_outputs: &for_outputs, for_weights: &[] } };
    let loss = EntryLoss::MaskedSquare;
    decoder_step_dense(Isa::Reference, &mut dd, case.layer(), batch, &mut scratch, 4, 1.0, &adam, loss);
}

#[test]
#[should_panic(expected = "scratch has 0 words, needs")]
fn scratch_is_checked() {
    let case = Case::random(2, 4, 1.0, 4);
    let mut out = case.dd.clone();
    encoder_forward_dense(Isa::Reference, &mut out, case.x.view(), &case.rows[0], &mut [], 4);
}
