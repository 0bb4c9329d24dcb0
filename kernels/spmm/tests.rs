use super::*;
use crate::testing::{OwnedCsr, Rng, SHAPES, Spread, Stored, Unaligned, WIDTHS, assert_close, runnable};
use crate::{Bf16, F32};

#[test]
fn kernels_agree_with_the_reference() {
    agree::<F32>();
    agree::<Bf16>();
}

/// abs 1e-6 + ε · (entries of a row + 2): bf16 weights are read exactly.
fn agree<S: Kernels + Stored>() {
    for (isa, name) in runnable(S::kernels()) {
        for (n_samples, n_features, density) in SHAPES {
            for k in WIDTHS {
                let rng = &mut Rng::new((n_samples * 1000 + k) as u64);
                let x = OwnedCsr::random(n_samples, n_features, density, Spread::Even, rng);
                let w = Unaligned::new(&S::stored(&rng.vec(n_features * k, -1.0, 1.0), k));
                for (start, add) in
                    [(rng.vec(n_samples * k, -1.0, 1.0), true), (vec![f32::NAN; n_samples * k], false)]
                {
                    let mut want = start.clone();
                    spmm::<S>(Isa::Reference, &mut want, x.view(), &w, k, add);
                    let mut got = Unaligned::new(&start);
                    spmm::<S>(isa, &mut got, x.view(), &w, k, add);
                    let what = format!("{name} {n_samples}×{n_features} k {k} add {add}");
                    assert_close(&what, &got, &want, 1e-6, n_features + 2);
                    assert!(want.iter().all(|x| x.is_finite()), "{what}: not overwritten");
                }
            }
        }
    }
}

#[test]
fn blocks_of_features_add_up() {
    for (isa, name) in runnable(F32::kernels()) {
        let rng = &mut Rng::new(1);
        let (n_samples, n_features, k) = (29, 101, 33);
        let x = OwnedCsr::random(n_samples, n_features, 0.3, Spread::Skewed, rng);
        let w = rng.vec(n_features * k, -1.0, 1.0);
        let (mut whole, mut blocked) = (vec![0.0; n_samples * k], vec![0.0; n_samples * k]);
        spmm::<F32>(isa, &mut whole, x.view(), &w, k, false);
        for (at, (block, w)) in x.column_blocks(16).iter().zip(w.chunks(16 * k)).enumerate() {
            spmm::<F32>(isa, &mut blocked, block.view(), w, k, at > 0);
        }
        if isa == Isa::Reference {
            assert_close(name, &blocked, &whole, 0.0, 16); // it rounds its f64 sum once per block
        } else {
            assert!(whole == blocked, "{name}: other bits");
        }
    }
}

#[test]
fn entries_of_0_are_skipped() {
    for (isa, name) in runnable(F32::kernels()).filter(|(isa, _)| *isa != Isa::Reference) {
        let rng = &mut Rng::new(2);
        let (n_samples, n_features, k) = (13, 301, 33);
        let mut x = OwnedCsr::random(n_samples, n_features, 0.5, Spread::Even, rng);
        let mut w = rng.vec(n_features * k, -1.0, 1.0);
        let absent = |col: usize| col.is_multiple_of(3) || (64..200).contains(&col);
        let without = x.filter(|_, col, _| !absent(col));
        for (&col, value) in x.indices.iter().zip(&mut x.data) {
            if absent(col as usize) {
                *value = 0.0;
                w[col as usize * k..][..k].fill(f32::NAN);
            }
        }
        let mut want = vec![0.5; n_samples * k];
        let mut got = want.clone();
        spmm::<F32>(isa, &mut want, without.view(), &w, k, true);
        spmm::<F32>(isa, &mut got, x.view(), &w, k, true);
        assert!(got == want, "{name}: other bits");
    }
}

#[test]
#[should_panic(expected = "w is not n_cols × k")]
fn lengths_are_checked() {
    let x = OwnedCsr { indptr: vec![0, 1], indices: vec![1], data: vec![1.0], n_rows: 1, n_cols: 2 };
    spmm::<F32>(Isa::Reference, &mut [0.0; 3], x.view(), &[0.0; 3], 3, false);
}

#[test]
#[should_panic(expected = "overflows")]
fn overflow_is_checked() {
    let x = OwnedCsr { indptr: vec![0, 1], indices: vec![1], data: vec![1.0], n_rows: 1, n_cols: usize::MAX };
    spmm::<F32>(Isa::Reference, &mut [0.0; 3], x.view(), &[0.0; 3], 3, false);
}
