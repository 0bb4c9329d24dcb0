use super::{panel_words, reference};
use crate::paired::words;
use crate::table::{select, size};
use crate::{DenseView, Isa, Kernel};

/// Signature shared by the kernels that pack a factor.
pub type Pack = unsafe fn(&mut [u32], DenseView<'_>);

/// Every kernel of [`pack_left`].
pub static LEFT_KERNELS: &[Kernel<Pack>] = &[
    Kernel::new(Isa::Reference, "pack_left_bf16__reference", reference::pack_left_bf16__reference),
    #[cfg(target_arch = "x86_64")]
    Kernel::new(Isa::Avx512, "pack_left_bf16__avx512", avx512::pack_left_bf16__avx512),
];

/// Every kernel of [`pack_right`].
pub static RIGHT_KERNELS: &[Kernel<Pack>] = &[
    Kernel::new(Isa::Reference, "pack_right_bf16__reference", reference::pack_right_bf16__reference),
    #[cfg(target_arch = "x86_64")]
    Kernel::new(Isa::Avx512, "pack_right_bf16__avx512", avx512::pack_right_bf16__avx512),
];

/// The paired rows of a left factor. `out: m × words(k)`, overwritten; `a: m × k`.
///
/// # Panics
/// If the length is another, or this CPU lacks `isa`.
pub fn pack_left(isa: Isa, out: &mut [u32], a: DenseView<'_>) {
    assert_eq!(out.len(), size(a.n_rows(), words(a.n_cols())), "out is not m × words(k)");
    a.assert_within();
    let kernel = select(LEFT_KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above the length and the view.
    unsafe { kernel(out, a) }
}

/// The panels of a right factor. `out: panel_words(k, n)`, overwritten; `b: k × n`.
///
/// # Panics
/// If the length is another, or this CPU lacks `isa`.
pub fn pack_right(isa: Isa, out: &mut [u32], b: DenseView<'_>) {
    assert_eq!(out.len(), panel_words(b.n_rows(), b.n_cols()), "out is not panel_words(k, n)");
    b.assert_within();
    let kernel = select(RIGHT_KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above the length and the view.
    unsafe { kernel(out, b) }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use crate::DenseView;
    use crate::gemm_bf16::PANEL;
    use crate::lanes::{Avx512, Lanes};
    use crate::paired::generic::{encode, pack_row};
    use crate::paired::{GROUP, GROUP_WORDS, words};

    /// Sixteen words of each of sixteen rows or columns.
    type Words = [__m512i; 16];

    /// # Safety
    /// The CPU has AVX-512F; `out` is `m × words(k)`; the view is within its slice.
    #[target_feature(enable = "avx512f")]
    pub(in super::super) unsafe fn pack_left_bf16__avx512(out: &mut [u32], a: DenseView<'_>) {
        let (m, k) = (a.n_rows(), a.n_cols());
        let (data, stride, transposed) = a.parts();
        let (out, data) = (out.as_mut_ptr(), data.as_ptr());
        if !transposed {
            for row in 0..m {
                // SAFETY: the row exists in both.
                unsafe { pack_row::<Avx512>(out.add(row * words(k)), data.add(row * stride), k) };
            }
            return;
        }
        for col in (0..k).step_by(GROUP) {
            for row in (0..m).step_by(16) {
                // SAFETY: at least one row and column are left, and their words in `out`.
                unsafe {
                    let x = data.add(col * stride + row);
                    let words_of_rows = transpose(across(x, stride, GROUP.min(k - col), 16.min(m - row)));
                    let out = out.add(row * words(k) + col / GROUP * GROUP_WORDS);
                    for (at, words_of_row) in words_of_rows.into_iter().enumerate().take(m - row) {
                        Avx512::word_store(words_of_row, out.add(at * words(k)));
                    }
                }
            }
        }
    }

    /// Stored rows are read side by side from left to right, whatever that means for `out`: going down one panel
    /// instead, a line of each row at a time, hides them from the prefetcher.
    ///
    /// # Safety
    /// The CPU has AVX-512F; `out` is `panel_words(k, n)`; the view is within its slice.
    #[target_feature(enable = "avx512f")]
    pub(in super::super) unsafe fn pack_right_bf16__avx512(out: &mut [u32], b: DenseView<'_>) {
        let (k, n) = (b.n_rows(), b.n_cols());
        let (data, stride, transposed) = b.parts();
        let (out, data) = (out.as_mut_ptr(), data.as_ptr());
        let (n_panels, n_groups) = (n.div_ceil(PANEL), k.div_ceil(GROUP));
        for tile in 0..n_panels * n_groups {
            let (panel, group) = if transposed {
                (tile / n_groups, tile % n_groups)
            } else {
                (tile % n_panels, tile / n_panels)
            };
            let (row, col) = (group * GROUP, panel * PANEL);
            let (rows, cols) = (GROUP.min(k - row), PANEL.min(n - col));
            // SAFETY: `row < k` and `col < n`; `out` has a whole tile of words for them.
            unsafe {
                let words_of_cols = if transposed {
                    transpose(along(data.add(col * stride + row), stride, cols, rows))
                } else {
                    across(data.add(row * stride + col), stride, rows, cols)
                };
                let out = out.add((panel * n_groups + group) * GROUP_WORDS * PANEL);
                for (at, word_of_cols) in words_of_cols.into_iter().enumerate() {
                    Avx512::word_store(word_of_cols, out.add(at * PANEL));
                }
            }
        }
    }

    /// Pairs within stored rows: vector `i` has the words of row `i`. Zeros from `rows <= 16` and `cols <= 32` on.
    ///
    /// # Safety
    /// The CPU has AVX-512F; `x` is valid for the rows and columns.
    #[inline(always)]
    unsafe fn along(x: *const f32, stride: usize, rows: usize, cols: usize) -> Words {
        // SAFETY: passed on; only columns below `cols` are loaded.
        unsafe {
            let mut out = [Avx512::words(0); 16];
            for (row, out) in out.iter_mut().enumerate().take(rows) {
                let x = x.add(row * stride);
                let (low, high) = if cols == GROUP {
                    (Avx512::load(x), Avx512::load(x.add(16)))
                } else {
                    (head(x, cols), head(x.wrapping_add(16), cols.saturating_sub(16)))
                };
                *out = encode(low, high);
            }
            out
        }
    }

    /// Pairs of stored rows 16 apart: vector `i` has rows `i` and `i + 16`. Zeros from `rows <= 32` and `cols <= 16`
    /// on.
    ///
    /// # Safety
    /// The CPU has AVX-512F; `x` is valid for the rows and columns.
    #[inline(always)]
    unsafe fn across(x: *const f32, stride: usize, rows: usize, cols: usize) -> Words {
        // SAFETY: passed on; only rows below `rows` are loaded.
        unsafe {
            let mut out = [Avx512::words(0); 16];
            for (row, out) in out.iter_mut().enumerate().take(rows) {
                let low = head(x.add(row * stride), cols);
                let high =
                    if row + 16 < rows { head(x.add((row + 16) * stride), cols) } else { Avx512::splat(0.0) };
                *out = encode(low, high);
            }
            out
        }
    }

    /// # Safety
    /// The CPU has AVX-512F; `x` is valid for the first 16 of `len` values.
    #[inline(always)]
    unsafe fn head(x: *const f32, len: usize) -> Avx512 {
        // SAFETY: passed on.
        unsafe { if len >= 16 { Avx512::load(x) } else { Avx512::load_head(x, len) } }
    }

    /// Word `j` of vector `i` becomes word `i` of vector `j`: 64 shuffles.
    ///
    /// # Safety
    /// The CPU has AVX-512F.
    #[inline(always)]
    unsafe fn transpose(x: Words) -> Words {
        // SAFETY: passed on.
        unsafe {
            let mut pairs = x;
            for i in 0..8 {
                pairs[2 * i] = _mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
                pairs[2 * i + 1] = _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
            }
            // Vector 4i + j has, in each quarter q, column 4q + j of rows 4i to 4i + 3.
            let mut fours = pairs;
            for i in 0..4 {
                let p = &pairs[4 * i..4 * i + 4];
                fours[4 * i] = _mm512_unpacklo_epi64(p[0], p[2]);
                fours[4 * i + 1] = _mm512_unpackhi_epi64(p[0], p[2]);
                fours[4 * i + 2] = _mm512_unpacklo_epi64(p[1], p[3]);
                fours[4 * i + 3] = _mm512_unpackhi_epi64(p[1], p[3]);
            }
            let mut out = fours;
            for j in 0..4 {
                let low = _mm512_shuffle_i32x4::<0x88>(fours[j], fours[4 + j]);
                let high = _mm512_shuffle_i32x4::<0xdd>(fours[j], fours[4 + j]);
                let low_2 = _mm512_shuffle_i32x4::<0x88>(fours[8 + j], fours[12 + j]);
                let high_2 = _mm512_shuffle_i32x4::<0xdd>(fours[8 + j], fours[12 + j]);
                out[j] = _mm512_shuffle_i32x4::<0x88>(low, low_2);
                out[4 + j] = _mm512_shuffle_i32x4::<0x88>(high, high_2);
                out[8 + j] = _mm512_shuffle_i32x4::<0xdd>(low, low_2);
                out[12 + j] = _mm512_shuffle_i32x4::<0xdd>(high, high_2);
            }
            out
        }
    }
}
