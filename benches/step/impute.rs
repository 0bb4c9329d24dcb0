//! The dense product of imputation, `relu(d w^T + bias)` for all features, halves of them on each thread.

use criterion::Criterion;
use late_fast::model::{Architecture, Network, OutputLayer, Products};
use late_fast::parallel::{self, with_threads};
use late_fast_kernels::gemm_bf16::{pack_right, panel_words, relu_affine};
use late_fast_kernels::paired::{pack_rows, words};
use late_fast_kernels::testing::{Aligned, AlignedWords, Rng, assert_close};
use late_fast_kernels::{DenseView, DenseViewMut, Isa};

use crate::common::dense;
use crate::common::is_test;
use crate::common::record::{Cost, Iteration, Report, Row};

/// Half of the features.
struct Half {
    w: Aligned,
    panels: AlignedWords,
    bias: Vec<f32>,
    y: Aligned,
}

pub(crate) fn bench_impute(c: &mut Criterion, report: &mut Report) {
    let (n_samples, n_features, k) = if is_test() { (24, 300, 72) } else { (256, 20_000, 800) };
    let rng = &mut Rng::new(1);
    let mut halves = [0, 1].map(|_| {
        let n = n_features / 2;
        let w = Aligned::new(&rng.vec(n * k, -0.05, 0.05));
        let mut panels = AlignedWords::zeros(panel_words(k, n));
        pack_right(Isa::detect(), &mut panels, DenseView::new(&w, n, k).transposed());
        let y = Aligned::new(&vec![0.0; n_samples * n]);
        Half { w, panels, bias: rng.vec(n, 0.0, 0.5), y }
    });
    let d = Aligned::new(&rng.vec(n_samples * k, -1.0, 1.0));
    let mut packed = AlignedWords::zeros(n_samples * words(k));
    pack_rows(Isa::detect(), &mut packed, &d, n_samples, k);

    let elements = n_samples * n_features;
    let row = |name: &str, isa, threads, value| Row {
        bench: "impute",
        name: name.to_owned(),
        shape: format!("{n_samples}x{n_features}"),
        isa,
        threads,
        cost: Cost {
            nnz: elements,
            flops: 2 * elements * k,
            bytes: value * (n_features + n_samples) * k + 4 * elements,
        },
    };
    let openblas = |half: &mut Half| {
        dense::outputs(Isa::detect(), &mut half.y, &d, &half.w, &half.bias, k);
    };
    for threads in [1, 2] {
        let row = row("dense_openblas", Isa::detect(), threads, 4);
        report.measure_with(c, row, |n| iterate(threads, n, &mut halves, openblas));
    }
    // As `impute` computes it: blocks of 256 features dealt to the threads.
    let mut network = Network::zeros(Architecture { n_features, hidden: vec![k, 8] }).unwrap();
    for (half, w) in halves.iter().zip(network.decoder.weight.value.chunks_mut(n_features / 2 * k)) {
        w.copy_from_slice(&half.w);
    }
    for threads in [1, 2] {
        report.measure_with(c, row("late_fast_f32", Isa::detect(), threads, 4), |n| {
            let features: Vec<u32> = (0..).take(n_features).collect();
            let layer = OutputLayer::new(&network, &features, Isa::detect(), Products::F32).unwrap();
            let input = layer.input(&d);
            with_threads(threads, || {
                let blocks = || {
                    let blocks = parallel::tiles(n_features, 256);
                    std::hint::black_box(parallel::map(blocks, |features| layer.output(&input, features)));
                };
                (0..n).map(|_| Iteration::timed(blocks)).collect()
            })
            .unwrap()
        });
    }
    if !Isa::Amx.is_available() {
        println!("SKIPPED relu_affine on AMX");
        return;
    }
    let amx = |half: &mut Half| {
        let y = DenseViewMut::new(&mut half.y, n_samples, half.bias.len());
        relu_affine(Isa::Amx, y, &packed, &half.panels, &half.bias, k);
    };
    openblas(&mut halves[0]);
    let want = halves[0].y.clone();
    amx(&mut halves[0]);
    // Rounding the factors to bf16: ten standard deviations, as there are millions of outputs.
    assert_close("relu_affine", &halves[0].y, &want, 0.004 * 0.05 * (k as f64).sqrt(), 0);
    for threads in [1, 2] {
        report.measure_with(c, row("late_fast_bf16", Isa::Amx, threads, 2), |n| {
            iterate(threads, n, &mut halves, amx)
        });
    }
}

fn iterate(threads: usize, n: u64, halves: &mut [Half], work: impl Fn(&mut Half) + Sync) -> Vec<Iteration> {
    with_threads(threads, || {
        let mut both = || {
            parallel::map(halves.iter_mut().collect(), &work);
        };
        (0..n).map(|_| Iteration::timed(&mut both)).collect()
    })
    .unwrap()
}
