//! Every kernel on every instruction set and storage, on one thread, beside dense OpenBLAS; results are checked
//! before they are timed.
//!
//! `cargo bench --bench kernels -- 'decoder_step.*256x20000'` picks some; `LATE_FAST_BENCH=all` adds the large
//! minibatches and the slow rows (reference and portable kernels beyond the smallest shape).

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod common;

use std::hint::black_box;
use std::ops::Range;

use common::dense::{self, DenseBatch, Scratch};
use common::record::{Cost, Report, Row};
use common::{all, is_test};
use criterion::{Criterion, criterion_group, criterion_main};
use late_fast::minibatch::Minibatch;
use late_fast::model::{Buffer, Precision};
use late_fast_kernels::adam::{RowKernels, adam_rows};
use late_fast_kernels::decoder::{self, Batch, EntryLoss, decoder_step, scratch_len};
use late_fast_kernels::dropout::{DROP_UNITS_KERNELS, drop_units, row_key};
use late_fast_kernels::encoder::encoder_step;
use late_fast_kernels::gemm::blas_single_thread;
use late_fast_kernels::testing::{Aligned, OwnedCsr, Rng, Spread, Stored, assert_close, runnable};
use late_fast_kernels::{
    Adam, Bf16, F32, Isa, WideLayerMut, WideWeightsMut, activation, adam, encoder, flush_denormals, sddmm,
    spmm,
};

/// Hidden units; a width with a tail for tests.
const HIDDEN: usize = 800;
const TEST_HIDDEN: usize = 72;

/// Samples, features, density.
type Shape = (usize, usize, f64);
const TEST: Shape = (37, 300, 0.10);
const SMALL: Shape = (256, 949, 0.10);
const SHAPES: [Shape; 3] = [SMALL, (256, 20_000, 0.05), (256, 30_000, 0.03)];
const LARGE_SHAPES: [Shape; 3] = [(1024, 949, 0.10), (1024, 20_000, 0.05), (1024, 30_000, 0.03)];

/// Features that are compared with the slow reference.
const HEAD: usize = 64;

/// A storage that a bench can fill.
trait Benched: Precision + Stored {}
impl<S: Precision + Stored> Benched for S {}

/// A minibatch with skewed features, and the parameters of a layer.
struct Inputs {
    shape: String,
    /// Whether slow rows are worth their time.
    small: bool,
    k: usize,
    batch: Minibatch,
    /// The first features only, for the reference.
    head: Minibatch,
    dense: DenseBatch,
    d: Aligned,
    /// Weights and moments.
    rows: [Vec<f32>; 3],
    bias: Vec<f32>,
    adam: Adam,
}

impl Inputs {
    fn new((n_samples, n_features, density): Shape) -> Self {
        let rng = &mut Rng::new(1);
        let k = if is_test() { TEST_HIDDEN } else { HIDDEN };
        let x = OwnedCsr::random(n_samples, n_features, density, Spread::Skewed, rng);
        let head = x.filter(|_, feature, _| feature < HEAD);
        let batch = Minibatch::from_rows(n_features, &x.indptr, &x.indices, &x.data);
        let ranges = [(-0.05, 0.05), (-0.01, 0.01), (1e-4, 1e-2)];
        Self {
            shape: format!("{n_samples}x{n_features}@{density}"),
            small: n_features < 1000 && n_samples <= 256,
            k,
            dense: DenseBatch::new(&batch, 1),
            batch,
            head: Minibatch::from_rows(HEAD, &head.indptr, &head.indices, &head.data),
            d: Aligned::new(&rng.vec(n_samples * k, -1.0, 1.0)),
            rows: ranges.map(|(low, high)| rng.vec(n_features * k, low, high)),
            bias: rng.vec(n_features, 0.2, 0.8),
            adam: Adam::at_step(1e-4, 0.9, 0.999, 1e-8, 10),
        }
    }

    fn hidden(&self) -> Aligned {
        Aligned::new(&vec![f32::NAN; self.d.len()])
    }

    fn scratch(&self) -> Scratch {
        Scratch::new(self.batch.n_samples(), self.k)
    }

    /// Whether the row is worth its time in a default run.
    fn shows(&self, isa: Isa) -> bool {
        self.small || isa >= Isa::Avx2 || (all() && isa >= Isa::Portable)
    }

    fn d_as<S: Benched>(&self) -> Buffer<S::Word> {
        stored::<S>(&self.d, self.k)
    }

    fn row(&self, bench: &'static str, isa: Isa, name: &str, cost: Cost) -> Row {
        Row { bench, name: name.to_owned(), shape: self.shape.clone(), isa, threads: 1, cost }
    }

    /// Bytes of a matrix of `k` columns with a row a feature, or a sample, stored as `S`.
    fn wide<S: Benched>(&self) -> usize {
        self.batch.n_features() * S::row_words(self.k) * size_of::<S::Word>()
    }

    fn narrow(&self) -> usize {
        self.d.len() * size_of::<f32>()
    }

    /// `flops` for every entry and hidden unit.
    fn sparse(&self, flops: usize, bytes: usize) -> Cost {
        let nnz = self.batch.targets.nnz();
        Cost { nnz, flops: flops * nnz * self.k, bytes }
    }

    /// `flops` for every sample, feature and hidden unit; `dense` matrices of samples and features.
    fn dense_cost(&self, flops: usize, dense: usize, bytes: usize) -> Cost {
        let elements = self.batch.n_samples() * self.batch.n_features();
        let nnz = self.batch.targets.nnz();
        Cost { nnz, flops: flops * elements * self.k, bytes: bytes + dense * elements * size_of::<f32>() }
    }
}

fn stored<S: Benched>(values: &[f32], k: usize) -> Buffer<S::Word> {
    let words = S::stored(values, k);
    let mut out = Buffer::zeros(words.len()).unwrap();
    out.copy_from_slice(&words);
    out
}

/// Weights, moments and biases that a bench may change.
struct Layer<S: Benched> {
    rows: [Buffer<S::Word>; 3],
    biases: [Vec<f32>; 3],
}

impl<S: Benched> Layer<S> {
    /// The first features.
    fn new(inputs: &Inputs, n_features: usize) -> Self {
        let rows = inputs.rows.each_ref().map(|rows| stored::<S>(&rows[..n_features * inputs.k], inputs.k));
        let zeros = vec![0.0; n_features];
        Self { rows, biases: [inputs.bias[..n_features].to_vec(), zeros.clone(), zeros] }
    }

    fn view(&mut self) -> WideLayerMut<'_, S> {
        let Self { rows: [w, m, v], biases: [bias, bias_m, bias_v] } = self;
        WideLayerMut { weights: WideWeightsMut { w, m, v, first: 0 }, bias, bias_m, bias_v }
    }
}

/// The blocks of features of a minibatch with their entries by sample.
fn blocks(batch: &Minibatch) -> impl Iterator<Item = (Range<usize>, late_fast_kernels::CsrView<'_>)> {
    (0..batch.n_tasks()).flat_map(|task| batch.task_inputs(task))
}

fn forward<S: Benched>(isa: Isa, out: &mut [f32], batch: &Minibatch, w: &[S::Word], k: usize) {
    let words = S::row_words(k);
    for (block, (features, x)) in blocks(batch).enumerate() {
        let w = &w[features.start * words..features.end * words];
        spmm::spmm::<S>(isa, out, x, w, k, block > 0);
    }
}

/// `NaN` where a result is missing would pass for agreement with a missing one.
fn assert_finite(what: &str, values: &[f32]) {
    assert!(values.iter().all(|x| x.is_finite()), "{what}: not finite");
}

fn bench_spmm<S: Benched>(c: &mut Criterion, report: &mut Report, inputs: &Inputs) {
    let k = inputs.k;
    let w = stored::<S>(&inputs.rows[0], k);
    let mut want = inputs.hidden();
    // All weights as they were stored, by OpenBLAS: the reference is too slow for so many features.
    dense::forward(Isa::detect(), &mut want, &inputs.dense.blocks, &S::values(&w, k), k);
    assert_finite("want", &want);
    let entries = inputs.batch.targets.nnz();
    for (isa, name) in runnable(<S as spmm::Kernels>::kernels()).filter(|(isa, _)| inputs.shows(*isa)) {
        let mut out = inputs.hidden();
        forward::<S>(isa, &mut out, &inputs.batch, &w, k);
        assert_close(name, &out, &want, 1e-4, 2000);
        let cost = inputs.sparse(2, inputs.wide::<S>() + inputs.narrow() + 8 * entries);
        report.measure(c, inputs.row("spmm", isa, name, cost), || {
            forward::<S>(isa, black_box(&mut out), &inputs.batch, &w, k);
        });
    }
}

fn bench_sddmm<S: Benched>(c: &mut Criterion, report: &mut Report, inputs: &Inputs) {
    let (k, batch) = (inputs.k, &inputs.batch);
    let w = stored::<S>(&inputs.rows[0], k);
    let head = inputs.head.targets_of(0..HEAD);
    let mut want = vec![f32::NAN; head.nnz()];
    let head_w = &w[..HEAD * S::row_words(k)];
    sddmm::sddmm::<S>(Isa::Reference, &mut want, head, &inputs.d, head_w, &inputs.bias[..HEAD], k);
    assert_finite("want", &want);
    let mut y = vec![f32::NAN; batch.targets.nnz()];
    for (isa, name) in runnable(<S as sddmm::Kernels>::kernels()).filter(|(isa, _)| inputs.shows(*isa)) {
        let targets = batch.targets_of(0..batch.n_features());
        let run = |y: &mut [f32]| sddmm::sddmm::<S>(isa, y, targets, &inputs.d, &w, &inputs.bias, k);
        run(&mut y);
        assert_close(name, &y[..want.len()], &want, 1e-6, k);
        let cost = inputs.sparse(2, inputs.wide::<S>() + inputs.narrow() + 8 * y.len());
        report.measure(c, inputs.row("sddmm", isa, name, cost), || run(black_box(&mut y)));
    }
}

/// The whole decoder's step on `batch`; `dd` is overwritten. Returns the sum of the losses.
fn decode<S: Benched>(
    isa: Isa,
    dd: &mut [f32],
    layer: &mut Layer<S>,
    batch: &Minibatch,
    d_rows: &[S::Word],
    scratch: &mut [f32],
    inputs: &Inputs,
) -> f64 {
    let (k, adam, loss) = (inputs.k, &inputs.adam, EntryLoss::MaskedSquare);
    let scale = 1.0 / batch.targets.nnz() as f32;
    let (mut sum, mut rest) = (0.0, layer.view());
    for (block, (features, by_sample)) in blocks(batch).enumerate() {
        let (layer, others) = rest.split_at(features.len(), k);
        rest = others;
        let read = Batch { targets: batch.targets_of(features), by_sample, d: &inputs.d, d_rows };
        sum += decoder_step::<S>(isa, dd, layer, read, scratch, k, scale, adam, loss, block > 0);
    }
    sum
}

fn decoder_scratch(batch: &Minibatch, k: usize) -> Vec<f32> {
    let len = |(features, x): (Range<usize>, late_fast_kernels::CsrView<'_>)| {
        scratch_len(batch.n_samples(), features.len(), x.nnz(), k)
    };
    vec![f32::NAN; blocks(batch).map(len).max().unwrap_or(0)]
}

fn bench_decoder<S: Benched>(c: &mut Criterion, report: &mut Report, inputs: &Inputs) {
    let (k, batch, d_rows) = (inputs.k, &inputs.batch, inputs.d_as::<S>());
    let mut scratch = decoder_scratch(batch, k);
    let mut check = |isa: Isa| {
        let (mut layer, mut dd) = (Layer::<S>::new(inputs, HEAD), inputs.hidden());
        let loss = decode(isa, &mut dd, &mut layer, &inputs.head, &d_rows, &mut scratch, inputs);
        (layer, dd, loss)
    };
    let (want, want_dd, want_loss) = check(Isa::Reference);
    assert_finite("want", &want_dd);
    for (isa, name) in runnable(<S as decoder::Kernels>::kernels()).filter(|(isa, _)| inputs.shows(*isa)) {
        let (layer, dd, loss) = check(isa);
        for (got, want) in layer.rows.iter().zip(&want.rows) {
            S::assert_close(name, got, want, k, 1e-6, k);
        }
        for (got, want) in layer.biases.iter().zip(&want.biases) {
            assert_close(name, got, want, 1e-6, k);
        }
        assert_close(name, &dd, &want_dd, 1e-6, k);
        assert!((loss - want_loss).abs() < 1e-5 * want_loss, "{name}: loss {loss}, want {want_loss}");
        let (mut layer, mut dd) = (Layer::<S>::new(inputs, batch.n_features()), inputs.hidden());
        let mut scratch = decoder_scratch(batch, k);
        let bytes = 6 * inputs.wide::<S>() + 2 * inputs.narrow() + 12 * batch.targets.nnz();
        let row = inputs.row("decoder_step", isa, name, inputs.sparse(6, bytes));
        report.measure(c, row, || {
            decode(isa, black_box(&mut dd), &mut layer, batch, &d_rows, &mut scratch, inputs);
        });
    }
}

fn bench_encoder<S: Benched>(c: &mut Criterion, report: &mut Report, inputs: &Inputs) {
    let (k, batch, dh) = (inputs.k, &inputs.batch, inputs.d_as::<S>());
    let step = |isa: Isa, layer: &mut Layer<S>, batch: &Minibatch| {
        let xt = batch.inputs_of(0..batch.n_features());
        encoder_step::<S>(isa, layer.view().weights, xt, &dh, k, &inputs.adam);
    };
    let check = |isa: Isa| {
        let mut layer = Layer::<S>::new(inputs, HEAD);
        step(isa, &mut layer, &inputs.head);
        layer
    };
    let want = check(Isa::Reference);
    for (isa, name) in runnable(<S as encoder::Kernels>::kernels()).filter(|(isa, _)| inputs.shows(*isa)) {
        for (got, want) in check(isa).rows.iter().zip(&want.rows) {
            S::assert_close(name, got, want, k, 1e-6, 300);
        }
        let mut layer = Layer::<S>::new(inputs, batch.n_features());
        let bytes = 6 * inputs.wide::<S>() + inputs.narrow() + 8 * batch.targets.nnz();
        let row = inputs.row("encoder_step", isa, name, inputs.sparse(2, bytes));
        report.measure(c, row, || step(isa, black_box(&mut layer), batch));
    }
}

/// The same from dense products; that they agree with the sparse kernels is checked on all features.
fn bench_dense(c: &mut Criterion, report: &mut Report, inputs: &Inputs) {
    let (isa, name, k, batch) = (Isa::detect(), "dense_openblas", inputs.k, &inputs.batch);
    let (blocks, d, adam) = (&inputs.dense.blocks[..], &inputs.d[..], &inputs.adam);
    let (wide, narrow) = (inputs.wide::<F32>(), inputs.narrow());
    let (mut scratch, mut out) = (inputs.scratch(), inputs.hidden());
    let row =
        |bench, flops, dense, bytes| inputs.row(bench, isa, name, inputs.dense_cost(flops, dense, bytes));
    let mut layer = Layer::<F32>::new(inputs, batch.n_features());

    let w = &layer.rows[0];
    let cost = row("spmm", 2, 1, wide + narrow);
    report.measure(c, cost, || dense::forward(isa, black_box(&mut out), blocks, w, k));
    let cost = row("sddmm", 2, 1, wide + narrow);
    report.measure(c, cost, || dense::all_outputs(isa, blocks, d, w, &inputs.bias, k, &mut scratch));

    let scale = 1.0 / batch.targets.nnz() as f32;
    let decode_dense = |dd: &mut [f32], layer: &mut Layer<F32>, scratch: &mut Scratch| {
        dense::decoder_step(isa, dd, layer.view(), blocks, d, k, scale, adam, scratch)
    };
    let mut sparse = Layer::<F32>::new(inputs, batch.n_features());
    let (mut dd, mut own_scratch) = (inputs.hidden(), decoder_scratch(batch, k));
    let loss = decode::<F32>(isa, &mut dd, &mut sparse, batch, d, &mut own_scratch, inputs);
    let dense_loss = decode_dense(&mut out, &mut layer, &mut scratch);
    assert!((loss - dense_loss).abs() < 1e-4 * loss, "loss {loss}, from dense products {dense_loss}");
    assert_close("dd", &dd, &out, 1e-6, k);
    for (got, want) in sparse.rows.iter().zip(&layer.rows) {
        assert_close("decoder_step", got, want, 1e-6, k);
    }
    drop(sparse);
    let cost = row("decoder_step", 6, 1, 6 * wide + 2 * narrow);
    report.measure(c, cost, || {
        decode_dense(black_box(&mut out), &mut layer, &mut scratch);
    });
    let cost = row("encoder_step", 2, 1, 6 * wide + narrow);
    report.measure(c, cost, || {
        dense::encoder_step(isa, layer.view().weights, blocks, d, k, adam, &mut scratch);
    });
}

/// Adam on rows whose gradient is there: 28 bytes a value.
fn bench_adam_rows<S: Benched>(c: &mut Criterion, report: &mut Report, inputs: &Inputs) {
    let (k, n_features) = (inputs.k, inputs.batch.n_features());
    let g = Aligned::new(&inputs.rows[1]);
    let check = |isa: Isa| {
        let mut layer = Layer::<S>::new(inputs, HEAD);
        adam_rows::<S>(isa, layer.view().weights, &g[..HEAD * k], k, &inputs.adam);
        layer
    };
    let want = check(Isa::Reference);
    for (isa, name) in runnable(<S as RowKernels>::kernels()).filter(|(isa, _)| inputs.shows(*isa)) {
        for (got, want) in check(isa).rows.iter().zip(&want.rows) {
            S::assert_close(name, got, want, k, 1e-6, 16);
        }
        let mut layer = Layer::<S>::new(inputs, n_features);
        let bytes = 6 * inputs.wide::<S>() + g.len() * size_of::<f32>();
        let row = inputs.row("adam_rows", isa, name, Cost { nnz: g.len(), flops: 0, bytes });
        report.measure(c, row, || adam_rows::<S>(isa, layer.view().weights, &g, k, &inputs.adam));
    }
}

/// What happens on arrays in L2 and L3, in values per second. Equality with the reference is for the tests of the
/// kernels; here outputs need only be finite.
fn bench_elementwise(c: &mut Criterion, report: &mut Report) {
    let rng = &mut Rng::new(2);
    let (n_samples, k) = if is_test() { (37, TEST_HIDDEN) } else { (256, HIDDEN) };
    let len = n_samples * k;
    let shape = format!("{n_samples}x{k}");
    let row = |isa, name: &str, floats: usize| Row {
        bench: "elementwise",
        name: name.to_owned(),
        shape: shape.clone(),
        isa,
        threads: 1,
        cost: Cost { nnz: len, flops: 0, bytes: floats * len * size_of::<f32>() },
    };
    let [mut w, mut m, mut v] = [-1.0, -0.1, 0.0].map(|low| Aligned::new(&rng.vec(len, low, 1.0)));
    let g = Aligned::new(&rng.vec(len, -1.0, 1.0));
    let coefficients = Adam::at_step(1e-4, 0.9, 0.999, 1e-8, 10);
    for (isa, name) in runnable(adam::KERNELS) {
        report.measure(c, row(isa, name, 7), || adam::adam(isa, &mut w, &mut m, &mut v, &g, &coefficients));
    }
    assert_finite("adam", &w);

    let mut h = Aligned::new(&rng.vec(len, -1.0, 1.0));
    let (bias, mut out) = (rng.vec(k, -1.0, 1.0), vec![0.0; k]);
    let keys: Vec<u64> = (0..n_samples as u64).map(|sample| row_key(1, 0, 0, sample)).collect();
    for (isa, name) in runnable(activation::BIAS_RELU_DROPOUT_KERNELS) {
        report.measure(c, row(isa, name, 2), || {
            // Kept nearly at 1, but the keys are hashed: a smaller share would grow the values without end.
            activation::bias_relu_dropout(isa, &mut h, &bias, 0.9999, Some(&keys));
        });
    }
    let mut h = Aligned::new(&rng.vec(len, -1.0, 1.0));
    let units: Vec<u32> = (0..).take(len).collect();
    for (isa, name) in runnable(DROP_UNITS_KERNELS) {
        // Kept at 1, for the same reason.
        report.measure(c, row(isa, name, 3), || drop_units(isa, &mut h, &units, 1.0, 7));
    }
    let mut dh = Aligned::new(&h);
    for (isa, name) in runnable(activation::RELU_DROPOUT_BACKWARD_KERNELS) {
        report.measure(c, row(isa, name, 3), || activation::relu_dropout_backward(isa, &mut dh, &h, 1.0));
    }
    for (isa, name) in runnable(activation::COLUMN_SUMS_KERNELS) {
        report.measure(c, row(isa, name, 1), || activation::column_sums(isa, &mut out, &h));
    }
    assert_finite("column_sums", &out);
}

fn bench_storage<S: Benched>(c: &mut Criterion, report: &mut Report, inputs: &Inputs) {
    bench_spmm::<S>(c, report, inputs);
    bench_sddmm::<S>(c, report, inputs);
    bench_decoder::<S>(c, report, inputs);
    bench_encoder::<S>(c, report, inputs);
    bench_adam_rows::<S>(c, report, inputs);
}

fn kernels(c: &mut Criterion) {
    flush_denormals();
    blas_single_thread();
    let shapes: &[&[Shape]] = match (is_test(), all()) {
        (true, _) => &[&[TEST]],
        (false, true) => &[&SHAPES, &LARGE_SHAPES],
        (false, false) => &[&SHAPES],
    };
    let mut report = Report::default();
    for &shape in shapes.iter().copied().flatten() {
        let inputs = Inputs::new(shape);
        bench_storage::<F32>(c, &mut report, &inputs);
        bench_storage::<Bf16>(c, &mut report, &inputs);
        bench_dense(c, &mut report, &inputs);
    }
    bench_elementwise(c, &mut report);
    report.finish();
}

criterion_group! {
    name = benches;
    config = common::record::criterion();
    targets = kernels
}
criterion_main!(benches);
