use crate::CsrView;
use crate::lanes::Lanes;
use crate::storage::{F32, Group, Rows, zeros};

/// Dot products of `G` rows with a shared one, each in two sums: `2 G` chains hide the latency of the additions,
/// and the `G` rows share the loads of the other.
///
/// # Safety
/// The CPU has the instruction set of `V`; every row is valid for `k` values as stored.
#[inline(always)]
pub(crate) unsafe fn dots<A: Rows, B: Rows, V: Lanes, const G: usize>(
    shared: *const A::Word,
    rows: [*const B::Word; G],
    k: usize,
) -> [f32; G] {
    let mut sums = [[zeros::<V>()[0]; 2]; G];
    let groups = k / crate::paired::GROUP;
    let left = k % crate::paired::GROUP;
    // SAFETY: `groups` groups and `left` values lie within every row.
    unsafe {
        for group in 0..groups {
            let shared = A::load::<V>(shared, group);
            for (sums, row) in sums.iter_mut().zip(rows) {
                multiply(sums, shared, B::load(row, group));
            }
        }
        if left > 0 {
            let shared = A::load_head::<V>(shared, groups, left);
            for (sums, row) in sums.iter_mut().zip(rows) {
                multiply(sums, shared, B::load_head(row, groups, left));
            }
        }
        sums.map(|[even, odd]| even.add(odd).sum())
    }
}

/// Adds the products of a group to the two sums in turn.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
unsafe fn multiply<V: Lanes>(sums: &mut [V; 2], a: Group<V>, b: Group<V>) {
    for i in 0..V::PER_GROUP {
        // SAFETY: passed on.
        sums[i % 2] = unsafe { b[i].mul_add(a[i], sums[i % 2]) };
    }
}

/// # Safety
/// The CPU has the instruction set of `V`; the lengths are those of the safe entry.
#[inline(always)]
pub(super) unsafe fn sddmm<S: Rows, V: Lanes, const N: usize>(
    y: &mut [f32],
    xt: CsrView<'_>,
    d: &[f32],
    w: &[S::Word],
    bias: &[f32],
    k: usize,
) {
    let (d, w, row_words) = (d.as_ptr(), w.as_ptr(), S::row_words(k));
    let mut y = y.iter_mut();
    for (feature, &bias) in bias.iter().enumerate() {
        let mut samples = xt.row(feature).0;
        // SAFETY: `feature < n_features`, and the view proved that every index is below `n_samples`.
        unsafe {
            let w = w.add(feature * row_words);
            let row = |sample: u32| d.add(sample as usize * k);
            while let [a, b, c, e, rest @ ..] = samples {
                let z = dots::<S, F32, V, 4>(w, [row(*a), row(*b), row(*c), row(*e)], k);
                write(&mut y, bias, z);
                samples = rest;
            }
            for &sample in samples {
                write(&mut y, bias, dots::<S, F32, V, 1>(w, [row(sample)], k));
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
