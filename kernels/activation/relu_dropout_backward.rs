use crate::Isa;
use crate::table::select;

kernels! {
    relu_dropout_backward_f32__reference relu_dropout_backward_f32__portable
    relu_dropout_backward_f32__avx2 relu_dropout_backward_f32__avx512 =
    relu_dropout_backward(dh: &mut [f32], h: &[f32], keep: f32)
}

/// `dh = dh / keep` where `h > 0`, else 0. `dh`, in place, and `h`, the output of
/// [`bias_relu_dropout`](super::bias_relu_dropout): one length. A dropped unit is 0, so no mask is stored.
///
/// # Panics
/// If the lengths differ, `keep` is not in `0..=1` (0 itself excluded), or this CPU lacks `isa`.
pub fn relu_dropout_backward(isa: Isa, dh: &mut [f32], h: &[f32], keep: f32) {
    assert_eq!(dh.len(), h.len(), "dh and h differ in length");
    assert!(keep > 0.0 && keep <= 1.0, "keep is {keep}");
    let kernel = select(KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths.
    unsafe { kernel(dh, h, keep) }
}

mod reference {
    pub(super) fn relu_dropout_backward_f32__reference(dh: &mut [f32], h: &[f32], keep: f32) {
        for (dh, &h) in dh.iter_mut().zip(h) {
            *dh = if h > 0.0 { *dh * (1.0 / keep) } else { 0.0 };
        }
    }
}

mod generic {
    use crate::lanes::Lanes;

    /// # Safety
    /// The CPU has the instruction set of `V`; the slices have one length.
    #[inline(always)]
    pub(super) unsafe fn relu_dropout_backward<V: Lanes, const N: usize>(
        dh: &mut [f32],
        h: &[f32],
        keep: f32,
    ) {
        let len = dh.len();
        let whole = len - len % V::WIDTH;
        let (dh, h) = (dh.as_mut_ptr(), h.as_ptr());
        // SAFETY: `at + WIDTH <= whole <= len`, and `len - whole` values are left for the tail.
        unsafe {
            let scale = V::splat(1.0 / keep);
            for at in (0..whole).step_by(V::WIDTH) {
                V::load(dh.add(at)).mul(scale).where_positive(V::load(h.add(at))).store(dh.add(at));
            }
            if whole < len {
                let lanes = len - whole;
                let h = V::load_head(h.add(whole), lanes);
                let scaled = V::load_head(dh.add(whole), lanes).mul(scale);
                scaled.where_positive(h).store_head(dh.add(whole), lanes);
            }
        }
    }
}
