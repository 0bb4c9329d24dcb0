use crate::CsrView;
use crate::lanes::Lanes;

/// Dot products of `G` rows with `w`, each in `U` sums: `G * U` chains hide the latency of the additions, and
/// the `G` rows share the loads of `w`.
///
/// # Safety
/// The CPU has the instruction set of `V`; `w` and every row are valid for `k` values.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "two arrays are walked at once, unrolled")]
pub(crate) unsafe fn dots<V: Lanes, const G: usize, const U: usize>(
    rows: [*const f32; G],
    w: *const f32,
    k: usize,
) -> [f32; G] {
    // SAFETY: `at + U * WIDTH <= k`, `at + WIDTH <= k` or `at + (k - at) <= k`.
    unsafe {
        let mut sums = [[V::splat(0.0); U]; G];
        let mut at = 0;
        while k - at >= U * V::WIDTH {
            for u in 0..U {
                let w = V::load(w.add(at + u * V::WIDTH));
                for g in 0..G {
                    sums[g][u] = V::load(rows[g].add(at + u * V::WIDTH)).mul_add(w, sums[g][u]);
                }
            }
            at += U * V::WIDTH;
        }
        while k - at >= V::WIDTH {
            let w = V::load(w.add(at));
            for g in 0..G {
                sums[g][0] = V::load(rows[g].add(at)).mul_add(w, sums[g][0]);
            }
            at += V::WIDTH;
        }
        if at < k {
            let w = V::load_head(w.add(at), k - at);
            for g in 0..G {
                sums[g][0] = V::load_head(rows[g].add(at), k - at).mul_add(w, sums[g][0]);
            }
        }
        let mut out = [0.0; G];
        for g in 0..G {
            let mut sum = sums[g][0];
            for other in &sums[g][1..] {
                sum = sum.add(*other);
            }
            out[g] = sum.sum();
        }
        out
    }
}

/// # Safety
/// The CPU has the instruction set of `V`; the lengths are those of the safe entry.
#[inline(always)]
pub(super) unsafe fn sddmm<V: Lanes, const N: usize>(
    y: &mut [f32],
    xt: CsrView<'_>,
    d: &[f32],
    w: &[f32],
    bias: &[f32],
    k: usize,
) {
    let (d, w) = (d.as_ptr(), w.as_ptr());
    let mut y = y.iter_mut();
    for (feature, &bias) in bias.iter().enumerate() {
        let mut samples = xt.row(feature).0;
        // SAFETY: `feature < n_features`, and the view proved that every index is below `n_samples`.
        unsafe {
            let w = w.add(feature * k);
            let row = |sample: u32| d.add(sample as usize * k);
            while let [a, b, c, e, rest @ ..] = samples {
                let z = dots::<V, 4, 2>([row(*a), row(*b), row(*c), row(*e)], w, k);
                write(&mut y, bias, z);
                samples = rest;
            }
            for &sample in samples {
                write(&mut y, bias, dots::<V, 1, 4>([row(sample)], w, k));
            }
        }
    }
}

#[inline(always)]
fn write<const G: usize>(y: &mut std::slice::IterMut<'_, f32>, bias: f32, dots: [f32; G]) {
    for (dot, y) in dots.iter().zip(y) {
        let z = bias + dot;
        *y = if z < 0.0 { 0.0 } else { z };
    }
}
