//! SSE2, AVX2 and AVX-512.

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
        unsafe { Self(_mm_add_ps(_mm_mul_ps(self.0, a.0), b.0), _mm_add_ps(_mm_mul_ps(self.1, a.1), b.1)) }
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
            Self(_mm_and_ps(self.0, _mm_cmpgt_ps(of.0, zero)), _mm_and_ps(self.1, _mm_cmpgt_ps(of.1, zero)))
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
    unsafe fn word_store(a: [u32; 8], p: *mut u32) {
        // SAFETY: valid for eight words.
        unsafe { p.cast::<[u32; 8]>().write_unaligned(a) }
    }
    #[inline(always)]
    unsafe fn to_bits(self) -> [u32; 8] {
        let mut bits = [0; 8];
        // SAFETY: `bits` has eight words; every x86-64 has SSE2.
        unsafe { self.store(bits.as_mut_ptr().cast()) };
        bits
    }
    #[inline(always)]
    unsafe fn from_bits(a: [u32; 8]) -> Self {
        // SAFETY: `a` has eight words; every x86-64 has SSE2.
        unsafe { Self::load(a.as_ptr().cast()) }
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
        fn word_shift_left(a: __m256i, bits: u32) -> __m256i {
            _mm256_sll_epi32(a, _mm_cvtsi32_si128(bits.cast_signed()))
        }
        fn word_and(a: __m256i, b: __m256i) -> __m256i { _mm256_and_si256(a, b) }
        fn word_or(a: __m256i, b: __m256i) -> __m256i { _mm256_or_si256(a, b) }
        fn word_load(p: *const u32) -> __m256i { _mm256_loadu_si256(p.cast()) }
        fn word_store(a: __m256i, p: *mut u32) -> () { _mm256_storeu_si256(p.cast(), a) }
        fn from_bits(a: __m256i) -> Self { Self(_mm256_castsi256_ps(a)) }
    }
    #[inline(always)]
    unsafe fn to_bits(self) -> __m256i {
        // SAFETY: of the trait.
        unsafe { _mm256_castps_si256(self.0) }
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
        fn word_shift_left(a: __m512i, bits: u32) -> __m512i {
            _mm512_sll_epi32(a, _mm_cvtsi32_si128(bits.cast_signed()))
        }
        fn word_and(a: __m512i, b: __m512i) -> __m512i { _mm512_and_si512(a, b) }
        fn word_or(a: __m512i, b: __m512i) -> __m512i { _mm512_or_si512(a, b) }
        fn word_load(p: *const u32) -> __m512i { _mm512_loadu_si512(p.cast()) }
        fn word_store(a: __m512i, p: *mut u32) -> () { _mm512_storeu_si512(p.cast(), a) }
        fn from_bits(a: __m512i) -> Self { Self(_mm512_castsi512_ps(a)) }
    }
    #[inline(always)]
    unsafe fn to_bits(self) -> __m512i {
        // SAFETY: of the trait.
        unsafe { _mm512_castps_si512(self.0) }
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
