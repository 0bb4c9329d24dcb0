use super::{Isa, generic, select, size, words};

kernels! {
    pack_rows_bf16__reference pack_rows_bf16__portable pack_rows_bf16__avx2 pack_rows_bf16__avx512 =
    pack_rows(out: &mut [u32], x: &[f32], n_rows: usize, k: usize)
}

/// Rounds rows to bf16, nearest even, NaN staying NaN. `out: n_rows × words(k)`, overwritten, padding included;
/// `x: n_rows × k`.
///
/// # Panics
/// If a length is not the one stated, or this CPU lacks `isa`.
pub fn pack_rows(isa: Isa, out: &mut [u32], x: &[f32], n_rows: usize, k: usize) {
    assert_eq!(x.len(), size(n_rows, k), "x is not n_rows × k");
    assert_eq!(out.len(), size(n_rows, words(k)), "out is not n_rows × words(k)");
    let kernel = select(KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths.
    unsafe { kernel(out, x, n_rows, k) }
}

mod reference {
    use crate::paired::{GROUP, GROUP_WORDS, bf16_round, words};

    pub(super) fn pack_rows_bf16__reference(out: &mut [u32], x: &[f32], n_rows: usize, k: usize) {
        out.fill(0);
        for row in 0..n_rows {
            for col in 0..k {
                let (group, at) = (col / GROUP, col % GROUP);
                let half = u32::from(bf16_round(x[row * k + col])) << if at < GROUP_WORDS { 0 } else { 16 };
                out[row * words(k) + group * GROUP_WORDS + at % GROUP_WORDS] |= half;
            }
        }
    }
}
