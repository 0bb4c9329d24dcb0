use crate::Isa;
use crate::table::select;

kernels! {
    bias_relu_dropout_f32__reference bias_relu_dropout_f32__portable
    bias_relu_dropout_f32__avx2 bias_relu_dropout_f32__avx512 =
    bias_relu_dropout(h: &mut [f32], bias: &[f32], keep: f32, row_keys: Option<&[u64]>)
}

/// `h = relu(h + bias)`, then inverted dropout if keys are given and `keep < 1`: unit u of row r survives, times
/// `1 / keep`, if [`kept`](crate::dropout::kept)`(row_keys[r], u, keep)`, and is 0 otherwise.
///
/// `h: n_rows × k`, in place; `bias: k`; `row_keys: n_rows`, see [`row_key`](crate::dropout::row_key).
///
/// # Panics
/// If `bias` is empty, `h` is not whole rows, there is not one key per row, `keep` is not in `0..=1` (0 itself
/// excluded), the width is above `u32::MAX`, or this CPU lacks `isa`.
pub fn bias_relu_dropout(isa: Isa, h: &mut [f32], bias: &[f32], keep: f32, row_keys: Option<&[u64]>) {
    assert!(!bias.is_empty() && u32::try_from(bias.len()).is_ok(), "bias has {} values", bias.len());
    assert!(h.len().is_multiple_of(bias.len()), "h is not n_rows × k");
    assert!(keep > 0.0 && keep <= 1.0, "keep is {keep}");
    if let Some(row_keys) = row_keys {
        assert_eq!(row_keys.len(), h.len() / bias.len(), "row_keys has not one key per row");
    }
    let row_keys = row_keys.filter(|_| keep < 1.0);
    let kernel = select(KERNELS, isa);
    // SAFETY: `select` checked the CPU, the asserts above the lengths.
    unsafe { kernel(h, bias, keep, row_keys) }
}

mod reference {
    use crate::dropout::kept;

    pub(super) fn bias_relu_dropout_f32__reference(
        h: &mut [f32],
        bias: &[f32],
        keep: f32,
        row_keys: Option<&[u64]>,
    ) {
        for (row, h) in h.chunks_exact_mut(bias.len()).enumerate() {
            for (unit, (h, &bias)) in (0_u32..).zip(h.iter_mut().zip(bias)) {
                let z = *h + bias;
                *h = if z < 0.0 { 0.0 } else { z };
                if let Some(row_keys) = row_keys {
                    *h = if kept(row_keys[row], unit, keep) { *h * (1.0 / keep) } else { 0.0 };
                }
            }
        }
    }
}

mod generic {
    use crate::dropout::{limit, where_kept};
    use crate::lanes::Lanes;

    /// The units from `at` on.
    ///
    /// # Safety
    /// The CPU has the instruction set of `V`.
    #[inline(always)]
    unsafe fn relu_dropout<V: Lanes>(z: V, key: Option<u64>, at: usize, scale: V, limit: u32) -> V {
        #[allow(clippy::cast_possible_truncation, reason = "the entry checked that k fits u32")]
        let unit = at as u32;
        // SAFETY: passed on.
        unsafe {
            let y = z.relu();
            match key {
                Some(key) => where_kept(y.mul(scale), key, unit, limit),
                None => y,
            }
        }
    }

    /// # Safety
    /// The CPU has the instruction set of `V`; `h` is whole rows of `bias.len()`, with one key per row.
    #[inline(always)]
    pub(super) unsafe fn bias_relu_dropout<V: Lanes, const N: usize>(
        h: &mut [f32],
        bias: &[f32],
        keep: f32,
        row_keys: Option<&[u64]>,
    ) {
        let k = bias.len();
        let whole = k - k % V::WIDTH;
        let limit = limit(keep);
        let bias = bias.as_ptr();
        for (row, h) in h.chunks_exact_mut(k).enumerate() {
            let h = h.as_mut_ptr();
            let key = row_keys.map(|row_keys| row_keys[row]);
            // SAFETY: `at + WIDTH <= whole <= k`, and `k - whole` values are left for the tail.
            unsafe {
                let scale = V::splat(1.0 / keep);
                for at in (0..whole).step_by(V::WIDTH) {
                    let z = V::load(h.add(at)).add(V::load(bias.add(at)));
                    relu_dropout(z, key, at, scale, limit).store(h.add(at));
                }
                if whole < k {
                    let lanes = k - whole;
                    let z = V::load_head(h.add(whole), lanes).add(V::load_head(bias.add(whole), lanes));
                    relu_dropout(z, key, whole, scale, limit).store_head(h.add(whole), lanes);
                }
            }
        }
    }
}
