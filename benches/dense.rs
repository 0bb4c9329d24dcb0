//! Dense products with bf16 factors beside OpenBLAS's sgemm: all outputs of the default network when imputing, and its
//! middle layers; the wide layers' operations beside their sparse forms. Results are checked before they are timed; the throughput is floating-point operations per second.
//!
//! `cargo bench --bench dense -- impute` picks some.

#[path = "dense/wide.rs"]
mod wide;

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use late_fast_kernels::gemm::{blas_single_thread, gemm};
use late_fast_kernels::gemm_bf16::{
    PACK_LEFT_KERNELS, PACK_RIGHT_KERNELS, gemm_bf16, gemm_packed, pack_left, pack_right, panel_words,
    relu_affine, scratch_words,
};
use late_fast_kernels::paired::{PACK_KERNELS, UNPACK_KERNELS, pack_rows, unpack_rows, words};
use late_fast_kernels::testing::{Aligned, AlignedWords, Rng, assert_close, runnable};
use late_fast_kernels::{DenseView, DenseViewMut, Isa};

/// Samples of a minibatch.
const SAMPLES: usize = 256;
/// Hidden units next to the genes, and in the middle.
const WIDE: usize = 800;
const MIDDLE: usize = 400;
const FEATURES: usize = 20_000;

fn group<'a>(c: &'a mut Criterion, name: &str, elements: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(elements as u64));
    group
}

/// Rounding the factors to bf16: ten standard deviations, as 10 million outputs are compared.
fn tolerance(k: usize, largest: f64) -> f64 {
    0.004 * largest * (k as f64).sqrt()
}

/// Half of the features, with what they give.
struct Half {
    w: Aligned,
    panels: AlignedWords,
    bias: Vec<f32>,
    y: Aligned,
}

impl Half {
    fn new(rng: &mut Rng) -> Self {
        let n = FEATURES / 2;
        let w = Aligned::new(&rng.vec(n * WIDE, -0.05, 0.05));
        let mut panels = AlignedWords::zeros(panel_words(WIDE, n));
        pack_right(Isa::detect(), &mut panels, DenseView::new(&w, n, WIDE).transposed());
        Self { w, panels, bias: rng.vec(n, 0.0, 0.5), y: Aligned::new(&vec![0.0; SAMPLES * n]) }
    }

    fn amx(&mut self, d: &[u32]) {
        let y = DenseViewMut::new(&mut self.y, SAMPLES, self.bias.len());
        relu_affine(Isa::Amx, y, d, &self.panels, &self.bias, WIDE);
    }

    fn openblas(&mut self, d: &[f32]) {
        let n = self.bias.len();
        let wt = DenseView::new(&self.w, n, WIDE).transposed();
        let d = DenseView::new(d, SAMPLES, WIDE);
        gemm(Isa::Portable, DenseViewMut::new(&mut self.y, SAMPLES, n), d, wt, 0.0);
        for row in self.y.chunks_exact_mut(n) {
            for (y, bias) in row.iter_mut().zip(&self.bias) {
                *y = (*y + bias).max(0.0);
            }
        }
    }
}

/// `y = relu(d · wᵀ + bias)` with packed weights, the features as two halves: one after the other, and on two threads.
fn bench_impute(c: &mut Criterion) {
    let rng = &mut Rng::new(1);
    let mut halves = [Half::new(rng), Half::new(rng)];
    let d = Aligned::new(&rng.vec(SAMPLES * WIDE, -1.0, 1.0));
    let mut packed = AlignedWords::zeros(SAMPLES * words(WIDE));
    pack_rows(Isa::detect(), &mut packed, &d, SAMPLES, WIDE);
    let (d, packed) = (&d[..], &packed[..]);
    let mut group = group(c, "impute_256x800x20000", 2 * SAMPLES * WIDE * FEATURES);
    group.bench_function("openblas/1", |b| b.iter(|| halves.iter_mut().for_each(|half| half.openblas(d))));
    group.bench_function("openblas/2", |b| {
        b.iter(|| {
            std::thread::scope(|scope| {
                for half in &mut halves {
                    scope.spawn(|| half.openblas(d));
                }
            });
        });
    });
    if !Isa::Amx.is_available() {
        println!("SKIPPED relu_affine on AMX");
        return;
    }
    halves[0].openblas(d);
    let want = halves[0].y.clone();
    halves[0].amx(packed);
    assert_close("relu_affine", &halves[0].y, &want, tolerance(WIDE, 0.05), 0);
    group.bench_function("gemm_bf16__amx/1", |b| {
        b.iter(|| halves.iter_mut().for_each(|half| half.amx(packed)))
    });
    group.bench_function("gemm_bf16__amx/2", |b| {
        b.iter(|| {
            std::thread::scope(|scope| {
                for half in &mut halves {
                    scope.spawn(|| half.amx(packed));
                }
            });
        });
    });
}

/// One product: a · b, and beside OpenBLAS the one that packs both factors and the one that finds them packed.
fn bench_product(c: &mut Criterion, name: &str, a: DenseView<'_>, b: DenseView<'_>) {
    let (m, n, k) = (a.n_rows(), b.n_cols(), a.n_cols());
    let mut group = group(c, name, 2 * m * n * k);
    let (mut want, mut got) = (Aligned::new(&vec![0.0; m * n]), Aligned::new(&vec![0.0; m * n]));
    gemm(Isa::Portable, DenseViewMut::new(&mut want, m, n), a, b, 0.0);
    group.bench_function("openblas", |bench| {
        bench.iter(|| gemm(Isa::Portable, DenseViewMut::new(black_box(&mut want), m, n), a, b, 0.0));
    });
    if !Isa::Amx.is_available() {
        println!("SKIPPED {name} on AMX");
        return;
    }
    let mut scratch = vec![0; scratch_words(m, n, k)];
    let mut run = |c: &mut [f32]| gemm_bf16(Isa::Amx, DenseViewMut::new(c, m, n), a, b, 0.0, &mut scratch);
    run(&mut got);
    assert_close(name, &got, &want, tolerance(k, 1.0), 0);
    group.bench_function("gemm_bf16__amx", |bench| bench.iter(|| run(black_box(&mut got))));
    let mut left = AlignedWords::zeros(m * words(k));
    let mut right = AlignedWords::zeros(panel_words(k, n));
    pack_left(Isa::Amx, &mut left, a);
    pack_right(Isa::Amx, &mut right, b);
    group.bench_function("gemm_bf16__amx/packed", |bench| {
        bench.iter(|| {
            gemm_packed(Isa::Amx, DenseViewMut::new(black_box(&mut got), m, n), &left, &right, k, false);
        });
    });
}

/// Forward, gradient of the input, gradient of the weights between 800 and 400 units.
fn bench_middle(c: &mut Criterion) {
    let rng = &mut Rng::new(2);
    let [x, dy, w] =
        [SAMPLES * WIDE, SAMPLES * MIDDLE, WIDE * MIDDLE].map(|len| Aligned::new(&rng.vec(len, -1.0, 1.0)));
    let x = DenseView::new(&x, SAMPLES, WIDE);
    let dy = DenseView::new(&dy, SAMPLES, MIDDLE);
    let w = DenseView::new(&w, WIDE, MIDDLE);
    bench_product(c, "forward_256x400x800", x, w);
    bench_product(c, "dx_256x800x400", dy, w.transposed());
    bench_product(c, "dw_800x400x256", x.transposed(), dy);
}

/// What packing costs, in values per second.
fn bench_packing(c: &mut Criterion) {
    let rng = &mut Rng::new(3);
    let mut x = Aligned::new(&rng.vec(SAMPLES * WIDE, -1.0, 1.0));
    let mut rows = AlignedWords::zeros(SAMPLES * words(WIDE));
    let mut group = group(c, "packing", x.len());
    for (isa, name) in runnable(PACK_KERNELS) {
        group.bench_function(name, |b| b.iter(|| pack_rows(isa, black_box(&mut rows), &x, SAMPLES, WIDE)));
    }
    let view = DenseView::new(&x, SAMPLES, WIDE);
    for (stored, left, right) in [
        ("rows", view, view.transposed()),
        ("transposed", DenseView::new(&x, WIDE, SAMPLES).transposed(), DenseView::new(&x, WIDE, SAMPLES)),
    ] {
        for (isa, name) in runnable(PACK_LEFT_KERNELS) {
            group.bench_function(format!("{name}/{stored}"), |b| {
                b.iter(|| pack_left(isa, black_box(&mut rows), left));
            });
        }
        let mut panels = AlignedWords::zeros(panel_words(WIDE, SAMPLES));
        for (isa, name) in runnable(PACK_RIGHT_KERNELS) {
            group.bench_function(format!("{name}/{stored}"), |b| {
                b.iter(|| pack_right(isa, black_box(&mut panels), right));
            });
        }
    }
    pack_rows(Isa::detect(), &mut rows, &x, SAMPLES, WIDE);
    for (isa, name) in runnable(UNPACK_KERNELS) {
        group.bench_function(name, |b| b.iter(|| unpack_rows(isa, black_box(&mut x), &rows, SAMPLES, WIDE)));
    }
}

fn dense(c: &mut Criterion) {
    blas_single_thread();
    bench_impute(c);
    bench_middle(c);
    bench_packing(c);
    wide::bench(c);
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
}

criterion_group! {
    name = benches;
    config = short();
    targets = dense
}
criterion_main!(benches);
