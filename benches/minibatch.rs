//! Gathering minibatches from a store, on one thread; throughput is observed entries per second.
//!
//! One iteration is 16 shuffled minibatches of 256 samples into the three buffers of the loader, with a tenth of the
//! entries held out. `counts` are stored as u16; `floats` are the same as f32; `reordered` genes are not in the
//! network's order, so rows must be sorted; with `genes` as samples every entry has a hold-out key of its own.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod common;

use std::hint::black_box;

use common::counts::Counts;
use common::record::{Cost, Report, Row};
use criterion::{Criterion, criterion_group, criterion_main};
use late_fast::matrix::Major;
use late_fast::minibatch::{Builder, Holdout, InputDropout, Minibatch, Purpose, Transform, shuffled_batches};
use late_fast::store::Store;
use late_fast_kernels::Isa;

/// Minibatches of one iteration.
const MINIBATCHES: usize = 16;
/// Cells, genes, density.
const LARGE: (usize, usize, f64) = (4096, 20_000, 0.05);
const SMALL: (usize, usize, f64) = (10_000, 949, 0.10);
const TEST: (usize, usize, f64) = (600, 300, 0.10);
const BATCH_SIZE: usize = 256;
const BUFFERS: usize = 3;
const HOLDOUT: Holdout = Holdout { share: 0.1, seed: 1 };
const DROPOUT: InputDropout = InputDropout { keep: 0.8, seed: 1, epoch: 0 };

/// Times minibatches of `store` whose column c is feature `features[c]`.
fn bench_store(
    c: &mut Criterion,
    report: &mut Report,
    name: &str,
    store: &Store,
    features: &[u32],
    dropout: Option<InputDropout>,
) {
    let samples: Vec<u32> = (0..u32::try_from(store.n_rows()).unwrap()).collect();
    let row_nnz = &store.summary().row_nnz;
    let mut plan = shuffled_batches(&samples, row_nnz, u64::MAX, BATCH_SIZE, 1, 0).batches;
    plan.truncate(MINIBATCHES);
    let nnz: u64 = plan.iter().flatten().map(|&sample| store.summary().row_nnz[sample as usize]).sum();
    let mut builder =
        Builder::new(store, features, features.len(), Transform::Log10, Some(HOLDOUT), Isa::detect());
    let mut buffers = vec![Minibatch::default(); BUFFERS];
    let dropped = if dropout.is_some() { "dropout" } else { "whole" };
    let row = Row {
        bench: "gather",
        name: format!("{name}_{dropped}"),
        shape: format!("{}x{}", store.n_rows(), store.n_cols()),
        isa: Isa::detect(),
        threads: 1,
        cost: Cost { nnz: usize::try_from(nnz).unwrap(), ..Cost::default() },
    };
    report.measure(c, row, || {
        let mut gathered = 0;
        for (number, samples) in plan.iter().enumerate() {
            let batch = black_box(&mut buffers[number % BUFFERS]);
            builder.build(samples, Purpose::Train(dropout), batch).unwrap();
            gathered += batch.targets.nnz() + batch.held_out.nnz();
        }
        assert_eq!(gathered as u64, nnz);
    });
}

fn gather(c: &mut Criterion) {
    let mut report = Report::default();
    let dir = tempfile::tempdir().unwrap();
    let shapes: &[_] = if common::is_test() { &[TEST] } else { &[LARGE, SMALL] };
    for &shape in shapes {
        let prepared = Counts::new(shape, 0.0).store(dir.path());
        let order: Vec<u32> = (0..u32::try_from(shape.1).unwrap()).collect();
        let store = prepared.with_rows(Major::Cells).unwrap();
        for dropout in [None, Some(DROPOUT)] {
            bench_store(c, &mut report, "counts", store, &order, dropout);
        }
        if shape != SMALL {
            let n_genes = u32::try_from(shape.1).unwrap();
            let shuffled: Vec<u32> = (0..n_genes).map(|column| column * 7919 % n_genes).collect();
            bench_store(c, &mut report, "reordered", store, &shuffled, Some(DROPOUT));
            let genes = prepared.with_rows(Major::Genes).unwrap();
            let cells: Vec<u32> = (0..u32::try_from(shape.0).unwrap()).collect();
            bench_store(c, &mut report, "genes", genes, &cells, Some(DROPOUT));
            let floats = Counts::new(shape, 0.5).store(dir.path());
            bench_store(
                c,
                &mut report,
                "floats",
                floats.with_rows(Major::Cells).unwrap(),
                &order,
                Some(DROPOUT),
            );
        }
    }
    report.finish();
}

criterion_group! {
    name = benches;
    config = common::record::criterion();
    targets = gather
}
criterion_main!(benches);
