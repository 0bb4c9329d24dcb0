//! The gradient of every parameter against finite differences of an f64 forward pass written here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use late_fast::config::KernelForm;
use late_fast::minibatch::Minibatch;
use late_fast::model::{Architecture, LossKind, Network, StepOptions, Workspace};
use late_fast_kernels::Isa;

const N: usize = 19;
const SAMPLES: usize = 11;
const BETA1: f64 = 0.9;
/// Finite differences of a piecewise smooth function: no ReLU flips within this of the parameters used.
const STEP: f64 = 1e-6;

/// Dense input, zeros where nothing was observed.
fn input() -> Vec<Vec<f64>> {
    (0..SAMPLES)
        .map(|sample| {
            (0..N)
                .map(|gene| {
                    let mixed = (sample * 31 + gene * 17) % 13;
                    if mixed < 4 {
                        f64::from(f32::from(u8::try_from(mixed + 2).unwrap()).log10())
                    } else {
                        0.0
                    }
                })
                .collect()
        })
        .collect()
}

fn minibatch(x: &[Vec<f64>]) -> Minibatch {
    let (mut indptr, mut features, mut values) = (vec![0], Vec::new(), Vec::new());
    for row in x {
        for (feature, &value) in (0_u32..).zip(row).filter(|&(_, &value)| value != 0.0) {
            features.push(feature);
            #[expect(clippy::cast_possible_truncation, reason = "the value was an f32")]
            values.push(value as f32);
        }
        indptr.push(features.len());
    }
    Minibatch::from_rows(N, &indptr, &features, &values)
}

/// The loss, straight from the definition.
fn loss(x: &[Vec<f64>], parameters: &[Vec<f64>], widths: &[usize], kind: LossKind) -> f64 {
    let last = widths.len() - 2;
    let (mut sum, mut observed) = (0.0, 0.0);
    for row in x {
        let mut activation = row.clone();
        for layer in 0..=last {
            let (weight, bias) = (&parameters[2 * layer], &parameters[2 * layer + 1]);
            let (n_in, n_out) = (widths[layer], widths[layer + 1]);
            activation = (0..n_out)
                .map(|out| {
                    let at =
                        |input: usize| if layer == last { out * n_in + input } else { input * n_out + out };
                    let sum: f64 = (0..n_in).map(|input| activation[input] * weight[at(input)]).sum();
                    (sum + bias[out]).max(0.0)
                })
                .collect();
        }
        for (y, x) in activation.iter().zip(row) {
            if *x != 0.0 || kind == LossKind::Mse {
                sum += (y - x).powi(2);
                observed += 1.0;
            }
        }
    }
    match kind {
        LossKind::MaskedMse { n_columns: Some(n) } => sum / (SAMPLES * n) as f64,
        _ => sum / observed,
    }
}

#[test]
fn gradients_match_finite_differences() {
    let x = input();
    let batch = minibatch(&x);
    for hidden in [vec![7], vec![9, 4], vec![8, 6, 3]] {
        for kind in [
            LossKind::MaskedMse { n_columns: None },
            LossKind::MaskedMse { n_columns: Some(40) },
            LossKind::Mse,
        ] {
            check(&x, &batch, &hidden, kind);
        }
    }
}

fn check(x: &[Vec<f64>], batch: &Minibatch, hidden: &[usize], kind: LossKind) {
    let architecture = Architecture { n_features: N, hidden: hidden.to_vec() };
    let mut widths = vec![N];
    widths.extend(architecture.hidden_widths());
    widths.push(N);
    let mut network = Network::initialised(architecture, 3).unwrap();
    for tensor in network.tensors_mut() {
        for value in tensor.value.iter_mut() {
            // The initial spread is too small to tell gradients from rounding.
            *value *= 300.0;
        }
    }
    for bias in network.tensors_mut().skip(1).step_by(2) {
        bias.value.iter_mut().for_each(|bias| *bias *= 0.01);
    }
    let mut parameters: Vec<Vec<f64>> =
        network.tensors().map(|tensor| tensor.value.iter().map(|&v| f64::from(v)).collect()).collect();
    let options = StepOptions {
        isa: Isa::detect(),
        form: KernelForm::Auto,
        seed: 0,
        loss: kind,
        learning_rate: 1e-3,
        dropout: None,
    };
    network.train_step(&mut Workspace::default(), batch, &options).unwrap();
    let names: Vec<String> = network.architecture.value_names().collect();
    let moments: Vec<Vec<f64>> = network
        .tensors()
        .map(|tensor| tensor.m.iter().map(|&m| f64::from(m) / (1.0 - BETA1)).collect())
        .collect();
    for (array, gradients) in moments.iter().enumerate() {
        let largest = gradients.iter().fold(0.0_f64, |max, g| max.max(g.abs()));
        assert!(largest > 0.0, "{hidden:?} {kind:?}: no gradient for {}", names[array]);
        for (k, &gradient) in gradients.iter().enumerate() {
            let value = parameters[array][k];
            let mut at = |value: f64| {
                parameters[array][k] = value;
                loss(x, &parameters, &widths, kind)
            };
            let numeric = (at(value + STEP) - at(value - STEP)) / (2.0 * STEP);
            at(value);
            assert!(
                (gradient - numeric).abs() <= 2e-4 * largest,
                "{hidden:?} {kind:?} {}[{k}]: {gradient}, finite differences {numeric}",
                names[array]
            );
        }
    }
}
