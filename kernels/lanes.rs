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
    /// As many u32, for the dropout hash.
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
    /// `self` in the lanes where `words < limit`, else 0; both are below 2³¹.
    unsafe fn where_below(self, words: Self::Words, limit: u32) -> Self;
}

/// What runs on every CPU of the target.
#[cfg(target_arch = "x86_64")]
pub(crate) type Portable = x86_64::Sse2;
/// What runs on every CPU of the target.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) type Portable = Array;

/// Eight lanes as an array. Multiplies then adds: without FMA instructions `f32::mul_add` would call libm.
/// Not for x86-64, where LLVM transposes blocks of these arrays and loses a factor of ten.
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
mod x86_64 {
    use super::{Lanes, sealed, zip_words};
    use std::arch::x86_64::*;

    /// Eight lanes of SSE2, which every x86-64 has. Multiplies then adds; the words stay arrays, for want of a
    /// 32-bit product.
    #[derive(Clone, Copy)]
    pub(crate) struct Sse2(__m128, __m128);

    /// Eight lanes of AVX2 with FMA.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256);

    /// Sixteen lanes of AVX-512F.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    /// Reading eight words from `8 - n` gives `n` selected lanes.
    static HEADS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

    #[inline(always)]
    unsafe fn head_of_8(lanes: usize) -> __m256i {
        debug_assert!(lanes < 8);
        // SAFETY: `8 - lanes` is in 1..=8, so eight words fit; the CPU has AVX2.
        unsafe { _mm256_loadu_si256(HEADS.as_ptr().add(8 - lanes).cast()) }
    }

    #[inline(always)]
    fn head_of_16(lanes: usize) -> __mmask16 {
        debug_assert!(lanes < 16);
        !(u16::MAX << lanes)
    }

    /// Forwards a method to intrinsics.
    macro_rules! forward {
        ($(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty $body:block)*) => {
            $(
                #[inline(always)]
                unsafe fn $name($($arg: $type),*) -> $result {
                    // SAFETY: of the trait: the CPU has the instructions and the pointers are valid.
                    unsafe { $body }
                }
            )*
        };
    }

    impl sealed::Sealed for Sse2 {}
    impl Lanes for Sse2 {
        const WIDTH: usize = 8;
        type Words = [u32; 8];

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: every x86-64 has SSE2.
            unsafe { Self(_mm_set1_ps(x), _mm_set1_ps(x)) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: valid for eight values.
            unsafe { Self(_mm_loadu_ps(p), _mm_loadu_ps(p.add(4))) }
        }
        #[inline(always)]
        unsafe fn load_head(p: *const f32, lanes: usize) -> Self {
            let mut out = [0.0; 8];
            for (at, x) in out.iter_mut().enumerate().take(lanes) {
                // SAFETY: valid for `lanes` values.
                *x = unsafe { p.add(at).read() };
            }
            // SAFETY: `out` has eight values.
            unsafe { Self::load(out.as_ptr()) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: valid for eight values.
            unsafe {
                _mm_storeu_ps(p, self.0);
                _mm_storeu_ps(p.add(4), self.1);
            }
        }
        #[inline(always)]
        unsafe fn store_head(self, p: *mut f32, lanes: usize) {
            let mut all = [0.0; 8];
            // SAFETY: `all` has eight values; `p` is valid for `lanes`.
            unsafe {
                self.store(all.as_mut_ptr());
                for (at, &x) in all.iter().enumerate().take(lanes) {
                    p.add(at).write(x);
                }
            }
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: every x86-64 has SSE2.
            unsafe { Self(_mm_add_ps(self.0, b.0), _mm_add_ps(self.1, b.1)) }
        }
        #[inline(always)]
        unsafe fn sub(self, b: Self) -> Self {
            // SAFETY: every x86-64 has SSE2.
            unsafe { Self(_mm_sub_ps(self.0, b.0), _mm_sub_ps(self.1, b.1)) }
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: every x86-64 has SSE2.
            unsafe { Self(_mm_mul_ps(self.0, b.0), _mm_mul_ps(self.1, b.1)) }
        }
        #[inline(always)]
        unsafe fn div(self, b: Self) -> Self {
            // SAFETY: every x86-64 has SSE2.
            unsafe { Self(_mm_div_ps(self.0, b.0), _mm_div_ps(self.1, b.1)) }
        }
        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            // SAFETY: every x86-64 has SSE2.
            unsafe { Self(_mm_sqrt_ps(self.0), _mm_sqrt_ps(self.1)) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            // SAFETY: every x86-64 has SSE2.
            unsafe {
                Self(_mm_add_ps(_mm_mul_ps(self.0, a.0), b.0), _mm_add_ps(_mm_mul_ps(self.1, a.1), b.1))
            }
        }
        /// The second operand wins when one is NaN.
        #[inline(always)]
        unsafe fn relu(self) -> Self {
            // SAFETY: every x86-64 has SSE2.
            unsafe { Self(_mm_max_ps(_mm_setzero_ps(), self.0), _mm_max_ps(_mm_setzero_ps(), self.1)) }
        }
        #[inline(always)]
        unsafe fn where_positive(self, of: Self) -> Self {
            // SAFETY: every x86-64 has SSE2.
            unsafe {
                let zero = _mm_setzero_ps();
                Self(
                    _mm_and_ps(self.0, _mm_cmpgt_ps(of.0, zero)),
                    _mm_and_ps(self.1, _mm_cmpgt_ps(of.1, zero)),
                )
            }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: every x86-64 has SSE2.
            unsafe {
                let four = _mm_add_ps(self.0, self.1);
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
            }
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
        unsafe fn where_below(self, words: [u32; 8], limit: u32) -> Self {
            let lanes = words.map(|word| f32::from_bits(if word < limit { u32::MAX } else { 0 }));
            // SAFETY: `lanes` has eight values; every x86-64 has SSE2.
            unsafe {
                let lanes = Self::load(lanes.as_ptr());
                Self(_mm_and_ps(self.0, lanes.0), _mm_and_ps(self.1, lanes.1))
            }
        }
    }

    impl sealed::Sealed for Avx2 {}
    impl Lanes for Avx2 {
        const WIDTH: usize = 8;
        type Words = __m256i;

        forward! {
            fn splat(x: f32) -> Self { Self(_mm256_set1_ps(x)) }
            fn load(p: *const f32) -> Self { Self(_mm256_loadu_ps(p)) }
            fn load_head(p: *const f32, lanes: usize) -> Self { Self(_mm256_maskload_ps(p, head_of_8(lanes))) }
            fn words(x: u32) -> __m256i { _mm256_set1_epi32(x.cast_signed()) }
            fn word_index() -> __m256i { _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7) }
            fn word_add(a: __m256i, b: __m256i) -> __m256i { _mm256_add_epi32(a, b) }
            fn word_mul(a: __m256i, b: __m256i) -> __m256i { _mm256_mullo_epi32(a, b) }
            fn word_xor(a: __m256i, b: __m256i) -> __m256i { _mm256_xor_si256(a, b) }
            fn word_shift_right(a: __m256i, bits: u32) -> __m256i {
                _mm256_srl_epi32(a, _mm_cvtsi32_si128(bits.cast_signed()))
            }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: of the trait.
            unsafe { _mm256_storeu_ps(p, self.0) }
        }
        #[inline(always)]
        unsafe fn store_head(self, p: *mut f32, lanes: usize) {
            // SAFETY: of the trait.
            unsafe { _mm256_maskstore_ps(p, head_of_8(lanes), self.0) }
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: of the trait.
            Self(unsafe { _mm256_add_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, b: Self) -> Self {
            // SAFETY: of the trait.
            Self(unsafe { _mm256_sub_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: of the trait.
            Self(unsafe { _mm256_mul_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn div(self, b: Self) -> Self {
            // SAFETY: of the trait.
            Self(unsafe { _mm256_div_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            // SAFETY: of the trait.
            Self(unsafe { _mm256_sqrt_ps(self.0) })
        }
        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            // SAFETY: of the trait.
            Self(unsafe { _mm256_fmadd_ps(self.0, a.0, b.0) })
        }
        #[inline(always)]
        unsafe fn relu(self) -> Self {
            // SAFETY: of the trait. The second operand wins when one is NaN.
            Self(unsafe { _mm256_max_ps(_mm256_setzero_ps(), self.0) })
        }
        #[inline(always)]
        unsafe fn where_positive(self, of: Self) -> Self {
            // SAFETY: of the trait.
            Self(unsafe { _mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_GT_OQ>(of.0, _mm256_setzero_ps())) })
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: of the trait.
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
            }
        }
        #[inline(always)]
        unsafe fn where_below(self, words: __m256i, limit: u32) -> Self {
            // SAFETY: of the trait. Signed comparison serves, both sides being below 2³¹.
            unsafe {
                let lanes = _mm256_cmpgt_epi32(_mm256_set1_epi32(limit.cast_signed()), words);
                Self(_mm256_and_ps(self.0, _mm256_castsi256_ps(lanes)))
            }
        }
    }

    impl sealed::Sealed for Avx512 {}
    impl Lanes for Avx512 {
        const WIDTH: usize = 16;
        type Words = __m512i;

        forward! {
            fn splat(x: f32) -> Self { Self(_mm512_set1_ps(x)) }
            fn load(p: *const f32) -> Self { Self(_mm512_loadu_ps(p)) }
            fn load_head(p: *const f32, lanes: usize) -> Self { Self(_mm512_maskz_loadu_ps(head_of_16(lanes), p)) }
            fn words(x: u32) -> __m512i { _mm512_set1_epi32(x.cast_signed()) }
            fn word_index() -> __m512i { _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) }
            fn word_add(a: __m512i, b: __m512i) -> __m512i { _mm512_add_epi32(a, b) }
            fn word_mul(a: __m512i, b: __m512i) -> __m512i { _mm512_mullo_epi32(a, b) }
            fn word_xor(a: __m512i, b: __m512i) -> __m512i { _mm512_xor_si512(a, b) }
            fn word_shift_right(a: __m512i, bits: u32) -> __m512i {
                _mm512_srl_epi32(a, _mm_cvtsi32_si128(bits.cast_signed()))
            }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: of the trait.
            unsafe { _mm512_storeu_ps(p, self.0) }
        }
        #[inline(always)]
        unsafe fn store_head(self, p: *mut f32, lanes: usize) {
            // SAFETY: of the trait.
            unsafe { _mm512_mask_storeu_ps(p, head_of_16(lanes), self.0) }
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: of the trait.
            Self(unsafe { _mm512_add_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, b: Self) -> Self {
            // SAFETY: of the trait.
            Self(unsafe { _mm512_sub_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: of the trait.
            Self(unsafe { _mm512_mul_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn div(self, b: Self) -> Self {
            // SAFETY: of the trait.
            Self(unsafe { _mm512_div_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            // SAFETY: of the trait.
            Self(unsafe { _mm512_sqrt_ps(self.0) })
        }
        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            // SAFETY: of the trait.
            Self(unsafe { _mm512_fmadd_ps(self.0, a.0, b.0) })
        }
        #[inline(always)]
        unsafe fn relu(self) -> Self {
            // SAFETY: of the trait. The second operand wins when one is NaN.
            Self(unsafe { _mm512_max_ps(_mm512_setzero_ps(), self.0) })
        }
        #[inline(always)]
        unsafe fn where_positive(self, of: Self) -> Self {
            // SAFETY: of the trait.
            unsafe {
                let lanes = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(of.0, _mm512_setzero_ps());
                Self(_mm512_maskz_mov_ps(lanes, self.0))
            }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: of the trait.
            unsafe { _mm512_reduce_add_ps(self.0) }
        }
        #[inline(always)]
        unsafe fn where_below(self, words: __m512i, limit: u32) -> Self {
            // SAFETY: of the trait.
            unsafe {
                let lanes = _mm512_cmplt_epu32_mask(words, _mm512_set1_epi32(limit.cast_signed()));
                Self(_mm512_maskz_mov_ps(lanes, self.0))
            }
        }
    }
}

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
