//! The few vector operations the kernels are written in, per instruction set.

mod sealed {
    pub(crate) trait Sealed {}
}

/// A vector of f32.
///
/// Every method is `#[inline(always)]`: the intrinsics become instructions only once inlined into a function
/// that enables the instruction set.
///
/// # Safety
/// Of every method: the CPU has the instruction set of the implementor. Pointers, which need no alignment, are
/// valid for `WIDTH` values, or for the first `lanes < WIDTH` where such a number is given.
pub(crate) trait Lanes: Copy + sealed::Sealed {
    /// Number of lanes.
    const WIDTH: usize;
    /// Vectors in a group of 32 values.
    const PER_GROUP: usize = crate::paired::GROUP / Self::WIDTH;
    /// As many u32, for the dropout hash and for pairs of bf16.
    type Words: Copy;

    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    /// The first lanes; zeros follow.
    unsafe fn load_head(p: *const f32, lanes: usize) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn store_head(self, p: *mut f32, lanes: usize);
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    unsafe fn div(self, b: Self) -> Self;
    unsafe fn sqrt(self) -> Self;
    /// `self * a + b`, fused where the CPU can.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
    /// `max(self, 0)`; NaN stays NaN, so that a broken network is noticed.
    unsafe fn relu(self) -> Self;
    /// `self` in the lanes where `of > 0`, else 0.
    unsafe fn where_positive(self, of: Self) -> Self;
    /// Sum over the lanes, in a fixed order.
    unsafe fn sum(self) -> f32;

    unsafe fn words(x: u32) -> Self::Words;
    /// `0, 1, 2, ...`
    unsafe fn word_index() -> Self::Words;
    unsafe fn word_add(a: Self::Words, b: Self::Words) -> Self::Words;
    unsafe fn word_mul(a: Self::Words, b: Self::Words) -> Self::Words;
    unsafe fn word_xor(a: Self::Words, b: Self::Words) -> Self::Words;
    unsafe fn word_shift_right(a: Self::Words, bits: u32) -> Self::Words;
    unsafe fn word_shift_left(a: Self::Words, bits: u32) -> Self::Words;
    unsafe fn word_and(a: Self::Words, b: Self::Words) -> Self::Words;
    unsafe fn word_or(a: Self::Words, b: Self::Words) -> Self::Words;
    unsafe fn word_load(p: *const u32) -> Self::Words;
    /// The first lanes; zeros follow.
    unsafe fn word_load_head(p: *const u32, lanes: usize) -> Self::Words;
    unsafe fn word_store(a: Self::Words, p: *mut u32);
    /// The representation of every lane.
    unsafe fn to_bits(self) -> Self::Words;
    unsafe fn from_bits(a: Self::Words) -> Self;
    /// `self` in the lanes where `words < limit`, else 0; both are below 2³¹.
    unsafe fn where_below(self, words: Self::Words, limit: u32) -> Self;
}

/// # Safety
/// `p` is valid for `lanes` words.
#[inline(always)]
unsafe fn read_words_head(p: *const u32, lanes: usize) -> [u32; 8] {
    let mut out = [0; 8];
    for (at, x) in out.iter_mut().enumerate().take(lanes) {
        // SAFETY: of the caller.
        *x = unsafe { p.add(at).read() };
    }
    out
}

/// What runs on every CPU of the target.
#[cfg(target_arch = "x86_64")]
pub(crate) type Portable = x86_64::Sse2;
/// What runs on every CPU of the target.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) type Portable = Array;

/// Eight lanes as an array. Multiplies then adds: without FMA instructions `f32::mul_add` would call libm.
/// Not for x86-64, where LLVM transposes blocks of these arrays and loses a factor of four.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[derive(Clone, Copy)]
pub(crate) struct Array([f32; 8]);

#[cfg(any(test, not(target_arch = "x86_64")))]
impl Array {
    #[inline(always)]
    fn zip(self, b: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut out = self;
        for (x, y) in out.0.iter_mut().zip(b.0) {
            *x = f(*x, y);
        }
        out
    }
}

#[inline(always)]
fn zip_words(a: [u32; 8], b: [u32; 8], f: impl Fn(u32, u32) -> u32) -> [u32; 8] {
    let mut out = a;
    for (x, y) in out.iter_mut().zip(b) {
        *x = f(*x, y);
    }
    out
}

#[cfg(any(test, not(target_arch = "x86_64")))]
impl sealed::Sealed for Array {}
#[cfg(any(test, not(target_arch = "x86_64")))]
impl Lanes for Array {
    const WIDTH: usize = 8;
    type Words = [u32; 8];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 8])
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: valid for eight values.
        Self(unsafe { p.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_head(p: *const f32, lanes: usize) -> Self {
        let mut out = [0.0; 8];
        for (at, x) in out.iter_mut().enumerate().take(lanes) {
            // SAFETY: valid for `lanes` values.
            *x = unsafe { p.add(at).read() };
        }
        Self(out)
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: valid for eight values.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn store_head(self, p: *mut f32, lanes: usize) {
        for (at, &x) in self.0.iter().enumerate().take(lanes) {
            // SAFETY: valid for `lanes` values.
            unsafe { p.add(at).write(x) }
        }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        self.zip(b, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        self.zip(b, |x, y| x - y)
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        self.zip(b, |x, y| x * y)
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        self.zip(b, |x, y| x / y)
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        Self(self.0.map(f32::sqrt))
    }
    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        self.zip(a, |x, y| x * y).zip(b, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        Self(self.0.map(|x| if x < 0.0 { 0.0 } else { x }))
    }
    #[inline(always)]
    unsafe fn where_positive(self, of: Self) -> Self {
        self.zip(of, |x, y| if y > 0.0 { x } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }

    #[inline(always)]
    unsafe fn words(x: u32) -> [u32; 8] {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn word_index() -> [u32; 8] {
        [0, 1, 2, 3, 4, 5, 6, 7]
    }
    #[inline(always)]
    unsafe fn word_add(a: [u32; 8], b: [u32; 8]) -> [u32; 8] {
        zip_words(a, b, u32::wrapping_add)
    }
    #[inline(always)]
    unsafe fn word_mul(a: [u32; 8], b: [u32; 8]) -> [u32; 8] {
        zip_words(a, b, u32::wrapping_mul)
    }
    #[inline(always)]
    unsafe fn word_xor(a: [u32; 8], b: [u32; 8]) -> [u32; 8] {
        zip_words(a, b, |x, y| x ^ y)
    }
    #[inline(always)]
    unsafe fn word_shift_right(a: [u32; 8], bits: u32) -> [u32; 8] {
        a.map(|x| x >> bits)
    }
    #[inline(always)]
    unsafe fn word_shift_left(a: [u32; 8], bits: u32) -> [u32; 8] {
        a.map(|x| x << bits)
    }
    #[inline(always)]
    unsafe fn word_and(a: [u32; 8], b: [u32; 8]) -> [u32; 8] {
        zip_words(a, b, |x, y| x & y)
    }
    #[inline(always)]
    unsafe fn word_or(a: [u32; 8], b: [u32; 8]) -> [u32; 8] {
        zip_words(a, b, |x, y| x | y)
    }
    #[inline(always)]
    unsafe fn word_load(p: *const u32) -> [u32; 8] {
        // SAFETY: valid for eight words.
        unsafe { p.cast::<[u32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn word_load_head(p: *const u32, lanes: usize) -> [u32; 8] {
        // SAFETY: valid for `lanes` words.
        unsafe { read_words_head(p, lanes) }
    }
    #[inline(always)]
    unsafe fn word_store(a: [u32; 8], p: *mut u32) {
        // SAFETY: valid for eight words.
        unsafe { p.cast::<[u32; 8]>().write_unaligned(a) }
    }
    #[inline(always)]
    unsafe fn to_bits(self) -> [u32; 8] {
        self.0.map(f32::to_bits)
    }
    #[inline(always)]
    unsafe fn from_bits(a: [u32; 8]) -> Self {
        Self(a.map(f32::from_bits))
    }
    #[inline(always)]
    unsafe fn where_below(self, words: [u32; 8], limit: u32) -> Self {
        let mut out = self;
        for (x, word) in out.0.iter_mut().zip(words) {
            *x = if word < limit { *x } else { 0.0 };
        }
        out
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::testing::Rng;

    /// All operations but the fused one, which rounds differently by design.
    unsafe fn outputs<V: Lanes>(a: &[f32], b: &[f32]) -> Vec<u32> {
        let mut out = vec![];
        // SAFETY: of the caller: the CPU has the instructions, the slices have eight values or more.
        unsafe {
            let mut keep = |x: V| {
                let mut values = [f32::NAN; 16];
                x.store(values.as_mut_ptr());
                out.extend(values[..8].iter().map(|x| x.to_bits()));
            };
            let (x, y) = (V::load(a.as_ptr()), V::load(b.as_ptr()));
            for value in [x, y, V::splat(0.5), x.add(y), x.sub(y), x.mul(y), x.div(y), y.mul(y).sqrt()] {
                keep(value);
            }
            keep(x.relu());
            keep(x.where_positive(y));
            keep(V::load_head(a.as_ptr(), 5));
            let words = V::word_mul(V::word_add(V::word_index(), V::words(3)), V::words(0x9e37_79b9));
            let words = V::word_shift_right(V::word_xor(words, V::words(0x5555_5555)), 8);
            keep(x.where_below(words, 1 << 23));
            let integers = b.iter().map(|x| x.to_bits() >> 8).collect::<Vec<u32>>();
            keep(x.where_below(V::word_load(integers.as_ptr()), 0x3f_8000));
            keep(x.where_below(V::word_load_head(integers.as_ptr(), 5), 0x3f_8000));
            let low = V::word_shift_left(words, 16);
            keep(V::from_bits(V::word_and(low, y.to_bits())));
            keep(V::from_bits(V::word_or(low, V::word_load(b.as_ptr().cast()))));
            let mut stored = [0_u32; 16];
            V::word_store(low, stored.as_mut_ptr());
            out.extend(&stored[..8]);
            let mut head = [9.0_f32; 16];
            x.store_head(head.as_mut_ptr(), 3);
            out.extend(head[..8].iter().map(|x| x.to_bits()));
            if V::WIDTH == 8 {
                out.push(x.sum().to_bits());
            }
        }
        out
    }

    #[test]
    fn all_lanes_compute_alike() {
        for seed in 0..50 {
            let rng = &mut Rng::new(seed);
            let (a, b) = (rng.vec(16, -2.0, 2.0), rng.vec(16, -2.0, 2.0));
            // SAFETY: arrays and SSE2 run on every x86-64; the others are checked; there are 16 values.
            unsafe {
                let want = outputs::<Array>(&a, &b);
                assert_eq!(outputs::<Portable>(&a, &b), want);
                if crate::Isa::Avx2.is_available() {
                    assert_eq!(outputs::<Avx2>(&a, &b), want);
                }
                if crate::Isa::Avx512.is_available() {
                    assert_eq!(outputs::<Avx512>(&a, &b), want[..want.len() - 1]);
                }
            }
        }
    }
}
