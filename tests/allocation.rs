//! A training step takes no memory once its workspace has grown.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use late_fast::config::KernelForm;
use late_fast::minibatch::Minibatch;
use late_fast::model::{Architecture, HiddenDropout, LossKind, Network, Precision, StepOptions, Workspace};
use late_fast::parallel::with_threads;
use late_fast_kernels::testing::{OwnedCsr, Rng, Spread};
use late_fast_kernels::{Bf16, F32, Isa};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of_a_step<S: Precision>(isa: Isa, form: KernelForm) -> usize {
    let n = 1500;
    let x = OwnedCsr::random(70, n, 0.1, Spread::Skewed, &mut Rng::new(1));
    let batch = Minibatch::from_rows(n, &x.indptr, &x.indices, &x.data);
    let architecture = Architecture { n_features: n, hidden: vec![50, 20] };
    let mut network = Network::<S>::starting_from(Network::initialised(architecture, 1).unwrap()).unwrap();
    let mut workspace = Workspace::<S>::default();
    let options = StepOptions {
        isa,
        form,
        loss: LossKind::MaskedMse { n_columns: None },
        seed: 0,
        learning_rate: 1e-3,
        dropout: Some(HiddenDropout { keep: 0.5, seed: 1, epoch: 0 }),
    };
    let mut step = || {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        network.train_step(&mut workspace, &batch, &options).unwrap();
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    // The first steps grow the workspace; the pool may grow a queue of its own at any time, but not always.
    (0..8).map(|_| step()).min().unwrap()
}

#[test]
fn a_training_step_takes_no_memory() {
    for threads in [1, 2] {
        with_threads(threads, || {
            for isa in Isa::available() {
                for form in [KernelForm::Sparse, KernelForm::Dense] {
                    assert_eq!(allocations_of_a_step::<F32>(isa, form), 0, "f32 {isa} {form:?} {threads}");
                    assert_eq!(allocations_of_a_step::<Bf16>(isa, form), 0, "bf16 {isa} {form:?} {threads}");
                }
            }
        })
        .unwrap();
    }
}
