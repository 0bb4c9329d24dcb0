//! The wide layers' three operations in bf16, sparse and dense: half of the features on each of two threads, so that
//! the density at which the dense form wins can be read off. Throughput is outputs (features · samples) per second.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use late_fast_kernels::decoder::{Batch, EntryLoss, decoder_step, scratch_len};
use late_fast_kernels::dense_step::{
    DenseBatch, Hidden, decoder_step_dense, encoder_forward_dense, encoder_step_dense, hidden_words,
    pack_hidden, scratch_words,
};
use late_fast_kernels::encoder::encoder_step;
use late_fast_kernels::paired::{pack_rows, words};
use late_fast_kernels::spmm::spmm;
use late_fast_kernels::testing::{Aligned, AlignedWords, OwnedCsr, Rng, Spread, assert_close};
use late_fast_kernels::{Adam, Bf16, Isa, WideLayerMut, WideWeightsMut, flush_denormals};

const K: usize = super::WIDE;
/// Features of a call: sparse, dense.
const BLOCKS: [usize; 2] = [128, 256];
const SHAPES: [(usize, usize, f64); 4] =
    [(256, 949, 0.10), (256, 20_000, 0.05), (256, 30_000, 0.03), (1024, 20_000, 0.05)];

/// What the threads share.
struct Shared {
    d: Aligned,
    d_rows: AlignedWords,
    hidden: [AlignedWords; 2],
    adam: Adam,
}

/// What a thread has of its own.
struct Half {
    rows: [AlignedWords; 3],
    biases: [Vec<f32>; 3],
    xt: OwnedCsr,
    blocks: [Vec<OwnedCsr>; 2],
    dd: Aligned,
    scratch: AlignedWords,
    values: Vec<f32>,
}

fn random_rows(rng: &mut Rng, n_rows: usize, low: f32, high: f32) -> AlignedWords {
    let mut out = AlignedWords::zeros(n_rows * words(K));
    for row in out.chunks_exact_mut(words(K)) {
        pack_rows(Isa::detect(), row, &rng.vec(K, low, high), 1, K);
    }
    out
}

impl Shared {
    fn new(n_samples: usize, rng: &mut Rng) -> Self {
        let d = Aligned::new(&rng.vec(n_samples * K, -1.0, 1.0));
        let mut d_rows = AlignedWords::zeros(n_samples * words(K));
        pack_rows(Isa::detect(), &mut d_rows, &d, n_samples, K);
        let mut hidden = hidden_words(n_samples, K).map(AlignedWords::zeros);
        let [for_outputs, for_weights] = &mut hidden;
        pack_hidden(Isa::detect(), for_outputs, for_weights, &d, n_samples, K);
        Self { d, d_rows, hidden, adam: Adam::at_step(1e-4, 0.9, 0.999, 1e-8, 10) }
    }
}

impl Half {
    fn new(n_samples: usize, n_features: usize, density: f64, rng: &mut Rng) -> Self {
        let x = OwnedCsr::random(n_samples, n_features, density, Spread::Skewed, rng);
        let bounds = [(-0.05, 0.05), (-0.01, 0.01), (1e-4, 1e-2)];
        Self {
            rows: bounds.map(|(low, high)| random_rows(rng, n_features, low, high)),
            biases: [(0.2, 0.8), bounds[1], bounds[2]].map(|(low, high)| rng.vec(n_features, low, high)),
            xt: x.transpose(),
            blocks: BLOCKS.map(|width| x.column_blocks(width)),
            dd: Aligned::new(&vec![0.0; n_samples * K]),
            scratch: AlignedWords::zeros(scratch_words(n_samples, BLOCKS[1])),
            values: vec![0.0; scratch_len(n_samples, BLOCKS[0], n_samples * BLOCKS[0], K)],
        }
    }

    fn layer(&mut self) -> (WideLayerMut<'_, Bf16>, &OwnedCsr, &[Vec<OwnedCsr>; 2], Memory<'_>) {
        let ([w, m, v], [bias, bias_m, bias_v]) = (&mut self.rows, &mut self.biases);
        let layer = WideLayerMut { weights: WideWeightsMut { w, m, v, first: 0 }, bias, bias_m, bias_v };
        let memory = Memory { dd: &mut self.dd, scratch: &mut self.scratch, values: &mut self.values };
        (layer, &self.xt, &self.blocks, memory)
    }

    fn decoder(&mut self, isa: Isa, shared: &Shared, dense: bool) -> f64 {
        let (mut rest, xt, blocks, memory) = self.layer();
        let Shared { d, d_rows, hidden: [for_outputs, for_weights], adam } = shared;
        let (mut start, mut total) = (0, 0.0);
        for block in &blocks[usize::from(dense)] {
            let (head, end, loss) = (block.n_cols, start + block.n_cols, EntryLoss::MaskedSquare);
            let part;
            (part, rest) = rest.split_at(head, K);
            let targets = xt.view().rows(start..end);
            total += if dense {
                let batch = DenseBatch { targets, d: Hidden { for_outputs, for_weights } };
                decoder_step_dense(isa, memory.dd, part, batch, memory.scratch, K, 1e-4, adam, loss)
            } else {
                let batch = Batch::<Bf16> { targets, by_sample: block.view(), d, d_rows };
                decoder_step(isa, memory.dd, part, batch, memory.values, K, 1e-4, adam, loss, true)
            };
            start = end;
        }
        total
    }

    fn encoder_forward(&mut self, isa: Isa, dense: bool) {
        let (layer, _, blocks, memory) = self.layer();
        let width = BLOCKS[usize::from(dense)] * words(K);
        for (block, w) in blocks[usize::from(dense)].iter().zip(layer.weights.w.chunks(width)) {
            if dense {
                encoder_forward_dense(isa, memory.dd, block.view(), w, memory.scratch, K);
            } else {
                spmm::<Bf16>(isa, memory.dd, block.view(), w, K, true);
            }
        }
    }

    fn encoder_step(&mut self, isa: Isa, shared: &Shared, dense: bool) {
        let (layer, xt, blocks, memory) = self.layer();
        let (mut rest, mut start) = (layer.weights, 0);
        for block in &blocks[usize::from(dense)] {
            let end = start + block.n_cols;
            let part;
            (part, rest) = rest.split_at(block.n_cols, K);
            let xt = xt.view().rows(start..end);
            if dense {
                encoder_step_dense(isa, part, xt, &shared.hidden[1], memory.scratch, K, &shared.adam);
            } else {
                encoder_step::<Bf16>(isa, part, xt, &shared.d_rows, K, &shared.adam);
            }
            start = end;
        }
    }
}

/// What the operations write besides the layer.
struct Memory<'a> {
    dd: &'a mut [f32],
    scratch: &'a mut [u32],
    values: &'a mut [f32],
}

/// The time of `iterations` in all, in each of which all threads wait for the last one.
fn time(halves: &mut [Half], iterations: u64, run: impl Fn(&mut Half) + Sync) -> Duration {
    let barrier = &Barrier::new(halves.len());
    let run = &run;
    std::thread::scope(|scope| {
        let threads: Vec<_> = halves
            .iter_mut()
            .map(|half| {
                scope.spawn(move || {
                    flush_denormals();
                    barrier.wait();
                    let start = Instant::now();
                    for _ in 0..iterations {
                        run(half);
                        barrier.wait();
                    }
                    start.elapsed()
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).max().unwrap_or_default()
    })
}

fn check(half: &mut Half, shared: &Shared, isa: Isa) {
    let losses = [false, true].map(|dense| half.decoder(isa, shared, dense));
    assert!((losses[0] - losses[1]).abs() < 0.01 * losses[0], "losses of {losses:?}");
    let out = [false, true].map(|dense| {
        half.dd.fill(0.0);
        half.encoder_forward(isa, dense);
        half.dd.clone()
    });
    // Rounding x to bf16: the inputs are at most 1.5 and the weights 0.05, which a step of Adam changes little.
    assert_close("encoder_forward_dense", &out[1], &out[0], 0.05, 0);
}

pub(crate) fn bench(c: &mut Criterion) {
    let isa = Isa::detect();
    if !Isa::Amx.is_available() {
        println!("SKIPPED the dense forms of the wide layers on AMX");
        return;
    }
    for (n_samples, n_features, density) in SHAPES {
        let rng = &mut Rng::new(1);
        let shared = &Shared::new(n_samples, rng);
        let mut halves =
            [n_features / 2, n_features.div_ceil(2)].map(|n| Half::new(n_samples, n, density, rng));
        check(&mut halves[0], shared, isa);
        let shape = format!("{n_samples}x{n_features}@{density}");
        let mut group = super::group(c, "wide_bf16", n_samples * n_features);
        for (form, dense) in [("sparse", false), ("dense", true)] {
            group.bench_function(BenchmarkId::new(format!("decoder_step/{form}"), &shape), |b| {
                b.iter_custom(|n| time(&mut halves, n, |half| _ = half.decoder(isa, shared, dense)));
            });
            group.bench_function(BenchmarkId::new(format!("encoder_forward/{form}"), &shape), |b| {
                b.iter_custom(|n| time(&mut halves, n, |half| half.encoder_forward(isa, dense)));
            });
            group.bench_function(BenchmarkId::new(format!("encoder_step/{form}"), &shape), |b| {
                b.iter_custom(|n| time(&mut halves, n, |half| half.encoder_step(isa, shared, dense)));
            });
        }
    }
}
