//! Adam (Kingma & Ba), exact: also what the fused steps apply to the rows they just finished.

use crate::Isa;
use crate::table::select;
pub(crate) use generic::AdamLanes;
pub use rows::{Kernels as RowKernels, Run as RowRun, adam_rows};

mod generic;
mod reference;
mod rows;
#[cfg(test)]
mod tests;

/// Coefficients of one step:
/// `m = β₁m + (1-β₁)g`, `v = β₂v + (1-β₂)g²`, `w -= lr/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + ε)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    beta1: f32,
    /// 1-β₁, formed in f64: `1.0 - 0.999_f32` is off by 1e-5.
    rest1: f32,
    beta2: f32,
    rest2: f32,
    /// lr/(1-β₁ᵗ)
    rate: f32,
    /// 1/√(1-β₂ᵗ)
    unbias2: f32,
    eps: f32,
    /// Keys the stochastic rounding of [`Bf16`](crate::Bf16) at this step.
    noise: u64,
}

impl Adam {
    /// The same coefficients with other stochastic rounding: `key` tells layers and runs apart.
    #[must_use]
    pub fn keyed(self, key: u64) -> Self {
        Self { noise: crate::dropout::mix(self.noise ^ key), ..self }
    }

    pub(crate) fn noise(&self) -> u64 {
        self.noise
    }

    /// The coefficients of step `t`, the first being 1.
    ///
    /// # Panics
    /// If `t` is 0, a beta is outside `0..1`, or `lr` or `eps` is negative or not finite.
    #[must_use]
    pub fn at_step(lr: f64, beta1: f64, beta2: f64, eps: f64, t: u64) -> Self {
        assert!(t >= 1, "the first step of Adam is 1");
        assert!(
            (0.0..1.0).contains(&beta1) && (0.0..1.0).contains(&beta2),
            "betas {beta1}, {beta2} outside 0..1"
        );
        assert!(lr >= 0.0 && lr.is_finite(), "learning rate {lr}");
        assert!(eps >= 0.0 && eps.is_finite(), "eps {eps}");
        let noise = crate::dropout::mix(t);
        let t = t as f64;
        #[allow(clippy::cast_possible_truncation, reason = "rounding is meant")]
        let round = |x: f64| x as f32;
        Self {
            beta1: round(beta1),
            rest1: round(1.0 - beta1),
            beta2: round(beta2),
            rest2: round(1.0 - beta2),
            rate: round(lr / (1.0 - beta1.powf(t))),
            unbias2: round(1.0 / (1.0 - beta2.powf(t)).sqrt()),
            eps: round(eps),
            noise,
        }
    }

    /// One value; the scalar form of the kernels, for biases.
    #[inline(always)]
    pub(crate) fn update(&self, w: &mut f32, m: &mut f32, v: &mut f32, g: f32) {
        *m = self.beta1 * *m + self.rest1 * g;
        *v = self.beta2 * *v + self.rest2 * g * g;
        *w -= self.rate * *m / (v.sqrt() * self.unbias2 + self.eps);
    }

    /// [`Adam::update`] in f64, for the references.
    pub(crate) fn update_f64(&self, w: &mut f32, m: &mut f32, v: &mut f32, g: f64) {
        let [beta1, rest1, beta2, rest2] = [self.beta1, self.rest1, self.beta2, self.rest2].map(f64::from);
        let new_m = beta1 * f64::from(*m) + rest1 * g;
        let new_v = beta2 * f64::from(*v) + rest2 * g * g;
        let denominator = new_v.sqrt() * f64::from(self.unbias2) + f64::from(self.eps);
        let new_w = f64::from(*w) - f64::from(self.rate) * new_m / denominator;
        #[allow(clippy::cast_possible_truncation, reason = "the state is f32")]
        {
            (*w, *m, *v) = (new_w as f32, new_m as f32, new_v as f32);
        }
    }
}

kernels! {
    adam_f32__reference adam_f32__portable adam_f32__avx2 adam_f32__avx512 =
    adam(w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], adam: &Adam)
}

/// One Adam step of every value. `w`, `m`, `v`, `g`: one length.
///
/// # Panics
/// If lengths differ, or this CPU lacks `isa`.
pub fn adam(isa: Isa, w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], adam: &Adam) {
    assert_eq!(m.len(), w.len(), "m and w differ in length");
    assert_eq!(v.len(), w.len(), "v and w differ in length");
    assert_eq!(g.len(), w.len(), "g and w differ in length");
    let kernel = select(KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths.
    unsafe { kernel(w, m, v, g, adam) }
}
