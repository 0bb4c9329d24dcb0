//! Faults that were found once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::binary::Workplace;
use common::counts::{counts, write_tenx};
use late_fast::config::KernelForm;
use late_fast::minibatch::Minibatch;
use late_fast::model::{Architecture, LossKind, Network, Precision, StepOptions, Workspace};
use late_fast_kernels::testing::{OwnedCsr, Rng, Spread};
use late_fast_kernels::{Bf16, F32, ISA_VARIABLE, Isa};

fn workplace() -> Workplace {
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), &counts(60, 100, 1), 100);
    place
}

/// The plain autoencoder goes through BLAS in every storage, whose scratch memory grows with the layer's width.
#[test]
fn the_plain_autoencoder_in_bf16_has_room_for_wide_layers() {
    let place = workplace();
    let wide = ["train", "--h5", "in.h5", "--hidden", "300,20", "--batch-size", "16", "--epochs", "1"];
    place.succeed(&[&wide[..], &["--loss", "mse", "--param-dtype", "bf16"]].concat());
}

fn loss_with_nan_weights<S: Precision>(isa: Isa, form: KernelForm, loss: LossKind) -> f64 {
    let x = OwnedCsr::random(30, 200, 0.2, Spread::Even, &mut Rng::new(1));
    let batch = Minibatch::from_rows(200, &x.indptr, &x.indices, &x.data);
    let architecture = Architecture { n_features: 200, hidden: vec![40, 20] };
    let mut network = Network::initialised(architecture, 1).unwrap();
    network.decoder.weight.value.fill(f32::NAN);
    let mut network = Network::<S>::starting_from(network).unwrap();
    let options = StepOptions { isa, form, loss, seed: 0, learning_rate: 1e-3, dropout: None };
    network.train_step(&mut Workspace::default(), &batch, &options).unwrap().sum
}

/// A relu that turned NaN into 0 let a broken network train on.
#[test]
fn nan_weights_reach_the_loss_in_every_form() {
    let masked = LossKind::MaskedMse { n_columns: None };
    for isa in Isa::available() {
        for form in [KernelForm::Sparse, KernelForm::Dense] {
            for loss in [masked, LossKind::Mse] {
                assert!(
                    loss_with_nan_weights::<F32>(isa, form, loss).is_nan(),
                    "f32 {isa} {form:?} {loss:?}"
                );
                assert!(
                    loss_with_nan_weights::<Bf16>(isa, form, loss).is_nan(),
                    "bf16 {isa} {form:?} {loss:?}"
                );
            }
        }
    }
}

/// What cannot be imputed is said before hours of training.
#[test]
fn products_that_the_cpu_lacks_are_refused_before_training() {
    let place = workplace();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_late-fast"))
        .args(["train", "--h5", "in.h5", "--impute", "out.h5ad", "--products", "bf16"])
        .env(ISA_VARIABLE, "portable")
        .current_dir(place.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--products bf16 needs AMX") && !said.contains("epoch"), "{said}");
    assert_eq!(place.listing(), ["in.h5"]);
}
