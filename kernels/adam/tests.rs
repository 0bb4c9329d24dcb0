use super::*;
use crate::testing::{Rng, Unaligned, assert_close, runnable};

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
