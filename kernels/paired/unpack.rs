use super::{Isa, generic, select, size, words};

kernels! {
    unpack_rows_bf16__reference unpack_rows_bf16__portable unpack_rows_bf16__avx2 unpack_rows_bf16__avx512 =
    unpack_rows(out: &mut [f32], x: &[u32], n_rows: usize, k: usize)
}

/// The inverse of [`pack_rows`](super::pack_rows), exact. `out: n_rows × k`, overwritten;
/// `x: n_rows × words(k)`.
///
/// # Panics
/// If a length is not the one stated, or this CPU lacks `isa`.
pub fn unpack_rows(isa: Isa, out: &mut [f32], x: &[u32], n_rows: usize, k: usize) {
    assert_eq!(out.len(), size(n_rows, k), "out is not n_rows × k");
    assert_eq!(x.len(), size(n_rows, words(k)), "x is not n_rows × words(k)");
    let kernel = select(KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths.
    unsafe { kernel(out, x, n_rows, k) }
}

mod reference {
    use crate::paired::{GROUP, GROUP_WORDS, to_f32, words};

    pub(super) fn unpack_rows_bf16__reference(out: &mut [f32], x: &[u32], n_rows: usize, k: usize) {
        for row in 0..n_rows {
            for col in 0..k {
                let (group, at) = (col / GROUP, col % GROUP);
                let word = x[row * words(k) + group * GROUP_WORDS + at % GROUP_WORDS];
                let half = (word >> if at < GROUP_WORDS { 0 } else { 16 }) & 0xffff;
                out[row * k + col] = to_f32(half as u16);
            }
        }
    }
}
