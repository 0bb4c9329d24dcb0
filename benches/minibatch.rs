//! Gathering minibatches from a store, on one thread; throughput is observed entries per second.
//!
//! One iteration is 16 shuffled minibatches of 256 samples into the three buffers of the loader, with a tenth of the
//! entries held out. `counts` are stored as u16; `floats` are the same as f32; `reordered` genes are not in the
//! network's order, so rows must be sorted; with `genes` as samples every entry has a hold-out key of its own.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use late_fast::io::{InPlace, Source, Tally};
use late_fast::matrix::{Axis, Major, RowBlock};
use late_fast::minibatch::{Builder, Holdout, InputDropout, Minibatch, Purpose, Transform, shuffled_batches};
use late_fast::store::{Prepared, Store, StoreDtype, prepare, scan};
use late_fast_kernels::Isa;
use late_fast_kernels::testing::{Rng, Spread, feature_rates};

/// Minibatches of one iteration.
const MINIBATCHES: usize = 16;
/// Cells, genes, density.
const LARGE: (usize, usize, f64) = (4096, 20_000, 0.05);
const SMALL: (usize, usize, f64) = (10_000, 949, 0.10);
const BATCH_SIZE: usize = 256;
const BUFFERS: usize = 3;
const HOLDOUT: Holdout = Holdout { share: 0.1, seed: 1 };
const DROPOUT: InputDropout = InputDropout { keep: 0.8, seed: 1, epoch: 0 };

/// Synthetic counts with the rates of genes, streamed to the store's writer.
struct Counts {
    cells: Axis,
    genes: Axis,
    density: f64,
    /// What is added to the very last entry: a fraction makes the writer choose f32.
    last: f64,
}

impl Counts {
    fn new((n_cells, n_genes, density): (usize, usize, f64), last: f64) -> Self {
        let names = |n: usize| Axis::from_names((0..n).map(|number| number.to_string()).collect());
        Self { cells: names(n_cells), genes: names(n_genes), density, last }
    }

    fn store(&self, dir: &Path) -> Prepared {
        let summary = scan(self, StoreDtype::F32, &|_| ()).unwrap();
        prepare(self, summary, &[Major::Cells, Major::Genes], dir, &|_, _| ()).unwrap()
    }
}

impl Source for Counts {
    fn path(&self) -> &Path {
        Path::new("synthetic counts")
    }

    fn layout(&self) -> String {
        "synthetic".to_owned()
    }

    fn major(&self) -> Major {
        Major::Cells
    }

    fn cells(&self) -> &Axis {
        &self.cells
    }

    fn genes(&self) -> &Axis {
        &self.genes
    }

    fn declared_nnz(&self) -> u64 {
        0
    }

    fn notes(&self) -> &[String] {
        &[]
    }

    /// Counts as they are in real data: most are 1 or 2, some hundreds.
    fn for_each_block(
        &self,
        consume: &mut dyn FnMut(RowBlock) -> late_fast::error::Result<()>,
    ) -> late_fast::error::Result<Tally> {
        let rng = &mut Rng::new(1);
        let rates = feature_rates(self.genes.len(), self.density, Spread::Skewed, rng);
        let mut tally = Tally::default();
        for cell in 0..self.cells.len() {
            let mut block = RowBlock { indptr: vec![0], ..RowBlock::default() };
            for (gene, &rate) in (0_u32..).zip(&rates) {
                if rng.unit() < rate {
                    block.indices.push(gene);
                    block.values.push((0.3 / (1.0 - rng.unit())).ceil().min(3000.0));
                }
            }
            if let (true, Some(value)) = (cell + 1 == self.cells.len(), block.values.last_mut()) {
                *value += self.last;
            }
            block.indptr.push(block.indices.len());
            tally.nnz += block.nnz() as u64;
            consume(block)?;
        }
        Ok(tally)
    }

    fn in_place(&self) -> Option<InPlace> {
        None
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Times minibatches of `store` whose column c is feature `features[c]`.
fn bench_store(
    c: &mut Criterion,
    name: &str,
    store: &Store,
    features: &[u32],
    dropout: Option<InputDropout>,
) {
    let samples: Vec<u32> = (0..u32::try_from(store.n_rows()).unwrap()).collect();
    let mut plan = shuffled_batches(&samples, BATCH_SIZE, 1, 0);
    plan.truncate(MINIBATCHES);
    let nnz: u64 = plan.iter().flatten().map(|&sample| store.summary().row_nnz[sample as usize]).sum();
    let mut builder =
        Builder::new(store, features, features.len(), Transform::Log10, Some(HOLDOUT), Isa::detect());
    let mut buffers = vec![Minibatch::default(); BUFFERS];
    let mut group = c.benchmark_group("gather");
    group.throughput(Throughput::Elements(nnz));
    let (n_rows, n_cols) = (store.n_rows(), store.n_cols());
    let dropped = if dropout.is_some() { "dropout" } else { "whole" };
    group.bench_function(format!("{n_rows}x{n_cols}/{name}/{dropped}"), |b| {
        b.iter(|| {
            let mut gathered = 0;
            for (number, samples) in plan.iter().enumerate() {
                let batch = black_box(&mut buffers[number % BUFFERS]);
                builder.build(samples, Purpose::Train(dropout), batch).unwrap();
                gathered += batch.targets.nnz() + batch.held_out.nnz();
            }
            assert_eq!(gathered as u64, nnz);
        });
    });
}

fn gather(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    for shape in [LARGE, SMALL] {
        let prepared = Counts::new(shape, 0.0).store(dir.path());
        let order: Vec<u32> = (0..u32::try_from(shape.1).unwrap()).collect();
        let store = prepared.with_rows(Major::Cells).unwrap();
        for dropout in [None, Some(DROPOUT)] {
            bench_store(c, "counts", store, &order, dropout);
        }
        if shape == LARGE {
            let shuffled: Vec<u32> = (0..20_000).map(|column| column * 7919 % 20_000).collect();
            bench_store(c, "reordered", store, &shuffled, Some(DROPOUT));
            let genes = prepared.with_rows(Major::Genes).unwrap();
            let cells: Vec<u32> = (0..u32::try_from(shape.0).unwrap()).collect();
            bench_store(c, "genes", genes, &cells, Some(DROPOUT));
            let floats = Counts::new(shape, 0.5).store(dir.path());
            bench_store(c, "floats", floats.with_rows(Major::Cells).unwrap(), &order, Some(DROPOUT));
        }
    }
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
}

criterion_group! {
    name = benches;
    config = short();
    targets = gather
}
criterion_main!(benches);
