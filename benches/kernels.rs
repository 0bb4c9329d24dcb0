//! Every kernel on every instruction set, on one thread, beside dense OpenBLAS; results are checked before they
//! are timed. Throughput is stored entries per second (values per second for the dense rows of `elementwise`).
//!
//! `cargo bench --bench kernels -- 'decoder_step/256x20000'` picks some; `LATE_FAST_BENCH=all` adds the large
//! minibatches and the slow rows (reference and portable kernels beyond the smallest shape).

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use late_fast_kernels::decoder::{EntryLoss, WideLayerMut, decoder_step};
use late_fast_kernels::dropout::{DROP_UNITS_KERNELS, drop_units, row_key};
use late_fast_kernels::encoder::{WideWeightsMut, encoder_step};
use late_fast_kernels::gemm::{blas_single_thread, gemm};
use late_fast_kernels::testing::{Aligned, OwnedCsr, Rng, Spread, assert_close, runnable};
use late_fast_kernels::{
    Adam, DenseView, DenseViewMut, Isa, activation, adam, decoder, encoder, flush_denormals, sddmm, spmm,
};

/// Hidden units.
const K: usize = 800;
/// Features per block of the forward product.
const BLOCK: usize = 128;

/// Samples, features, density.
const SMALL: (usize, usize, f64) = (256, 949, 0.10);
const SHAPES: [(usize, usize, f64); 3] = [SMALL, (256, 20_000, 0.05), (256, 30_000, 0.03)];
const LARGE_SHAPES: [(usize, usize, f64); 3] =
    [(1024, 949, 0.10), (1024, 20_000, 0.05), (1024, 30_000, 0.03)];

fn all() -> bool {
    std::env::var("LATE_FAST_BENCH").is_ok_and(|value| value == "all")
}

/// A minibatch with skewed features, and a layer.
struct Inputs {
    name: String,
    small: bool,
    x: OwnedCsr,
    xt: OwnedCsr,
    blocks: Vec<OwnedCsr>,
    d: Aligned,
    w: Aligned,
    m: Aligned,
    v: Aligned,
    bias: Vec<f32>,
    adam: Adam,
}

impl Inputs {
    fn new((n_samples, n_features, density): (usize, usize, f64)) -> Self {
        let rng = &mut Rng::new(1);
        let x = OwnedCsr::random(n_samples, n_features, density, Spread::Skewed, rng);
        Self {
            name: format!("{n_samples}x{n_features}@{density}"),
            small: (n_samples, n_features, density) == SMALL,
            xt: x.transpose(),
            blocks: x.column_blocks(BLOCK),
            d: Aligned::new(&rng.vec(n_samples * K, -1.0, 1.0)),
            w: Aligned::new(&rng.vec(n_features * K, -0.05, 0.05)),
            m: Aligned::new(&rng.vec(n_features * K, -0.01, 0.01)),
            v: Aligned::new(&rng.vec(n_features * K, 1e-4, 1e-2)),
            bias: rng.vec(n_features, 0.2, 0.8),
            adam: Adam::at_step(1e-4, 0.9, 0.999, 1e-8, 10),
            x,
        }
    }

    fn hidden(&self) -> Aligned {
        Aligned::new(&vec![0.0; self.d.len()])
    }

    /// Whether the row is worth its time in a default run.
    fn shows(&self, isa: Isa) -> bool {
        self.small || isa >= Isa::Avx2 || (all() && isa == Isa::Portable)
    }

    /// The first features only, for checking against the slow reference.
    fn head(&self) -> usize {
        self.xt.n_rows.min(64)
    }
}

fn group<'a>(c: &'a mut Criterion, op: &str, nnz: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(op);
    group.throughput(Throughput::Elements(nnz as u64));
    group
}

fn forward(inputs: &Inputs, isa: Isa, out: &mut [f32]) {
    for (block, w) in inputs.blocks.iter().zip(inputs.w.chunks(BLOCK * K)) {
        spmm::spmm(isa, out, block.view(), w, K);
    }
}

fn bench_spmm(c: &mut Criterion, inputs: &Inputs) {
    let mut group = group(c, "spmm", inputs.x.indices.len());
    let mut want = inputs.hidden();
    dense_forward(inputs, &inputs.x.to_dense(), &mut want);
    for (isa, name) in runnable(spmm::KERNELS).filter(|(isa, _)| inputs.shows(*isa)) {
        let mut out = inputs.hidden();
        forward(inputs, isa, &mut out);
        assert_close(name, &out, &want, 1e-4, 2000);
        group.bench_function(BenchmarkId::new(name, &inputs.name), |b| {
            b.iter(|| forward(inputs, isa, black_box(&mut out)));
        });
    }
    let x = inputs.x.to_dense();
    group.bench_function(BenchmarkId::new("dense_openblas", &inputs.name), |b| {
        b.iter(|| dense_forward(inputs, &x, black_box(&mut want)));
    });
}

fn dense_forward(inputs: &Inputs, x: &[f32], out: &mut [f32]) {
    let (m, n) = (inputs.x.n_rows, inputs.x.n_cols);
    let out = DenseViewMut::new(out, m, K);
    gemm(Isa::detect(), out, DenseView::new(x, m, n), DenseView::new(&inputs.w, n, K), 0.0);
}

fn dense_outputs(inputs: &Inputs, y: &mut [f32]) {
    let (m, n) = (inputs.x.n_rows, inputs.x.n_cols);
    let wt = DenseView::new(&inputs.w, n, K).transposed();
    gemm(Isa::detect(), DenseViewMut::new(y, m, n), DenseView::new(&inputs.d, m, K), wt, 0.0);
}

fn bench_sddmm(c: &mut Criterion, inputs: &Inputs) {
    let mut group = group(c, "sddmm", inputs.x.indices.len());
    let mut y = vec![f32::NAN; inputs.xt.indices.len()];
    let head = inputs.xt.view().rows(0..inputs.head());
    let mut want = vec![f32::NAN; head.nnz()];
    let (w, bias) = (&inputs.w[..head.n_rows() * K], &inputs.bias[..head.n_rows()]);
    sddmm::sddmm(Isa::Reference, &mut want, head, &inputs.d, w, bias, K);
    for (isa, name) in runnable(sddmm::KERNELS).filter(|(isa, _)| inputs.shows(*isa)) {
        let run = |y: &mut [f32]| {
            sddmm::sddmm(isa, y, inputs.xt.view(), &inputs.d, &inputs.w, &inputs.bias, K);
        };
        run(&mut y);
        assert_close(name, &y[..want.len()], &want, 1e-6, K);
        group.bench_function(BenchmarkId::new(name, &inputs.name), |b| b.iter(|| run(black_box(&mut y))));
    }
    let mut dense = vec![0.0; inputs.x.n_rows * inputs.x.n_cols];
    group.bench_function(BenchmarkId::new("dense_openblas", &inputs.name), |b| {
        b.iter(|| dense_outputs(inputs, black_box(&mut dense)));
    });
}

/// Weights, moments and biases that a bench may change.
struct Layer([Aligned; 3], [Vec<f32>; 3]);

impl Layer {
    fn new(inputs: &Inputs) -> Self {
        let zeros = vec![0.0; inputs.bias.len()];
        Self(
            [inputs.w.clone(), inputs.m.clone(), inputs.v.clone()],
            [inputs.bias.clone(), zeros.clone(), zeros],
        )
    }

    fn view(&mut self) -> WideLayerMut<'_> {
        let Self([w, m, v], [bias, bias_m, bias_v]) = self;
        WideLayerMut { w, m, v, bias, bias_m, bias_v }
    }

    fn weights(&mut self) -> WideWeightsMut<'_> {
        let [w, m, v] = &mut self.0;
        WideWeightsMut { w, m, v }
    }
}

fn bench_decoder(c: &mut Criterion, inputs: &Inputs) {
    let mut group = group(c, "decoder_step", inputs.x.indices.len());
    let scale = 1.0 / inputs.x.indices.len() as f32;
    let head = inputs.head();
    let step = |isa: Isa, dd: &mut [f32], layer: WideLayerMut<'_>, features: usize| {
        let xt = inputs.xt.view().rows(0..features);
        decoder_step(isa, dd, layer, xt, &inputs.d, K, scale, &inputs.adam, EntryLoss::MaskedSquare)
    };
    let check = |isa: Isa| {
        let (mut layer, mut dd) = (Layer::new(inputs), inputs.hidden());
        step(isa, &mut dd, layer.view().split_at(head, K).0, head);
        (layer, dd)
    };
    let (want, want_dd) = check(Isa::Reference);
    for (isa, name) in runnable(decoder::KERNELS).filter(|(isa, _)| inputs.shows(*isa)) {
        let (mut layer, mut dd) = check(isa);
        assert_close(name, &layer.0[0][..head * K], &want.0[0][..head * K], 1e-6, K);
        assert_close(name, &dd, &want_dd, 1e-6, K);
        group.bench_function(BenchmarkId::new(name, &inputs.name), |b| {
            b.iter(|| step(isa, black_box(&mut dd), layer.view(), inputs.xt.n_rows));
        });
    }
    let mut layer = Layer::new(inputs);
    let (mut dd, mut dw) = (inputs.hidden(), Aligned::new(&inputs.w));
    let (mut y, x) = (vec![0.0; inputs.x.n_rows * inputs.x.n_cols], inputs.x.to_dense());
    group.bench_function(BenchmarkId::new("dense_openblas", &inputs.name), |b| {
        b.iter(|| dense_decoder(inputs, &mut layer, &mut dd, &mut dw, &mut y, &x));
    });
}

/// The same step with three dense products, the gradient at every element and Adam apart; biases left out.
fn dense_decoder(
    inputs: &Inputs,
    layer: &mut Layer,
    dd: &mut [f32],
    dw: &mut [f32],
    y: &mut [f32],
    x: &[f32],
) {
    let (n_samples, n_features, isa) = (inputs.x.n_rows, inputs.x.n_cols, Isa::detect());
    dense_outputs(inputs, y);
    let scale = 2.0 / inputs.x.indices.len() as f32;
    for (y, &x) in y.iter_mut().zip(x) {
        *y = if x > 0.0 && *y > 0.0 { scale * (*y - x) } else { 0.0 };
    }
    let (g, d) = (DenseView::new(y, n_samples, n_features), DenseView::new(&inputs.d, n_samples, K));
    gemm(isa, DenseViewMut::new(dd, n_samples, K), g, DenseView::new(&layer.0[0], n_features, K), 0.0);
    gemm(isa, DenseViewMut::new(dw, n_features, K), g.transposed(), d, 0.0);
    let [w, m, v] = &mut layer.0;
    adam::adam(isa, w, m, v, dw, &inputs.adam);
}

fn bench_encoder(c: &mut Criterion, inputs: &Inputs) {
    let mut group = group(c, "encoder_step", inputs.x.indices.len());
    let head = inputs.head();
    let step = |isa: Isa, layer: WideWeightsMut<'_>, features: usize| {
        encoder_step(isa, layer, inputs.xt.view().rows(0..features), &inputs.d, K, &inputs.adam);
    };
    let check = |isa: Isa| {
        let mut layer = Layer::new(inputs);
        step(isa, layer.weights().split_at(head, K).0, head);
        layer
    };
    let want = check(Isa::Reference);
    for (isa, name) in runnable(encoder::KERNELS).filter(|(isa, _)| inputs.shows(*isa)) {
        let mut layer = check(isa);
        assert_close(name, &layer.0[0][..head * K], &want.0[0][..head * K], 1e-6, 300);
        group.bench_function(BenchmarkId::new(name, &inputs.name), |b| {
            b.iter(|| step(isa, black_box(layer.weights()), inputs.xt.n_rows));
        });
    }
    let (mut layer, mut dw, x) = (Layer::new(inputs), Aligned::new(&inputs.w), inputs.x.to_dense());
    group.bench_function(BenchmarkId::new("dense_openblas", &inputs.name), |b| {
        b.iter(|| {
            let (m, n) = (inputs.x.n_rows, inputs.x.n_cols);
            let (xt, d) = (DenseView::new(&x, m, n).transposed(), DenseView::new(&inputs.d, m, K));
            gemm(Isa::detect(), DenseViewMut::new(&mut dw, n, K), xt, d, 0.0);
            let [w, m, v] = &mut layer.0;
            adam::adam(Isa::detect(), w, m, v, &dw, &inputs.adam);
        });
    });
}

/// Bandwidth-bound operations; 16 M values for Adam, as many as 20,000 features have weights.
fn bench_elementwise(c: &mut Criterion) {
    let rng = &mut Rng::new(2);
    let mut group = c.benchmark_group("elementwise");
    let len = if all() { 20_000 * K } else { 2000 * K };
    let [mut w, mut m, mut v] = [-1.0, -0.1, 0.0].map(|low| Aligned::new(&rng.vec(len, low, 1.0)));
    let g = Aligned::new(&rng.vec(len, -1.0, 1.0));
    let coefficients = Adam::at_step(1e-4, 0.9, 0.999, 1e-8, 10);
    group.throughput(Throughput::Elements(len as u64));
    for (isa, name) in runnable(adam::KERNELS) {
        group.bench_function(name, |b| b.iter(|| adam::adam(isa, &mut w, &mut m, &mut v, &g, &coefficients)));
    }

    let n_samples = 256;
    let mut h = Aligned::new(&rng.vec(n_samples * K, -1.0, 1.0));
    let (bias, mut out) = (rng.vec(K, -1.0, 1.0), vec![0.0; K]);
    let keys: Vec<u64> = (0..n_samples as u64).map(|sample| row_key(1, 0, 0, sample)).collect();
    group.throughput(Throughput::Elements(h.len() as u64));
    for (isa, name) in runnable(activation::BIAS_RELU_DROPOUT_KERNELS) {
        group.bench_function(name, |b| {
            b.iter(|| activation::bias_relu_dropout(isa, &mut h, &bias, 0.5, Some(&keys)));
        });
    }
    let units: Vec<u32> = (0..).take(h.len()).collect();
    for (isa, name) in runnable(DROP_UNITS_KERNELS) {
        // Kept at 1, as below.
        group.bench_function(name, |b| b.iter(|| drop_units(isa, &mut h, &units, 1.0, 7)));
    }
    let mut dh = Aligned::new(&h);
    for (isa, name) in runnable(activation::RELU_DROPOUT_BACKWARD_KERNELS) {
        // Kept at 1: a smaller share would grow the values without end.
        group.bench_function(name, |b| b.iter(|| activation::relu_dropout_backward(isa, &mut dh, &h, 1.0)));
    }
    for (isa, name) in runnable(activation::COLUMN_SUMS_KERNELS) {
        group.bench_function(name, |b| b.iter(|| activation::column_sums(isa, &mut out, &h)));
    }
}

fn kernels(c: &mut Criterion) {
    flush_denormals();
    blas_single_thread();
    let large: &[_] = if all() { &LARGE_SHAPES } else { &[] };
    for &shape in SHAPES.iter().chain(large) {
        let inputs = Inputs::new(shape);
        bench_spmm(c, &inputs);
        bench_sddmm(c, &inputs);
        bench_decoder(c, &inputs);
        bench_encoder(c, &inputs);
    }
    bench_elementwise(c);
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
}

criterion_group! {
    name = benches;
    config = short();
    targets = kernels
}
criterion_main!(benches);
