use super::*;
use crate::paired::{bf16_round, to_f32};
use crate::testing::{Rng, Stored, Unaligned, assert_close, runnable};
use crate::{Bf16, F32, WideWeightsMut};

#[test]
fn kernels_agree_with_the_reference() {
    for (isa, name) in runnable(KERNELS) {
        for len in [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 400, 1009] {
            let rng = &mut Rng::new(len as u64);
            let start = [(-1.0, 1.0), (-1.0, 1.0), (0.01, 1.0)].map(|(low, high)| rng.vec(len, low, high));
            let g = Unaligned::new(&rng.vec(len, -1.0, 1.0));
            let coefficients = Adam::at_step(0.1, 0.9, 0.999, 1e-8, 3);
            let [mut w, mut m, mut v] = start.clone();
            adam(Isa::Reference, &mut w, &mut m, &mut v, &g, &coefficients);
            let [mut got_w, mut got_m, mut got_v] = start.each_ref().map(|x| Unaligned::new(x));
            adam(isa, &mut got_w, &mut got_m, &mut got_v, &g, &coefficients);
            assert_close(&format!("{name} w {len}"), &got_w, &w, 0.0, 16);
            assert_close(&format!("{name} m {len}"), &got_m, &m, 0.0, 4);
            assert_close(&format!("{name} v {len}"), &got_v, &v, 0.0, 4);
        }
    }
}

/// Three steps of `torch.optim.Adam(lr=0.1)` by hand, with the gradients 1, -0.5, 0.25.
#[test]
fn three_steps_follow_the_paper() {
    for (isa, name) in runnable(KERNELS) {
        let (mut w, mut m, mut v) = ([1.0], [0.0], [0.0]);
        let (mut want, mut m64, mut v64) = (1.0_f64, 0.0_f64, 0.0_f64);
        for (t, g) in [(1, 1.0_f64), (2, -0.5), (3, 0.25)] {
            #[allow(clippy::cast_possible_truncation, reason = "exact")]
            adam(isa, &mut w, &mut m, &mut v, &[g as f32], &Adam::at_step(0.1, 0.9, 0.999, 1e-8, t));
            m64 = 0.9 * m64 + 0.1 * g;
            v64 = 0.999 * v64 + 0.001 * g * g;
            let t = i32::try_from(t).unwrap();
            let m_hat = m64 / (1.0 - 0.9_f64.powi(t));
            let v_hat = v64 / (1.0 - 0.999_f64.powi(t));
            want -= 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
        }
        assert!((f64::from(w[0]) - want).abs() < 1e-6, "{name}: {} instead of {want}", w[0]);
    }
}

#[test]
fn a_gradient_of_zero_still_moves_the_weight() {
    for (isa, name) in runnable(KERNELS) {
        let (mut w, mut m, mut v) = ([1.0; 20], [0.5; 20], [0.25; 20]);
        adam(isa, &mut w, &mut m, &mut v, &[0.0; 20], &Adam::at_step(0.1, 0.9, 0.999, 1e-8, 1000));
        assert_close(name, &m, &[0.45; 20], 0.0, 2);
        assert!(w.iter().all(|&w| w < 1.0), "{name}: {w:?}");
    }
}

#[test]
#[should_panic(expected = "g and w differ in length")]
fn lengths_are_checked() {
    adam(Isa::Reference, &mut [0.0], &mut [0.0], &mut [0.0], &[], &Adam::at_step(0.1, 0.9, 0.999, 1e-8, 1));
}

fn rows_agree<S: RowKernels + Stored>() {
    for (isa, name) in runnable(S::kernels()) {
        for (n_features, k) in [(0, 7), (1, 1), (3, 31), (2, 32), (5, 33), (2, 801)] {
            let rng = &mut Rng::new(k as u64);
            let start = [(-1.0, 1.0), (-1.0, 1.0), (0.01, 1.0)];
            let start = start.map(|(low, high)| S::stored(&rng.vec(n_features * k, low, high), k));
            let g = Unaligned::new(&rng.vec(n_features * k, -1.0, 1.0));
            let run = |isa| {
                let [mut w, mut m, mut v] = start.each_ref().map(|x| Unaligned::new(x));
                let layer = WideWeightsMut::<S> { w: &mut w, m: &mut m, v: &mut v, first: 3 };
                adam_rows(isa, layer, &g, k, &Adam::at_step(0.1, 0.9, 0.999, 1e-8, 3));
                [w, m, v]
            };
            for (got, want) in run(isa).iter().zip(&run(Isa::Reference)) {
                S::assert_close(&format!("{name} {n_features} rows of {k}"), got, want, k, 1e-6, 16);
            }
        }
    }
}

#[test]
fn rows_of_both_storages_agree_with_the_reference() {
    rows_agree::<F32>();
    rows_agree::<Bf16>();
}

/// A constant gradient of 1 moves the second moment by at most 1/1000 of itself a step, half of what rounding to
/// nearest lets pass in bf16: that stalls far below 1 - 0.999ᵗ. Stochastic rounding follows it on average.
#[test]
fn stochastic_rounding_keeps_the_second_moment_moving() {
    const STEPS: i32 = 3000;
    let k = 1024;
    for (isa, name) in runnable(Bf16::kernels()).filter(|(isa, _)| *isa != Isa::Reference) {
        let [mut w, mut m, mut v] = [0.0; 3].map(|x| Bf16::stored(&vec![x; k], k));
        let (mut nearest, g) = (0.0_f32, vec![1.0; k]);
        for t in 1..=STEPS {
            let adam = Adam::at_step(0.0, 0.9, 0.999, 1e-8, u64::try_from(t).unwrap());
            let layer = WideWeightsMut::<Bf16> { w: &mut w, m: &mut m, v: &mut v, first: 0 };
            adam_rows(isa, layer, &g, k, &adam);
            nearest = to_f32(bf16_round(0.999 * nearest + 0.001));
        }
        let want = 1.0 - 0.999_f64.powi(STEPS);
        let mean = Bf16::values(&v, k).iter().map(|&v| f64::from(v)).sum::<f64>() / k as f64;
        assert!((mean - want).abs() < 0.01 * want, "{name}: mean {mean}, want {want}");
        assert!(f64::from(nearest) < 0.5 * want, "to nearest it would be {nearest}");
    }
}

/// Steps of 1/40 of a bf16 step, all in one direction: nearest would never move.
#[test]
fn stochastic_rounding_keeps_the_weights_moving() {
    let (k, lr) = (2048, 1e-4);
    for (isa, name) in runnable(Bf16::kernels()).filter(|(isa, _)| *isa != Isa::Reference) {
        let [mut w, mut m, mut v] = [1.0, 1.0, 1.0].map(|x| Bf16::stored(&vec![x; k], k));
        let mut want = 1.0;
        for t in 10_000..10_400 {
            let layer = WideWeightsMut::<Bf16> { w: &mut w, m: &mut m, v: &mut v, first: 0 };
            adam_rows(isa, layer, &vec![1.0; k], k, &Adam::at_step(lr, 0.9, 0.999, 1e-8, t));
            want -= lr;
        }
        let mean = Bf16::values(&w, k).iter().map(|&w| f64::from(w)).sum::<f64>() / k as f64;
        assert!((mean - want).abs() < 2e-3, "{name}: mean {mean}, want {want}");
    }
}
