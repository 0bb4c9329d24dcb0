//! The whole training step on one thread and on two, in f32 and bf16, for both orientations, beside the same step
//! from dense OpenBLAS products and beside what memory allows: one pass of Adam over the wide layers.
//!
//! `cargo bench --bench step -- 256x20000` picks some. Minibatches come from a store through the real gatherer, with
//! a fifth of the inputs dropped; every iteration takes another one. The parts of a step are rows of their own.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod common;
#[path = "step/dense_network.rs"]
mod dense_network;
#[path = "step/impute.rs"]
mod impute;
#[path = "step/ratios.rs"]
mod ratios;

use std::time::Instant;

use common::counts::Counts;
use common::dense::DenseBatch;
use common::is_test;
use common::record::{Cost, Iteration, Report, Row};
use criterion::{Criterion, criterion_group, criterion_main};
use dense_network::DenseNetwork;
use late_fast::config::KernelForm;
use late_fast::matrix::Major;
use late_fast::minibatch::{Builder, InputDropout, Minibatch, Purpose, Transform, shuffled_batches};
use late_fast::model::{
    Architecture, HiddenDropout, LossKind, Network, Precision, StepOptions, Tensor, Workspace,
};
use late_fast::parallel::{self, tiles, with_threads};
use late_fast::profile::{Phase, Profile};
use late_fast_kernels::adam::adam_rows;
use late_fast_kernels::{Adam, Bf16, F32, Isa, Storage, WideWeightsMut};

const THREADS: [usize; 2] = [2, 1];
/// Features of one call in the pass of Adam: their gradient stays in L2.
const ADAM_ROWS: usize = 64;
/// Steps before the loss is looked at.
const CHECKED_STEPS: usize = 3;

/// What is trained on.
#[derive(Clone, Copy)]
struct Shape {
    /// What a sample is.
    samples: Major,
    batch_size: usize,
    n_features: usize,
    density: f64,
    /// Different minibatches.
    batches: usize,
}

const fn cells(batch_size: usize, n_features: usize, density: f64, batches: usize) -> Shape {
    Shape { samples: Major::Cells, batch_size, n_features, density, batches }
}

const fn genes(batch_size: usize, n_features: usize, density: f64, batches: usize) -> Shape {
    Shape { samples: Major::Genes, batch_size, n_features, density, batches }
}

const TEST_SHAPES: [Shape; 2] = [cells(24, 300, 0.1, 2), genes(24, 300, 0.1, 2)];
const SHAPES: [Shape; 5] = [
    cells(256, 949, 0.10, 8),
    cells(256, 20_000, 0.05, 4),
    cells(256, 30_000, 0.03, 4),
    cells(1024, 20_000, 0.05, 2),
    genes(256, 10_000, 0.05, 4),
];

impl Shape {
    /// 256x20000@0.05; where genes are the samples, whose rates are skewed, genes:256x10000@0.05.
    fn name(self) -> String {
        let Self { samples, batch_size, n_features, density, .. } = self;
        let samples = if samples == Major::Genes { "genes:" } else { "" };
        format!("{samples}{batch_size}x{n_features}@{density}")
    }

    /// Minibatches as training gathers them, each from an epoch of its own.
    fn minibatches(self) -> Vec<Minibatch> {
        let n_samples = self.batch_size * self.batches;
        let (n_cells, n_genes) = match self.samples {
            Major::Cells => (n_samples, self.n_features),
            Major::Genes => (self.n_features, n_samples),
        };
        let dir = tempfile::tempdir().unwrap();
        let prepared = Counts::new((n_cells, n_genes, self.density), 0.0).store(dir.path());
        let store = prepared.with_rows(self.samples).unwrap();
        let features: Vec<u32> = (0..u32::try_from(self.n_features).unwrap()).collect();
        let samples: Vec<u32> = (0..u32::try_from(n_samples).unwrap()).collect();
        let mut builder =
            Builder::new(store, &features, self.n_features, Transform::Log10, None, Isa::detect());
        let row_nnz = &store.summary().row_nnz;
        let plan = shuffled_batches(&samples, row_nnz, u64::MAX, self.batch_size, 1, 0).batches;
        let build = |(epoch, samples): (u64, &Vec<u32>)| {
            let mut batch = Minibatch::default();
            let dropout = InputDropout { keep: 0.8, seed: 1, epoch };
            builder.build(samples, Purpose::Train(Some(dropout)), &mut batch).unwrap();
            batch
        };
        (0..).zip(&plan).map(build).collect()
    }
}

/// A shape with its minibatches, and the network that all rows start from.
struct Inputs {
    name: String,
    architecture: Architecture,
    batches: Vec<Minibatch>,
    options: StepOptions,
    /// Means over the minibatches.
    nnz: usize,
    inputs_nnz: usize,
}

impl Inputs {
    fn new(shape: Shape) -> Self {
        let batches = shape.minibatches();
        let hidden = if is_test() { vec![48, 24] } else { vec![800, 400] };
        let mean =
            |count: &dyn Fn(&Minibatch) -> usize| batches.iter().map(count).sum::<usize>() / batches.len();
        Self {
            name: shape.name(),
            architecture: Architecture { n_features: shape.n_features, hidden },
            nnz: mean(&|batch| batch.targets.nnz()),
            inputs_nnz: mean(&|batch| batch.inputs.iter().filter(|&&x| x != 0.0).count()),
            batches,
            options: StepOptions {
                isa: Isa::chosen().unwrap(),
                form: KernelForm::Auto,
                loss: LossKind::MaskedMse { n_columns: None },
                seed: 1,
                learning_rate: 1e-3,
                dropout: Some(HiddenDropout { keep: 0.5, seed: 1, epoch: 1 }),
            },
        }
    }

    fn network(&self) -> Network {
        Network::initialised(self.architecture.clone(), 1).unwrap()
    }

    fn n_samples(&self) -> usize {
        self.batches[0].n_samples()
    }

    fn row(&self, bench: &'static str, name: &str, threads: usize, cost: Cost) -> Row {
        Row { bench, name: name.to_owned(), shape: self.name.clone(), isa: self.options.isa, threads, cost }
    }

    /// Operations and bytes of the hidden layers' three products each and Adam.
    fn hidden_cost(&self) -> Cost {
        let widths = || self.architecture.hidden_widths();
        let weights: usize = widths().zip(widths().skip(1)).map(|(n_in, n_out)| n_in * n_out).sum();
        let activations: usize = widths().map(|width| self.n_samples() * width).sum();
        Cost { nnz: self.nnz, flops: 6 * self.n_samples() * weights, bytes: 24 * weights + 8 * activations }
    }

    /// Bytes of one wide array stored as `S`.
    fn wide<S: Storage>(&self) -> usize {
        self.architecture.n_features * S::row_words(self.architecture.wide()) * size_of::<S::Word>()
    }

    /// Of a sparse decoder (6 operations an entry) and encoder (2 forward, 2 back); weights and moments are read and
    /// written once, the encoder's weights read once more.
    fn sparse_cost<S: Storage>(&self, phase: Option<Phase>) -> Cost {
        let Self { nnz, inputs_nnz, .. } = *self;
        let (k, narrow) = (self.architecture.wide(), 4 * self.n_samples() * self.architecture.wide());
        let decoder = (6 * nnz * k, 6 * self.wide::<S>() + 2 * narrow + 12 * nnz);
        let forward = (2 * inputs_nnz * k, self.wide::<S>() + narrow + 8 * nnz);
        let backward = (2 * inputs_nnz * k, 6 * self.wide::<S>() + narrow + 8 * nnz);
        self.cost(decoder, forward, backward, phase)
    }

    /// Of dense products, 2 operations an element of the minibatch and hidden unit each.
    fn dense_cost(&self, phase: Option<Phase>) -> Cost {
        let (k, narrow) = (self.architecture.wide(), 4 * self.n_samples() * self.architecture.wide());
        let elements = self.n_samples() * self.architecture.n_features;
        let decoder = (6 * elements * k, 6 * self.wide::<F32>() + 2 * narrow + 4 * elements);
        let forward = (2 * elements * k, self.wide::<F32>() + narrow + 4 * elements);
        let backward = (2 * elements * k, 6 * self.wide::<F32>() + narrow + 4 * elements);
        self.cost(decoder, forward, backward, phase)
    }

    fn cost(
        &self,
        decoder: (usize, usize),
        forward: (usize, usize),
        backward: (usize, usize),
        phase: Option<Phase>,
    ) -> Cost {
        let hidden = self.hidden_cost();
        let (flops, bytes) = match phase {
            Some(Phase::Decoder) => decoder,
            Some(Phase::Encoder) => forward,
            Some(Phase::EncoderStep) => backward,
            // Forward and dx; dW and Adam.
            Some(Phase::Middle) => (hidden.flops / 3 * 2, hidden.bytes / 3),
            Some(_) => (hidden.flops / 3, hidden.bytes),
            None => (
                decoder.0 + forward.0 + backward.0 + hidden.flops,
                decoder.1 + forward.1 + backward.1 + hidden.bytes,
            ),
        };
        Cost { nnz: self.nnz, flops, bytes }
    }
}

/// The parts of a step: the bench that each is a row of.
const PARTS: [(Phase, &str); 5] = [
    (Phase::Encoder, "step_encoder_forward"),
    (Phase::Middle, "step_hidden"),
    (Phase::Decoder, "step_decoder_with_adam"),
    (Phase::EncoderStep, "step_encoder_backward_with_adam"),
    (Phase::Optimiser, "step_hidden_update"),
];

/// Times `step(which minibatch)`, which returns where its time went, and adds rows for its parts.
fn measure_step(
    c: &mut Criterion,
    report: &mut Report,
    inputs: &Inputs,
    (name, threads): (&str, usize),
    cost: impl Fn(Option<Phase>) -> Cost,
    mut step: impl FnMut(usize) -> Profile + Send,
) {
    let mut next = 0;
    let mut one = || {
        next = (next + 1) % inputs.batches.len();
        let start = Instant::now();
        let profile = step(next);
        Iteration { time: start.elapsed(), profile }
    };
    let row = inputs.row("step", name, threads, cost(None));
    let iterations =
        report.measure_with(c, row, |n| with_threads(threads, || (0..n).map(|_| one()).collect()).unwrap());
    for (phase, bench) in PARTS {
        let row = inputs.row(bench, name, threads, cost(Some(phase)));
        report.add(row, iterations.iter().map(|iteration| iteration.profile.of(phase)));
    }
}

/// Checks that the loss of the first minibatch falls, and returns what it was in the first steps.
fn checked_losses(name: &str, threads: usize, mut step: impl FnMut() -> f64 + Send) -> Vec<f64> {
    let losses: Vec<f64> = with_threads(threads, || (0..CHECKED_STEPS).map(|_| step()).collect()).unwrap();
    assert!(losses.iter().all(|loss| loss.is_finite()), "{name}: losses {losses:?}");
    assert!(losses[CHECKED_STEPS - 1] < losses[0], "{name}: losses {losses:?} do not fall");
    losses
}

/// The step of late-fast in a storage, and the pass of Adam over the same weights. Returns the first losses.
fn bench_storage<S: Precision>(
    c: &mut Criterion,
    report: &mut Report,
    inputs: &Inputs,
    [step_name, adam_name]: [&str; 2],
    threads: usize,
) -> Vec<f64> {
    let Inputs { batches, options, .. } = inputs;
    let mut network = Network::<S>::starting_from(inputs.network()).unwrap();
    let mut workspace = Workspace::<S>::default();
    let losses = checked_losses(step_name, threads, || {
        network.train_step(&mut workspace, &batches[0], options).unwrap().mean()
    });
    let cost = |phase| inputs.sparse_cost::<S>(phase);
    measure_step(c, report, inputs, (step_name, threads), cost, |next| {
        workspace.profile = Profile::default();
        network.train_step(&mut workspace, &batches[next], options).unwrap();
        workspace.profile
    });
    let last = with_threads(threads, || network.train_step(&mut workspace, &batches[0], options)).unwrap();
    assert!(last.unwrap().mean() <= losses[0], "{step_name}: the loss rose");

    let g = vec![1e-3; ADAM_ROWS * inputs.architecture.wide()];
    let values = 2 * inputs.architecture.n_features * inputs.architecture.wide();
    let cost = Cost { nnz: values, flops: 0, bytes: 12 * inputs.wide::<S>() };
    report.measure_with(c, inputs.row("step", adam_name, threads, cost), |n| {
        with_threads(threads, || {
            (0..n).map(|_| Iteration::timed(|| adam_pass(&mut network, &g, options))).collect()
        })
        .unwrap()
    });
    losses
}

/// Adam on all weights of both wide layers, their gradient being some rows that stay in the cache: what a step
/// cannot do without.
fn adam_pass<S: Precision>(network: &mut Network<S>, g: &[f32], options: &StepOptions) {
    network.steps += 1;
    let rate = f64::from(options.learning_rate);
    let adam = Adam::at_step(rate, 0.9, 0.999, 1e-8, network.steps);
    let k = network.architecture.wide();
    for Tensor { value, m, v } in [&mut network.encoder.weight, &mut network.decoder.weight] {
        let mut rest = WideWeightsMut { w: value, m, v, first: 0 };
        let n_features = network.architecture.n_features;
        let mut parts = Vec::new();
        for features in tiles(n_features, n_features.div_ceil(parallel::n_threads())) {
            let (part, others) = rest.split_at(features.len(), k);
            rest = others;
            parts.push(part);
        }
        parallel::map(parts, |mut part: WideWeightsMut<'_, S>| {
            while !part.w.is_empty() {
                let n = ADAM_ROWS.min(part.w.len() / S::row_words(k));
                let (rows, others) = part.split_at(n, k);
                adam_rows::<S>(options.isa, rows, &g[..n * k], k, &adam);
                part = others;
            }
        });
    }
}

/// The step from dense products. Returns the first losses.
fn bench_dense(c: &mut Criterion, report: &mut Report, inputs: &Inputs, threads: usize) -> Vec<f64> {
    let name = "dense_openblas";
    // Two are enough to be out of the caches.
    let batches: Vec<DenseBatch> =
        inputs.batches.iter().take(2).map(|batch| DenseBatch::new(batch, threads)).collect();
    let mut network = DenseNetwork::new(inputs.network(), inputs.n_samples(), threads);
    let losses = checked_losses(name, threads, || network.step(&batches[0], &inputs.options));
    measure_step(
        c,
        report,
        inputs,
        (name, threads),
        |phase| inputs.dense_cost(phase),
        |next| {
            network.profile = Profile::default();
            network.step(&batches[next % batches.len()], &inputs.options);
            network.profile
        },
    );
    losses
}

fn assert_same(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    let close = got.iter().zip(want).all(|(got, want)| (got - want).abs() <= tolerance * want);
    assert!(close, "{what}: losses {got:?}, of f32 {want:?}");
}

fn steps(c: &mut Criterion) {
    let shapes: &[Shape] = if is_test() { &TEST_SHAPES } else { &SHAPES };
    let mut report = Report::default();
    for &shape in shapes {
        let inputs = Inputs::new(shape);
        for threads in THREADS {
            let names = ["late_fast_f32", "adam_pass_f32"];
            let losses = bench_storage::<F32>(c, &mut report, &inputs, names, threads);
            let names = ["late_fast_bf16", "adam_pass_bf16"];
            let bf16 = bench_storage::<Bf16>(c, &mut report, &inputs, names, threads);
            assert_same("bf16", &bf16, &losses, 1e-2);
            let dense = bench_dense(c, &mut report, &inputs, threads);
            assert_same("dense products", &dense, &losses, 1e-3);
        }
    }
    impute::bench_impute(c, &mut report);
    report.finish();
    ratios::print(&report);
}

criterion_group! {
    name = benches;
    config = common::record::criterion();
    targets = steps
}
criterion_main!(benches);
