//! Training against gradients and losses exported from PyTorch (data/generate/golden.py).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use late_fast::config::KernelForm;
use late_fast::minibatch::Minibatch;
use late_fast::model::{Architecture, LossKind, Network, StepOptions, Workspace};
use late_fast_kernels::{Bf16, Isa};
use safetensors::SafeTensors;

/// Relative to the largest value of the array; f32 on both sides.
const TOLERANCE: f64 = 1e-4;
const BETA1: f32 = 0.9;

struct Golden {
    bytes: Vec<u8>,
}

impl Golden {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("data/golden/{name}.safetensors"));
        Self { bytes: std::fs::read(path).unwrap() }
    }

    fn raw<const N: usize>(&self, name: &str) -> Vec<[u8; N]> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        tensors.tensor(name).unwrap().data().as_chunks().0.to_vec()
    }

    fn f32s(&self, name: &str) -> Vec<f32> {
        self.raw(name).into_iter().map(f32::from_le_bytes).collect()
    }

    fn f64s(&self, name: &str) -> Vec<f64> {
        self.raw(name).into_iter().map(f64::from_le_bytes).collect()
    }

    fn integers(&self, name: &str) -> Vec<usize> {
        self.raw(name).into_iter().map(|raw| usize::try_from(i64::from_le_bytes(raw)).unwrap()).collect()
    }

    fn setting(&self, name: &str) -> String {
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).unwrap();
        metadata.metadata().as_ref().unwrap()[name].clone()
    }

    fn batches(&self, n_features: usize) -> Vec<Minibatch> {
        (0..3)
            .map(|k| {
                let indptr = self.integers(&format!("batch.{k}.indptr"));
                let indices: Vec<u32> = self
                    .integers(&format!("batch.{k}.indices"))
                    .into_iter()
                    .map(|index| u32::try_from(index).unwrap())
                    .collect();
                Minibatch::from_rows(n_features, &indptr, &indices, &self.f32s(&format!("batch.{k}.data")))
            })
            .collect()
    }
}

fn assert_close(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0_f64, |max, &x| max.max(f64::from(x.abs())));
    assert!(largest > 0.0, "{what}: nothing to compare");
    for (k, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - f64::from(want)).abs();
        assert!(error <= TOLERANCE * largest, "{what}[{k}]: {got}, PyTorch has {want} (largest {largest})");
    }
}

impl Golden {
    /// The network that PyTorch started from.
    fn network(&self) -> Network {
        let n_features: usize = self.setting("n_features").parse().unwrap();
        let hidden = self.setting("hidden").split(',').map(|w| w.parse().unwrap()).collect();
        let mut network = Network::zeros(Architecture { n_features, hidden }).unwrap();
        let names: Vec<String> = network.architecture.value_names().collect();
        for (name, tensor) in names.iter().zip(network.tensors_mut()) {
            tensor.value.copy_from_slice(&self.f32s(&format!("init.{name}")));
        }
        network
    }

    fn options(&self, isa: Isa, form: KernelForm) -> StepOptions {
        StepOptions {
            isa,
            form,
            loss: match (self.setting("loss").as_str(), self.setting("norm").as_str()) {
                ("mse", _) => LossKind::Mse,
                (_, "all") => {
                    LossKind::MaskedMse { n_columns: Some(self.setting("n_features").parse().unwrap()) }
                }
                _ => LossKind::MaskedMse { n_columns: None },
            },
            seed: 0,
            learning_rate: self.setting("learning_rate").parse().unwrap(),
            dropout: None,
        }
    }
}

fn agrees(name: &str, isa: Isa, form: KernelForm) {
    let golden = Golden::read(name);
    let mut network = golden.network();
    let options = golden.options(isa, form);
    let names: Vec<String> = network.architecture.value_names().collect();
    let batches = golden.batches(network.architecture.n_features);
    let mut workspace = Workspace::default();
    for (step, want) in golden.f64s("losses").into_iter().enumerate() {
        let batch = &batches[step % batches.len()];
        let error =
            network.reconstruction_error(&mut workspace, batch, isa, form, options.loss).unwrap().mean();
        let loss = network.train_step(&mut workspace, batch, &options).unwrap().mean();
        assert!((loss - want).abs() <= TOLERANCE * want, "{name} {isa} step {step}: {loss}, PyTorch {want}");
        assert!((error - loss).abs() <= 1e-6 * loss, "{name}: validation computes {error}, training {loss}");
        if step == 0 {
            // The first moment after one step from zero is (1 - beta1) times the gradient.
            for (parameter, tensor) in names.iter().zip(network.tensors()) {
                let gradient: Vec<f32> = tensor.m.iter().map(|m| m / (1.0 - BETA1)).collect();
                let want = golden.f32s(&format!("grad.{parameter}"));
                assert_close(&format!("{name} {isa} {form:?} gradient of {parameter}"), &gradient, &want);
            }
        }
    }
}

/// 16-bit storage follows PyTorch's f32 losses to 1%, whatever the form of the products.
fn bf16_follows(name: &str, isa: Isa, form: KernelForm) {
    let golden = Golden::read(name);
    let mut network = Network::<Bf16>::starting_from(golden.network()).unwrap();
    let options = golden.options(isa, form);
    let batches = golden.batches(network.architecture.n_features);
    let mut workspace = Workspace::default();
    for (step, want) in golden.f64s("losses").into_iter().enumerate() {
        let batch = &batches[step % batches.len()];
        let loss = network.train_step(&mut workspace, batch, &options).unwrap().mean();
        assert!(
            (loss - want).abs() <= 0.01 * want,
            "{name} {isa} {form:?} step {step}: {loss}, PyTorch {want}"
        );
    }
}

macro_rules! golden {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            for isa in Isa::available() {
                for form in [KernelForm::Sparse, KernelForm::Dense] {
                    agrees(stringify!($name), isa, form);
                    bf16_follows(stringify!($name), isa, form);
                }
            }
        }
    )*};
}

golden!(three_layers five_layers seven_layers five_layers_all five_layers_mse);
