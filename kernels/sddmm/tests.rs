use super::*;
use crate::testing::{OwnedCsr, Rng, SHAPES, Spread, Stored, Unaligned, WIDTHS, assert_close, runnable};
use crate::{Bf16, F32};

#[test]
fn kernels_agree_with_the_reference() {
    agree::<F32>();
    agree::<Bf16>();
}

/// abs 1e-6 + ε · (k + 2): bf16 weights are read exactly.
fn agree<S: Kernels + Stored>() {
    for (isa, name) in runnable(S::kernels()) {
        for (n_samples, n_features, density) in SHAPES {
            for k in WIDTHS {
                let rng = &mut Rng::new((n_samples * 1000 + k) as u64);
                let xt = OwnedCsr::random(n_features, n_samples, density, Spread::Even, rng);
                let d = Unaligned::new(&rng.vec(n_samples * k, -1.0, 1.0));
                let w = Unaligned::new(&S::stored(&rng.vec(n_features * k, -0.2, 0.2), k));
                let bias = rng.vec(n_features, -1.0, 1.0);
                let mut want = vec![f32::NAN; xt.indices.len()];
                sddmm::<S>(Isa::Reference, &mut want, xt.view(), &d, &w, &bias, k);
                let mut got = Unaligned::new(&vec![f32::NAN; xt.indices.len()]);
                sddmm::<S>(isa, &mut got, xt.view(), &d, &w, &bias, k);
                let what = format!("{name} {n_samples}×{n_features} k {k}");
                assert_close(&what, &got, &want, 1e-6, k + 2);
            }
        }
    }
}

#[test]
fn nan_is_not_hidden_by_the_relu() {
    for (isa, name) in runnable(F32::kernels()) {
        let xt = OwnedCsr { indptr: vec![0, 1], indices: vec![0], data: vec![1.0], n_rows: 1, n_cols: 1 };
        let mut y = [0.0];
        sddmm::<F32>(isa, &mut y, xt.view(), &[1.0; 20], &[f32::NAN; 20], &[0.0], 20);
        assert!(y[0].is_nan(), "{name}");
    }
}

#[test]
#[should_panic(expected = "y has not one value per stored entry")]
fn lengths_are_checked() {
    let xt = OwnedCsr { indptr: vec![0, 1], indices: vec![0], data: vec![1.0], n_rows: 1, n_cols: 1 };
    sddmm::<F32>(Isa::Reference, &mut [], xt.view(), &[0.0], &[0.0], &[0.0], 1);
}
