//! How rows of weights, moments and activations are stored, and reading and updating them 32 values at a time.
//!
//! A group is 32 values, in `PER_GROUP` vectors: two of AVX-512, four of the others. Groups are what both storages
//! have in common, so every sparse kernel is written once, in groups, for both.

use std::mem::MaybeUninit;

use crate::Adam;
use crate::adam::AdamLanes;
use crate::dropout::{mix, noise, scalar_noise};
use crate::lanes::Lanes;
use crate::paired::{self, GROUP, GROUP_WORDS};
use crate::table::AVX512_BLOCK;

/// The vectors of a group; a set of lanes uses the first `PER_GROUP`.
pub(crate) type Group<V> = [V; 4];

/// How the wide layers' rows are stored: [`F32`] or [`Bf16`], which alone have kernels.
pub trait Storage: Copy + std::fmt::Debug + Send + Sync + 'static {
    /// What a row is made of.
    type Word: Copy + Send + Sync + Default + std::fmt::Debug + PartialEq + 'static;

    /// Words of a row of `k` values.
    fn row_words(k: usize) -> usize;
}

/// Single precision, `k` values a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct F32;

/// Paired rows of bf16, see [`paired`].
///
/// Products read them exactly. Adam computes in f32 and rounds what it stores: the first moment to nearest, the
/// weights and the second moment stochastically. Both move by less than half a bf16 step most of the time
/// (the second moment by at most 1/1000 of itself), so that rounding to nearest would stop them for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bf16;

impl Storage for F32 {
    type Word = f32;

    #[inline(always)]
    fn row_words(k: usize) -> usize {
        k
    }
}

impl Storage for Bf16 {
    type Word = u32;

    #[inline(always)]
    fn row_words(k: usize) -> usize {
        paired::words(k)
    }
}

/// Random bits for the rounding of one row at one step.
#[derive(Clone, Copy)]
pub(crate) struct Rounding(pub(crate) u64);

impl Rounding {
    pub(crate) fn of_row(adam: &Adam, feature: usize) -> Self {
        Self(mix(adam.noise() ^ feature as u64))
    }
}

/// # Safety
/// Of the unsafe methods: the CPU has the instruction set of `V`; rows are valid for `row_words(k)` words, and
/// `group * 32 + 32 <= k`, or `group * 32 + left <= k` where `left < 32` is given: the values beyond are 0 when
/// loaded and not stored (or stored as the padding they are).
pub(crate) trait Rows: Storage {
    unsafe fn load<V: Lanes>(row: *const Self::Word, group: usize) -> Group<V>;
    unsafe fn load_head<V: Lanes>(row: *const Self::Word, group: usize, left: usize) -> Group<V>;
    /// Adam on a group of `w`, `m`, `v`, whose gradient is `g`.
    unsafe fn update<V: Lanes>(
        adam: &AdamLanes<V>,
        rows: [*mut Self::Word; 3],
        group: usize,
        g: Group<V>,
        rounding: Rounding,
    );
    unsafe fn update_head<V: Lanes>(
        adam: &AdamLanes<V>,
        rows: [*mut Self::Word; 3],
        group: usize,
        g: Group<V>,
        left: usize,
        rounding: Rounding,
    );

    /// Value `at` of a row, for the references.
    fn get(row: &[Self::Word], at: usize) -> f32;
    /// [`Rows::update`] of value `at`, for the references.
    fn update_f64(adam: &Adam, rows: [&mut [Self::Word]; 3], at: usize, g: f64, rounding: Rounding);
}

#[inline(always)]
pub(crate) fn zeros<V: Lanes>() -> Group<V> {
    // SAFETY: splatting needs the instruction set of `V`, which whoever names `V` in a kernel has.
    [unsafe { V::splat(0.0) }; 4]
}

/// Adam on `M` groups whose gradients are in registers. They go through memory on the way: the loop over groups is
/// too long to unroll, and indexing the accumulators in it would keep them in memory all along (5 to 10% of the
/// decoder's step).
///
/// # Safety
/// As for [`Rows`]; `M` groups lie within the rows.
#[inline(always)]
pub(crate) unsafe fn update_groups<S: Rows, V: Lanes, const M: usize>(
    adam: &AdamLanes<V>,
    rows: [*mut S::Word; 3],
    group: usize,
    gradients: &[Group<V>; M],
    rounding: Rounding,
) {
    const { assert!(M <= AVX512_BLOCK) };
    let mut values = MaybeUninit::<[f32; AVX512_BLOCK * GROUP]>::uninit();
    let values = values.as_mut_ptr().cast::<f32>();
    // SAFETY: there is room for the largest block; the rows are passed on.
    unsafe {
        for (i, &gradient) in gradients.iter().enumerate() {
            store(values, i, gradient);
        }
        for i in 0..M {
            S::update(adam, rows, group + i, F32::load(values, i), rounding);
        }
    }
}

/// Writes a group of f32.
///
/// # Safety
/// As for [`Rows`].
#[inline(always)]
pub(crate) unsafe fn store<V: Lanes>(row: *mut f32, group: usize, values: Group<V>) {
    for (i, value) in values.iter().enumerate().take(V::PER_GROUP) {
        // SAFETY: the group lies within the row.
        unsafe { value.store(row.add(group * GROUP + i * V::WIDTH)) };
    }
}

/// Writes the first `left < 32` values of a group of f32.
///
/// # Safety
/// As for [`Rows`].
#[inline(always)]
pub(crate) unsafe fn store_head<V: Lanes>(row: *mut f32, group: usize, values: Group<V>, left: usize) {
    for (i, value) in values.iter().enumerate().take(V::PER_GROUP) {
        let (first, lanes) = (i * V::WIDTH, left.saturating_sub(i * V::WIDTH));
        // SAFETY: `left` values of the group lie within the row.
        unsafe {
            if lanes >= V::WIDTH {
                value.store(row.add(group * GROUP + first));
            } else if lanes > 0 {
                value.store_head(row.add(group * GROUP + first), lanes);
            }
        }
    }
}

impl Rows for F32 {
    #[inline(always)]
    unsafe fn load<V: Lanes>(row: *const f32, group: usize) -> Group<V> {
        let mut out = zeros();
        for (i, out) in out.iter_mut().enumerate().take(V::PER_GROUP) {
            // SAFETY: the group lies within the row.
            *out = unsafe { V::load(row.add(group * GROUP + i * V::WIDTH)) };
        }
        out
    }

    #[inline(always)]
    unsafe fn load_head<V: Lanes>(row: *const f32, group: usize, left: usize) -> Group<V> {
        let mut out = zeros();
        for (i, out) in out.iter_mut().enumerate().take(V::PER_GROUP) {
            let (first, lanes) = (i * V::WIDTH, left.saturating_sub(i * V::WIDTH));
            // SAFETY: `left` values of the group lie within the row.
            unsafe {
                if lanes >= V::WIDTH {
                    *out = V::load(row.add(group * GROUP + first));
                } else if lanes > 0 {
                    *out = V::load_head(row.add(group * GROUP + first), lanes);
                }
            }
        }
        out
    }

    #[inline(always)]
    unsafe fn update<V: Lanes>(
        adam: &AdamLanes<V>,
        rows: [*mut f32; 3],
        group: usize,
        g: Group<V>,
        _: Rounding,
    ) {
        for (i, &g) in g.iter().enumerate().take(V::PER_GROUP) {
            // SAFETY: the group lies within the rows.
            unsafe {
                let [w, m, v] = rows.map(|row| row.add(group * GROUP + i * V::WIDTH));
                adam.update(w, m, v, g);
            }
        }
    }

    #[inline(always)]
    unsafe fn update_head<V: Lanes>(
        adam: &AdamLanes<V>,
        rows: [*mut f32; 3],
        group: usize,
        g: Group<V>,
        left: usize,
        _: Rounding,
    ) {
        for (i, &g) in g.iter().enumerate().take(V::PER_GROUP) {
            let (first, lanes) = (i * V::WIDTH, left.saturating_sub(i * V::WIDTH));
            // SAFETY: `left` values of the group lie within the rows.
            unsafe {
                let [w, m, v] = rows.map(|row| row.wrapping_add(group * GROUP + first));
                if lanes >= V::WIDTH {
                    adam.update(w, m, v, g);
                } else if lanes > 0 {
                    adam.update_head(w, m, v, g, lanes);
                }
            }
        }
    }

    fn get(row: &[f32], at: usize) -> f32 {
        row[at]
    }

    fn update_f64(adam: &Adam, [w, m, v]: [&mut [f32]; 3], at: usize, g: f64, _: Rounding) {
        adam.update_f64(&mut w[at], &mut m[at], &mut v[at], g);
    }
}

impl Rows for Bf16 {
    #[inline(always)]
    unsafe fn load<V: Lanes>(row: *const u32, group: usize) -> Group<V> {
        let mut out = zeros();
        let half = V::PER_GROUP / 2;
        for i in 0..half {
            // SAFETY: the group lies within the row.
            let (low, high) =
                unsafe { paired::generic::decode(V::word_load(row.add(group * GROUP_WORDS + i * V::WIDTH))) };
            (out[i], out[half + i]) = (low, high);
        }
        out
    }

    /// Padding is stored, as zeros.
    #[inline(always)]
    unsafe fn load_head<V: Lanes>(row: *const u32, group: usize, _: usize) -> Group<V> {
        // SAFETY: rows are whole groups.
        unsafe { Self::load(row, group) }
    }

    #[inline(always)]
    unsafe fn update<V: Lanes>(
        adam: &AdamLanes<V>,
        [w, m, v]: [*mut u32; 3],
        group: usize,
        g: Group<V>,
        rounding: Rounding,
    ) {
        let half = V::PER_GROUP / 2;
        for i in 0..half {
            let at = group * GROUP_WORDS + i * V::WIDTH;
            // SAFETY: the group lies within the rows.
            unsafe {
                let [w, m, v] = [w, m, v].map(|row| row.add(at));
                let decode = |row: *mut u32| paired::generic::decode::<V>(V::word_load(row));
                let ((w0, w1), (m0, m1), (v0, v1)) = (decode(w), decode(m), decode(v));
                let (w0, m0, v0) = adam.updated(w0, m0, v0, g[i]);
                let (w1, m1, v1) = adam.updated(w1, m1, v1, g[half + i]);
                #[allow(clippy::cast_possible_truncation, reason = "k is bounded by the entries")]
                let [for_w, for_v] = noise::<V>(rounding.0, at as u32);
                V::word_store(paired::generic::encode_stochastic(w0, w1, for_w), w);
                V::word_store(paired::generic::encode_nearest(m0, m1), m);
                V::word_store(paired::generic::encode_stochastic(v0, v1, for_v), v);
            }
        }
    }

    /// Padding has no gradient: its moments and with them its weights stay 0.
    #[inline(always)]
    unsafe fn update_head<V: Lanes>(
        adam: &AdamLanes<V>,
        rows: [*mut u32; 3],
        group: usize,
        g: Group<V>,
        _: usize,
        rounding: Rounding,
    ) {
        // SAFETY: rows are whole groups.
        unsafe { Self::update(adam, rows, group, g, rounding) }
    }

    fn get(row: &[u32], at: usize) -> f32 {
        let (word, shift) = place(at);
        f32::from_bits(row[word] >> shift << 16)
    }

    fn update_f64(adam: &Adam, rows: [&mut [u32]; 3], at: usize, g: f64, rounding: Rounding) {
        let (word, shift) = place(at);
        let [mut w, mut m, mut v] = rows.each_ref().map(|row| Self::get(row, at));
        adam.update_f64(&mut w, &mut m, &mut v, g);
        #[allow(clippy::cast_possible_truncation, reason = "k is bounded by the entries")]
        let [for_w, for_v] = scalar_noise(rounding.0, word as u32).map(|noise| noise >> shift & 0xffff);
        let stored = [w.to_bits() + for_w, m.to_bits() + 0x8000, v.to_bits() + for_v];
        for (row, bits) in rows.into_iter().zip(stored) {
            row[word] = row[word] & !(0xffff << shift) | bits >> 16 << shift;
        }
    }
}

/// The word of value `at`, and how far to shift it.
fn place(at: usize) -> (usize, u32) {
    let (group, value) = (at / GROUP, at % GROUP);
    (group * GROUP_WORDS + value % GROUP_WORDS, if value < GROUP_WORDS { 0 } else { 16 })
}
