use super::*;
use crate::Isa;
use crate::dropout::row_key;
use crate::testing::{Rng, Unaligned, WIDTHS, assert_close, runnable};

const ROWS: [usize; 4] = [0, 1, 5, 31];

/// Equal to the last bit: the same rounded operations in every kernel.
#[test]
fn bias_relu_dropout_equals_the_reference() {
    for (isa, name) in runnable(BIAS_RELU_DROPOUT_KERNELS) {
        for n_rows in ROWS {
            for k in WIDTHS {
                let rng = &mut Rng::new((n_rows * 1000 + k) as u64);
                let (h, bias) = (rng.vec(n_rows * k, -1.0, 1.0), rng.vec(k, -0.5, 0.5));
                let keys: Vec<u64> = (0..n_rows as u64).map(|sample| row_key(1, 0, 3, sample)).collect();
                for (keep, keys) in
                    [(1.0, None), (0.5, None), (1.0, Some(&keys[..])), (0.8, Some(&keys)), (0.1, Some(&keys))]
                {
                    let mut want = h.clone();
                    bias_relu_dropout(Isa::Reference, &mut want, &bias, keep, keys);
                    let mut got = Unaligned::new(&h);
                    bias_relu_dropout(isa, &mut got, &bias, keep, keys);
                    assert_eq!(*got, want, "{name} {n_rows}×{k} keep {keep}");
                }
            }
        }
    }
}

#[test]
fn dropout_keeps_the_expectation_and_the_backward_pass_its_mask() {
    for (isa, name) in runnable(BIAS_RELU_DROPOUT_KERNELS) {
        let (n_rows, k, keep) = (500, 100, 0.8);
        let mut h = vec![1.0; n_rows * k];
        let keys: Vec<u64> = (0..n_rows as u64).map(|sample| row_key(1, 0, 3, sample)).collect();
        bias_relu_dropout(isa, &mut h, &vec![0.0; k], keep, Some(&keys));
        let mean = h.iter().sum::<f32>() / h.len() as f32;
        assert!((mean - 1.0).abs() < 0.01, "{name}: mean {mean}");
        let mut dh = vec![1.0; h.len()];
        relu_dropout_backward(isa, &mut dh, &h, keep);
        assert_eq!(dh, h, "{name}");
    }
}

#[test]
fn relu_dropout_backward_equals_the_reference() {
    for (isa, name) in runnable(RELU_DROPOUT_BACKWARD_KERNELS) {
        for len in [0, 1, 7, 8, 9, 15, 16, 17, 1009] {
            let rng = &mut Rng::new(len as u64);
            let (dh, h) = (rng.vec(len, -1.0, 1.0), Unaligned::new(&rng.vec(len, -1.0, 1.0)));
            let mut want = dh.clone();
            relu_dropout_backward(Isa::Reference, &mut want, &h, 0.5);
            let mut got = Unaligned::new(&dh);
            relu_dropout_backward(isa, &mut got, &h, 0.5);
            assert_eq!(*got, want, "{name} {len}");
        }
    }
}

/// ε · rows.
#[test]
fn column_sums_agree_with_the_reference() {
    for (isa, name) in runnable(COLUMN_SUMS_KERNELS) {
        for n_rows in ROWS {
            for k in WIDTHS {
                let a = Unaligned::new(&Rng::new(k as u64).vec(n_rows * k, -1.0, 1.0));
                let (mut want, mut got) = (vec![f32::NAN; k], Unaligned::new(&vec![f32::NAN; k]));
                column_sums(Isa::Reference, &mut want, &a);
                column_sums(isa, &mut got, &a);
                assert_close(&format!("{name} {n_rows}×{k}"), &got, &want, 0.0, n_rows);
            }
        }
    }
}

#[test]
fn nan_survives_the_relu() {
    for (isa, name) in runnable(BIAS_RELU_DROPOUT_KERNELS) {
        let mut h = [f32::NAN; 17];
        bias_relu_dropout(isa, &mut h, &[0.0; 17], 1.0, None);
        assert!(h.iter().all(|h| h.is_nan()), "{name}");
    }
}

#[test]
#[should_panic(expected = "row_keys has not one key per row")]
fn keys_are_counted() {
    bias_relu_dropout(Isa::Reference, &mut [0.0; 4], &[0.0; 2], 0.5, Some(&[1]));
}
