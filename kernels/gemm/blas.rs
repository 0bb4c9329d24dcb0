//! The crate's only foreign functions.

use cblas_sys::{CBLAS_LAYOUT, CBLAS_TRANSPOSE, cblas_sgemm};

use crate::{DenseView, DenseViewMut};

unsafe extern "C" {
    /// Of OpenBLAS, not of CBLAS.
    safe fn openblas_set_num_threads(n_threads: std::ffi::c_int);
}

/// Makes every later product run on the calling thread.
///
/// Callers parallelise by cutting products into fixed tiles, so that results do not depend on the number of
/// threads; besides, OpenBLAS's own workers keep spinning after a product and slow down what follows.
pub fn blas_single_thread() {
    openblas_set_num_threads(1);
}

/// The sizes are those asserted by the safe entry; that the slices hold them is asserted here, next to the call.
pub(super) fn gemm_f32__blas(mut c: DenseViewMut<'_>, a: DenseView<'_>, b: DenseView<'_>, beta: f32) {
    let (m, n, k) = (c.n_rows(), c.n_cols(), a.n_cols());
    if m == 0 || n == 0 {
        return;
    }
    let (op_a, lda) = operand(a);
    let (op_b, ldb) = operand(b);
    let (a, b) = (a.parts().0.as_ptr(), b.parts().0.as_ptr());
    let c = c.data();
    assert_eq!(c.len(), m * n, "c is not m × n");
    let (c, m, n, k) = (c.as_mut_ptr(), int(m), int(n), int(k));
    // SAFETY: `operand` asserted that each factor's slice holds its last element under the leading dimension
    // passed, and c is m × n without gaps.
    unsafe {
        cblas_sgemm(CBLAS_LAYOUT::CblasRowMajor, op_a, op_b, m, n, k, 1.0, a, lda, b, ldb, beta, c, n);
    }
}

/// How BLAS reads a factor: as stored or transposed, and its leading dimension.
fn operand(view: DenseView<'_>) -> (CBLAS_TRANSPOSE, i32) {
    view.assert_within();
    let (_, stride, transposed) = view.parts();
    let op = if transposed { CBLAS_TRANSPOSE::CblasTrans } else { CBLAS_TRANSPOSE::CblasNoTrans };
    (op, int(stride.max(1)))
}

fn int(size: usize) -> i32 {
    i32::try_from(size).unwrap_or_else(|_| panic!("BLAS cannot count to {size}"))
}
