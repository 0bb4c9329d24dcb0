use crate::CsrView;

pub(super) fn spmm_f32__reference(out: &mut [f32], x: CsrView<'_>, w: &[f32], k: usize) {
    for (row, out) in out.chunks_exact_mut(k).enumerate() {
        let (cols, values) = x.row(row);
        for (unit, out) in out.iter_mut().enumerate() {
            let mut sum = f64::from(*out);
            for (&col, &value) in cols.iter().zip(values) {
                sum += f64::from(value) * f64::from(w[col as usize * k + unit]);
            }
            #[allow(clippy::cast_possible_truncation, reason = "the result is f32")]
            {
                *out = sum as f32;
            }
        }
    }
}
