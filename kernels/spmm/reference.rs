use crate::CsrView;
use crate::storage::Rows;

pub(super) fn spmm<S: Rows>(out: &mut [f32], x: CsrView<'_>, w: &[S::Word], k: usize, add: bool) {
    let row_words = S::row_words(k);
    for (row, out) in out.chunks_exact_mut(k).enumerate() {
        let (cols, values) = x.row(row);
        for (unit, out) in out.iter_mut().enumerate() {
            let mut sum = if add { f64::from(*out) } else { 0.0 };
            for (&col, &value) in cols.iter().zip(values) {
                sum +=
                    f64::from(value) * f64::from(S::get(&w[col as usize * row_words..][..row_words], unit));
            }
            #[allow(clippy::cast_possible_truncation, reason = "the result is f32")]
            {
                *out = sum as f32;
            }
        }
    }
}
